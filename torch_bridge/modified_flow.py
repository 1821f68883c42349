"""The modified flow of a torch model's loss to first order in the step, by Hessian-vector products.

SGD does not follow gradient flow but, to first order in η, θ' = −b₁ ∇L − η b₂ H ∇L = −∇(b₁ L + (η b₂/2) |∇L|²), with L the
loss and its weight decay, H its Hessian. The weights b₁ and b₂ are derived, by
:meth:`derive.multistep.LinearMultistep.slow_flow`: 1 and 1/2 for plain SGD (Kunin et al. 2021, eq. 16: L + η/4 |∇L|²), and
1/(1−β) and (1+β)/(2(1−β)³) for momentum. H∇L costs a second backward pass; no Hessian is ever formed.

Time is that of gradient flow: a step advances it by η(1−α). The flow holds for slow motion, η λ_max(H) ≪ (1−√β)².
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import sympy as sp
import torch

from derive import sgd, symbols
from derive.multistep import multistep_of
from numerics.hyper_parameters import problem


class ModifiedFlowError(ValueError):
    """A loss, parameters or hyper-parameters that have no modified flow."""


@dataclass(frozen=True)
class _Weights:
    """θ' = −b₁ ∇L − b₂ H∇L, the step size within b₂."""

    gradient: float
    curvature: float


def modified_gradient(
    loss: torch.Tensor,
    parameters: Iterable[torch.Tensor],
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> list[torch.Tensor]:
    """Gradient of the modified loss: training follows θ' = −(this), one tensor for each parameter and shaped like it.

    Parameters
    ----------
    loss
        A scalar with its graph, e.g. ``cross_entropy(model(x), y)`` on the full batch.
    parameters
        E.g. ``model.parameters()``. One that the loss does not reach has the gradient of its weight decay.
    lr, momentum, dampening, nesterov, weight_decay
        As in ``torch.optim.SGD``.

    Raises
    ------
    ModifiedFlowError
        For a loss that is no scalar or has no graph, no parameters, or hyper-parameters out of range.

    Examples
    --------
    L = x²/2: gradient descent multiplies x by 1 − η, which is x' = −x − ηx/2 to first order (−ln(1−η)/η = 1 + η/2 + …).

    >>> x = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    >>> modified_gradient((x**2).sum() / 2, [x], lr=0.1)
    [tensor([2.1000], dtype=torch.float64)]
    """
    chosen, weights = _given(loss, parameters, lr, momentum, dampening, nesterov, weight_decay)
    gradients = _gradient(loss, chosen, weight_decay)
    along = _hessian_product(gradients, [g.detach() for g in gradients], chosen)
    pairs = zip(gradients, along, strict=True)
    return [weights.gradient * g.detach() + weights.curvature * hg for g, hg in pairs]


def modified_loss(
    loss: torch.Tensor,
    parameters: Iterable[torch.Tensor],
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> torch.Tensor:
    """b₁ L + (η b₂/2) |∇L|², with a graph: its ``backward`` is a double backward, and gives :func:`modified_gradient`.

    The arguments are those of :func:`modified_gradient`.

    >>> x = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    >>> float(modified_loss((x**2).sum() / 2, [x], lr=0.1).detach())  # L + η/4 |∇L|² = 2 + 0.1
    2.1
    """
    chosen, weights = _given(loss, parameters, lr, momentum, dampening, nesterov, weight_decay)
    gradients = _gradient(loss, chosen, weight_decay)
    decay = sum((parameter**2).sum() for parameter in chosen) * (weight_decay / 2)
    return weights.gradient * (loss + decay) + weights.curvature / 2 * sum((g**2).sum() for g in gradients)


def _given(
    loss: torch.Tensor,
    parameters: Iterable[torch.Tensor],
    lr: float,
    momentum: float,
    dampening: float,
    nesterov: bool,
    weight_decay: float,
) -> tuple[list[torch.Tensor], _Weights]:
    chosen = list(parameters)
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.requires_grad:
        raise ModifiedFlowError("loss: expected a scalar tensor with its graph, e.g. criterion(model(x), y), got "
                                + (f"shape {tuple(loss.shape)}, requires_grad={loss.requires_grad}"
                                   if isinstance(loss, torch.Tensor) else repr(loss)))  # fmt: skip
    if not chosen or not all(isinstance(p, torch.Tensor) and p.requires_grad for p in chosen):
        raise ModifiedFlowError("parameters: expected tensors that require a gradient, at least one")
    given = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
    for wrong in filter(None, (problem(name, value) for name, value in given.items())):
        raise ModifiedFlowError(wrong)
    if nesterov and (momentum == 0 or dampening != 0):
        raise ModifiedFlowError("nesterov: expected momentum and no dampening with it, as torch.optim.SGD does")
    return chosen, _weights(float(lr), float(momentum), float(dampening), nesterov)


@lru_cache
def _weights(lr: float, momentum: float, dampening: float, nesterov: bool) -> _Weights:
    """b₁ and hb₂ of the derived field f̃ = b(t) f + h b([t]) f'f with f = −∇L, so that f'f = H∇L."""
    first, second, h = _series(momentum != 0, dampening != 0, nesterov)
    numbers = {symbols.lr: lr, symbols.momentum: momentum, symbols.dampening: dampening}
    return _Weights(float(first.subs(numbers)), float(-(h * second).subs(numbers)))


@lru_cache
def _series(momentum: bool, dampening: bool, nesterov: bool) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    rule = sgd(momentum=momentum, dampening=dampening and momentum, nesterov=nesterov)
    field = multistep_of(rule).slow_flow(2)
    return field["t"], field["[t]"], sp.sympify(rule.step_size, strict=True)


def _gradient(loss: torch.Tensor, parameters: list[torch.Tensor], weight_decay: float) -> list[torch.Tensor]:
    """∇L + λθ, with its graph."""
    plain = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    return [g + weight_decay * p for g, p in zip(plain, parameters, strict=True)]


def _hessian_product(
    gradients: list[torch.Tensor], vectors: list[torch.Tensor], parameters: list[torch.Tensor]
) -> list[torch.Tensor]:
    """H v as the gradient of ⟨g, v⟩, v held fixed (Pearlmutter 1994)."""
    overlap = torch.stack([(g * v).sum() for g, v in zip(gradients, vectors, strict=True)]).sum()
    return list(torch.autograd.grad(overlap, parameters, materialize_grads=True, retain_graph=True))
