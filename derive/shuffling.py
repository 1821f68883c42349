"""What an epoch of SGD descends on average: random reshuffling against independent batches.

An epoch is m steps θ ↦ θ − η∇L_k(θ), one for each batch k. Averaged over the orders of the batches, it follows gradient flow
for the time mη on a modified loss, up to O(η³). Vectors are words of :mod:`derive.inner_product`; in them ``g`` = ∇L and
``H`` = ∇²L belong to the mean L of the batch losses L_k, and ``K`` = (1/m) Σ_k ∇²L_k ∇L_k to their single batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations, product
from typing import Literal

import sympy as sp

from derive import inner_product as ip
from derive import symbols
from derive.derivation import Derivation, Step
from derive.update_rule import UnsupportedError

Sampling = Literal["reshuffling", "independent"]

batch_count = sp.Symbol("m", integer=True, positive=True)
"""m, the number of batches in an epoch."""
own_curvature = sp.Symbol("K", commutative=False)
"""K = (1/m) Σ_k H_k g_k = ∇ (1/2m) Σ_k |∇L_k|²."""

eta = symbols.lr
LISTED = 5
"""Up to this many batches the average over all orders is spelled out in the derivation."""


@dataclass(frozen=True)
class EpochLoss:
    """L + η(a|∇L|² + b (1/m) Σ_k |∇L_k|²): the loss whose gradient flow an epoch of ``batches`` steps follows on average.

    The learning rate is constant in the epoch and weight decay, if any, is part of each L_k.

    Parameters
    ----------
    sampling
        ``"reshuffling"``: each batch once, in random order. ``"independent"``: m batches drawn with replacement.
    batches
        m, a number or the symbol.
    full, single
        a and b.
    derivation
        From the composition of m steps to this loss, machine-checked.

    Examples
    --------
    Reshuffling penalises the gradient of every batch, of which the full gradient is the smaller part
    (Smith, Dherin, Barrett & De 2021):

    >>> loss = epoch_loss(sampling="reshuffling")
    >>> loss.full, loss.single
    (0, 1/4)
    >>> loss.field
    -eta*K/2 - g
    """

    sampling: Sampling
    batches: sp.Expr
    full: sp.Expr
    single: sp.Expr
    derivation: Derivation

    @property
    def field(self) -> sp.Expr:
        """Minus the gradient of the modified loss, in words."""
        return -ip.gradient - 2 * eta * (self.full * ip.hessian * ip.gradient + self.single * own_curvature)

    def of(self, losses: Sequence[sp.Expr], variables: Sequence[sp.Symbol]) -> sp.Expr:
        """The modified loss of concrete batch losses.

        >>> x = sp.Symbol("x")
        >>> epoch_loss(2).of([x, -x], [x])
        eta/4

        Raises
        ------
        ValueError
            If there are not as many losses as batches.
        """
        if self.batches.is_number and len(losses) != self.batches:
            raise ValueError(f"losses: expected one for each of the {self.batches} batches, got {len(losses)}")
        mean = sp.Add(*losses) / len(losses)
        penalty = sp.Add(*(_square(loss, variables) for loss in losses)) / len(losses)
        return mean + eta * (self.full * _square(mean, variables) + self.single * penalty)

    def _repr_latex_(self) -> str:
        full = "" if self.full == 0 else rf" + {sp.latex(eta * self.full)} |\nabla L|^2"
        share = sp.latex(eta * self.single / self.batches)
        single = "" if self.single == 0 else rf" + {share} \sum_{{k=1}}^{{{sp.latex(self.batches)}}} |\nabla L_k|^2"
        return rf"$\widetilde L = L{full}{single}$"


def _square(loss: sp.Expr, variables: Sequence[sp.Symbol]) -> sp.Expr:
    return sp.Add(*(loss.diff(x) ** 2 for x in variables))


def epoch_loss(batches: sp.Expr | int = batch_count, sampling: Sampling = "reshuffling") -> EpochLoss:
    """Derive the modified loss of an epoch, averaged over the order of its batches.

    Two steps of an epoch meet in one way: the earlier moves the point at which the later takes its gradient. So the average
    is known once it is known how often batch l comes before batch k. With reshuffling that is half of the orders for k ≠ l,
    by reversal, and never for k = l.

    Raises
    ------
    UnsupportedError
        For another sampling.
    ValueError
        If ``batches`` is not a positive integer or the symbol m.

    Examples
    --------
    Independent batches have the modified loss of full-batch descent, L + η|∇L|²/4 (Kunin et al. 2021, eq. 16):

    >>> epoch_loss(sampling="independent").field
    -eta*H*g/2 - g
    """
    m = _batches(batches)
    if sampling not in ("reshuffling", "independent"):
        raise UnsupportedError(f"sampling: expected 'reshuffling' or 'independent', got {sampling!r}")
    listed = [_listed_orders(int(m), sampling)] if m.is_number and m <= LISTED else []
    lemmas = tuple(Derivation(step.rule, (step,)) for step in listed)
    average = _average_step(m, sampling)
    backward, full, single = _backward_step(m, average.after)
    title = f"modified loss of an epoch, {sampling} batches"
    return EpochLoss(sampling, m, full, single, Derivation(title, (average, backward), lemmas))


def _batches(batches: sp.Expr | int) -> sp.Expr:
    m = sp.sympify(batches, strict=True)
    if not (m.is_integer and m.is_positive):
        raise ValueError(f"batches: expected a positive integer or a symbol for one, got {batches!r}")
    return m


# One epoch, listed

Pairs = dict[tuple[int, int], Fraction]
"""(k, l) -> coefficient of η² H_k g_l."""


def compose_steps(order: Sequence[int]) -> tuple[Counter[int], Counter[tuple[int, int]]]:
    """The steps θ ↦ θ − ηg_k(θ) composed in ``order``: (k -> count of −ηg_k, (k, l) -> count of +η²H_k g_l).

    All is taken at the start point: step k sees θ + δ with δ of order η, and g_k(θ + δ) = g_k + H_k δ + O(δ²).

    >>> first, second = compose_steps((1, 2))
    >>> dict(first), dict(second)
    ({1: 1, 2: 1}, {(2, 1): 1})
    """
    first: Counter[int] = Counter()
    second: Counter[tuple[int, int]] = Counter()
    for k in order:
        for earlier, count in first.items():
            second[k, earlier] += count
        first[k] += 1
    return first, second


def average_over_orders(batches: int, sampling: Sampling = "reshuffling") -> Pairs:
    """(k, l) -> mean coefficient of η²H_k g_l after an epoch: over all m! orders (reshuffling) or mᵐ draws (independent).

    >>> print({pair: str(c) for pair, c in average_over_orders(2).items()})
    {(1, 2): '1/2', (2, 1): '1/2'}
    """
    labels = range(1, batches + 1)
    orders = list(permutations(labels) if sampling == "reshuffling" else product(labels, repeat=batches))
    total: Counter[tuple[int, int]] = Counter()
    for order in orders:
        total.update(compose_steps(order)[1])
    return {pair: Fraction(count, len(orders)) for pair, count in sorted(total.items())}


def _listed_orders(m: int, sampling: Sampling) -> Step:
    """The average over all orders, spelled out, against its closed form."""
    g = [sp.Symbol(f"g_{k}", commutative=False) for k in range(1, m + 1)]
    H = [sp.Symbol(f"H_{k}", commutative=False) for k in range(1, m + 1)]
    pairs = average_over_orders(m, sampling)
    before = sp.Add(*(sp.Rational(c.numerator, c.denominator) * H[k - 1] * g[j - 1] for (k, j), c in pairs.items()))
    crossed, own = sp.expand(sp.Add(*H) * sp.Add(*g)), sp.Add(*(a * b for a, b in zip(H, g, strict=True)))
    after = (crossed - own) / 2 if sampling == "reshuffling" else sp.Rational(m - 1, 2 * m) * crossed
    return Step(
        before,
        sp.expand(after),
        "average over all orders",
        r"the terms $\eta^2 H_k g_l$ of the composed steps: step $l$ moves the point at which step $k$ takes its gradient",
    )


# One epoch, any number of batches


def _average_step(m: sp.Expr, sampling: Sampling) -> Step:
    """θ after an epoch, on average: Σ_k H_k g_k = mK and Σ_{k,l} H_k g_l = m²Hg are counted by how often l precedes k."""
    same, other = sp.symbols("p_same p_other")
    pairs_same, pairs_other = m * own_curvature, m**2 * ip.hessian * ip.gradient - m * own_curvature
    chances = _precedences(m, sampling)
    before = ip.theta - m * eta * ip.gradient + eta**2 * (same * pairs_same + other * pairs_other)
    facts = ((same, chances[0]), (other, chances[1]))
    reasons = {
        "reshuffling": "a batch never precedes itself, and of two batches either is as often the first, by reversal",
        "independent": "of the $m(m-1)/2$ pairs of an earlier and a later step, one in $m^2$ draws given batches",
    }
    reason = r"$p$ is how many times batch $l$ comes before batch $k$ in the mean, for $k = l$ and for others: "
    source = "Smith, Dherin, Barrett, De 2021" if sampling == "reshuffling" else ""
    return Step(
        before, sp.expand(before.subs(dict(facts))), "average over orders", reason + reasons[sampling], facts, source=source
    )


def _precedences(m: sp.Expr, sampling: Sampling) -> tuple[sp.Expr, sp.Expr]:
    """Mean number of times that l precedes k in an epoch: for k = l, for k ≠ l."""
    if sampling == "reshuffling":
        return sp.S.Zero, sp.Rational(1, 2)
    pairs_of_steps = m * (m - 1) / 2
    return pairs_of_steps / m**2, pairs_of_steps / m**2


def _backward_step(m: sp.Expr, average: sp.Expr) -> tuple[Step, sp.Expr, sp.Expr]:
    """The loss L + η(a|∇L|² + b mean|∇L_k|²) whose flow for the time mη ends where the epoch does."""
    found = ip.words(average)
    curved, own = (found.get(word, sp.S.Zero) / eta**2 for word in (ip.hessian * ip.gradient, own_curvature))
    full, single = (sp.cancel(value) for value in ((m**2 / 2 - curved) / (2 * m), -own / (2 * m)))
    correction = -2 * (full * ip.hessian * ip.gradient + single * own_curvature)
    flow = ip.theta + m * eta * (-ip.gradient + eta * correction) + (m * eta) ** 2 / 2 * ip.hessian * ip.gradient
    reason = (
        r"the flow of $f_0 + \eta f_1$ for the time $m \eta$ is $\theta + m \eta f_0 + m \eta^2 f_1 + m^2 \eta^2 f_0'f_0/2$ "
        r"up to $\eta^3$, with $f_0 = -g$ and $f_0'f_0 = H g$; here $\eta f_1$ is minus the gradient of the penalty, "
        r"$\nabla |\nabla L|^2 = 2 H g$ and $\nabla (1/m) \sum_k |\nabla L_k|^2 = 2 K$"
    )
    return Step(average, sp.expand(flow), "backward error analysis", reason), full, single
