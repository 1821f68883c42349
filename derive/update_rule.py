"""Update rules: the discrete map that is run, its first step included, and its continuous limit.

An optimizer of the family covered here is linear in its gradients, so eliminating the velocity leaves

    A(E) θ_n = −h B(E) G_n,        G_n = g_n + λθ_n,   E θ_n = θ_{n+1},   h = η(1−α),   B(1) = 1,

with Laurent polynomials A, B in the shift E. They are obtained by elimination, not typed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from numbers import Real
from typing import Literal

import sympy as sp

from derive import symbols
from derive.symbols import shift as E

FirstStep = Literal["torch", "zero"]


class UpdateRuleError(ValueError):
    """Hyper-parameters that no such update rule has."""


class UnsupportedError(ValueError):
    """A combination that the theory, or this version, does not cover."""


@dataclass(frozen=True)
class UpdateRule:
    """SGD as in ``torch.optim.SGD``: with G_n = g_n + λθ_n,

        v_{n+1} = βv_n + (1−α)G_n,   d_n = v_{n+1}  (Nesterov: G_n + βv_{n+1}),   θ_{n+1} = θ_n − ηd_n.

    Build it with :func:`sgd` or :func:`gradient_flow`.

    Parameters
    ----------
    lr, momentum, dampening, weight_decay
        η, β, α, λ as SymPy expressions. ``lr = 0`` is the limit η → 0: gradient flow.
    first_step
        ``"torch"``: v_1 = G_0, undamped. ``"zero"``: v_0 = 0, hence v_1 = (1−α)G_0 (Kunin et al. 2021, App. C.2).
        The two differ only if α ≠ 0.
    """

    lr: sp.Expr
    momentum: sp.Expr
    dampening: sp.Expr
    weight_decay: sp.Expr
    nesterov: bool = False
    first_step: FirstStep = "torch"

    def __post_init__(self) -> None:
        _check_range("lr", self.lr, below=None)
        _check_range("weight_decay", self.weight_decay, below=None)
        _check_range("momentum", self.momentum, below=1)
        _check_range("dampening", self.dampening, below=1)
        if not isinstance(self.nesterov, bool):
            raise UpdateRuleError(f"nesterov: expected True or False, got {self.nesterov!r}")
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise UpdateRuleError("nesterov: expected momentum and no dampening with it (as torch.optim.SGD), got "
                                  f"momentum={self.momentum}, dampening={self.dampening}")  # fmt: skip
        if self.first_step not in ("torch", "zero"):
            raise UpdateRuleError(f"first_step: expected 'torch' or 'zero', got {self.first_step!r}")

    @property
    def is_flow(self) -> bool:
        """Whether this is a continuous limit (η = 0) rather than a map."""
        return self.lr == 0

    @property
    def gradient_gain(self) -> sp.Expr:
        """a: the share of G_n that enters the velocity. 1−α; torch ignores dampening without momentum."""
        return sp.S.One if self.momentum == 0 else 1 - self.dampening

    @property
    def first_gradient_gain(self) -> sp.Expr:
        """a_0: the same at the first step."""
        return sp.S.One if self.first_step == "torch" else self.gradient_gain

    @property
    def step_size(self) -> sp.Expr:
        """h = ηa, the training time that one update advances by."""
        return self.lr * self.gradient_gain

    @cached_property
    def shift_polynomials(self) -> tuple[sp.Expr, sp.Expr]:
        """(A(E), B(E)) with A(E)θ_n = −hB(E)G_n, by eliminating the velocity.

        Heavy ball is A = (E − 1)(1 − β/E), B = 1; Nesterov has B = 1 + β − β/E:

        >>> sgd(momentum=True, nesterov=True).shift_polynomials[1].expand()
        beta + 1 - beta/E
        """
        # v_{n+1} = βv_n + aG_n in shift notation, with w_n = v_{n+1} and v_n = w_n/E
        w, G = sp.symbols("w G")
        (velocity,) = sp.solve(w - self.momentum * w / E - self.gradient_gain * G, w)
        step = G + self.momentum * velocity if self.nesterov else velocity
        clearing = 1 - self.momentum / E
        gain = sp.cancel(clearing * step / G / self.gradient_gain)
        return sp.factor((E - 1) * clearing), sp.expand(gain)

    def _repr_latex_(self) -> str:
        decay = "" if self.weight_decay == 0 else rf" + {sp.latex(self.weight_decay)}\,"
        if self.is_flow:
            speed = "" if self.momentum == 0 else rf"\left({sp.latex(1 - self.momentum)}\right)\,"
            return rf"${speed}\dot\theta = -g" + (decay.replace("+", "-") + r"\theta" if decay else "") + "$"
        a, b = (rf"\left({sp.latex(polynomial)}\right)" for polynomial in self.shift_polynomials)
        gradient = r"\left(g_n" + (rf"{decay}\theta_n" if decay else "") + r"\right)"
        gain = "" if self.shift_polynomials[1] == 1 else rf"{b}\,"
        return rf"${a}\,\theta_n = -{sp.latex(self.step_size)}\,{gain}{gradient}$"


def _check_range(name: str, value: sp.Expr, *, below: int | None) -> None:
    """Refuse what is certainly out of range: numbers, and expressions whose assumptions say so."""
    if not isinstance(value, sp.Expr):
        raise UpdateRuleError(f"{name}: expected a SymPy expression, got {value!r}; build the rule with sgd(...)")
    expected = "0 or more" if below is None else f"at least 0 and below {below}"
    outside = value.is_negative or (below is not None and (value - below).is_nonnegative)
    if outside or value.is_real is False or (value.is_number and not value.is_finite):
        raise UpdateRuleError(f"{name}: expected {expected}, got {value}")
    if not all(symbol.name.isidentifier() for symbol in value.free_symbols):
        raise UpdateRuleError(f"{name}: expected symbols whose names are identifiers, got {value.free_symbols}")


def _value(name: str, given: bool | float | sp.Expr, symbol: sp.Symbol) -> sp.Expr:
    """True -> the symbol, False -> 0, a number -> itself, exactly where it is exact."""
    if isinstance(given, bool):
        return symbol if given else sp.S.Zero
    if isinstance(given, sp.Float):
        return sp.Rational(str(given))
    if isinstance(given, sp.Expr):
        return given
    if isinstance(given, Real):
        return sp.Rational(str(given + 0)) if isfinite(given) else sp.nan
    raise UpdateRuleError(f"{name}: expected True, False, a number or a SymPy expression, got {given!r}")


def sgd(
    *,
    lr: bool | float | sp.Expr = True,
    momentum: bool | float | sp.Expr = False,
    dampening: bool | float | sp.Expr = False,
    nesterov: bool = False,
    weight_decay: bool | float | sp.Expr = True,
    first_step: FirstStep = "torch",
) -> UpdateRule:
    """Stochastic gradient descent with ``torch.optim.SGD`` semantics.

    ``True`` is the symbol, ``False`` is 0, numbers are taken exactly (0.1 is 1/10).

    >>> sgd(momentum=True, dampening=True).step_size
    eta*(1 - alpha)
    >>> sgd(dampening=True).step_size  # torch ignores dampening without momentum
    eta
    """
    rule = UpdateRule(
        lr=_value("lr", lr, symbols.lr),
        momentum=_value("momentum", momentum, symbols.momentum),
        dampening=_value("dampening", dampening, symbols.dampening),
        weight_decay=_value("weight_decay", weight_decay, symbols.weight_decay),
        nesterov=nesterov,
        first_step=first_step,
    )
    if rule.is_flow:
        raise UpdateRuleError("lr: expected a positive learning rate, got 0; the limit of no step is gradient_flow()")
    return rule


def gradient_flow(*, weight_decay: bool | float | sp.Expr = False, momentum: bool | float | sp.Expr = False) -> UpdateRule:
    """The limit of a vanishing step: θ' = −g (Kunin et al. 2021, eq. 9), with weight decay (14) or momentum (15).

    >>> gradient_flow().is_flow
    True
    """
    return UpdateRule(
        lr=sp.S.Zero,
        momentum=_value("momentum", momentum, symbols.momentum),
        dampening=sp.S.Zero,
        weight_decay=_value("weight_decay", weight_decay, symbols.weight_decay),
    )
