"""Laws beyond first order: the exact recurrence of the charge, P(E) Q = Σ R_f(E) f, with E = e^{hD} put in.

Nothing is closed on the way, so these laws hold for minibatch gradients as well. Their drives are the recurrence's: the
form ⟨g, g⟩_M of the gradient that a step used, ⟨Δθ, Δθ⟩_M/h² of its mean velocity, and with Nesterov ⟨d, v⟩_M, each as
a smooth function of time through its values at the steps. Both sides are multiplied by an operator:

* ``modified flow``: 1/(phE), then Taylor in h. With classical momentum Q^{(k)} gets h^{k−1}(1 + (−1)^k β)/(pk!).
* ``slow flow``: (D − s)/P(e^{hD}) with s = ln(z)/h of the root z → 1, then Taylor in h: an equation of first order. Without
  momentum s is the only exponent, and this is the ``modified loss``.
* ``all orders``: Π(D − s)/P(e^{hD}) over all exponents, and no expansion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sympy as sp

from derive import symbols
from derive.derivation import Derivation, Step
from derive.discrete_law import DiscreteLaw, discrete_law
from derive.laurent_series import laurent_series
from derive.operator_calculus import factored, operator_on
from derive.special_functions import squared_arccosh1p
from derive.symbols import Q
from derive.symbols import derivative as D
from derive.symbols import shift as E
from derive.symbols import step_size as h
from derive.symbols import time as t
from derive.symmetry import Symmetry
from derive.update_rule import UpdateRule

DRIVES = {"gradient": symbols.gradient_form(t), "direction": symbols.velocity_form(t), "overlap": symbols.overlap_form(t)}
"""Drive of the recurrence -> the function of time through its values, up to ⟨d, d⟩_M = (h/η)²⟨Δθ, Δθ⟩_M/h²."""
SOURCE = "Kunin et al. 2021, App. I, by $E = e^{hD}$"
_exponent = sp.Symbol("s")


@dataclass(frozen=True)
class Recurrence:
    """P(E) Q = Σ R_f(E) f of a discrete law, written with h and symbols.

    Parameters
    ----------
    discrete
        The exact law it is read off from.
    charge
        P(E), a polynomial of degree 1, or 2 with momentum.
    drives
        Pairs (f(t), R_f(E)).
    values
        Pairs (symbol, what stands for it in the rule at hand).
    """

    discrete: DiscreteLaw
    charge: sp.Expr
    drives: tuple[tuple[sp.Expr, sp.Expr], ...]
    values: tuple[tuple[sp.Symbol, sp.Expr], ...]

    @property
    def constant(self) -> sp.Expr:
        """P(0), the product of the roots (up to sign): β for classical momentum."""
        return self.charge.subs(E, 0)

    @property
    def static(self) -> sp.Expr:
        """P(1) = phλ for classical momentum: 0 without weight decay."""
        return sp.expand(self.charge.subs(E, 1))

    def times(self, factor: sp.Expr) -> sp.Expr:
        """The recurrence multiplied by an operator, all on one side."""
        return operator_on(factor * self.charge, Q) - sum(operator_on(factor * R, f) for f, R in self.drives)


@dataclass(frozen=True)
class _Expansion:
    """An operator, its Taylor polynomial in h, and the step that says so."""

    exact: sp.Expr
    short: sp.Expr
    lemma: Step


def recurrence(symmetry: Symmetry, rule: UpdateRule) -> Recurrence:
    """The scalar recurrence of the charge of ``symmetry`` under ``rule``.

    >>> from derive import scale, sgd
    >>> sp.factor(recurrence(scale(), sgd()).charge)
    E - h**2*lambda**2 + 2*h*lambda - 1
    """
    fields = {"weight_decay": symbols.weight_decay, "momentum": symbols.momentum, "dampening": symbols.dampening}
    generic = {name: symbol for name, symbol in fields.items() if getattr(rule, name) != 0}
    lr = h / (1 - generic["dampening"]) if rule.gradient_gain != 1 else h
    discrete = discrete_law(symmetry, replace(rule, lr=lr, **generic))
    gain = discrete.rule.gradient_gain
    drives = tuple(
        (DRIVES[name], sp.factor(R * gain**2 if name == "direction" else R))
        for name, R in discrete.drive_polynomials.items()
        if name != "breaking"
    )
    values = ((h, rule.step_size), *((symbol, getattr(rule, name)) for name, symbol in fields.items()))
    return Recurrence(discrete, sp.expand(discrete.characteristic_polynomial), drives, values)


def law_of_order(symmetry: Symmetry, rule: UpdateRule, order: int, form: str, keep: bool) -> tuple[sp.Expr, Derivation]:
    """The law of a finite order: an expression that is 0 along training, and how it follows.

    ``keep`` says whether λ counts as a number; otherwise it counts as a power of h, as the paper takes λ ~ η.
    """
    exact = recurrence(symmetry, rule)
    if form == "modified flow":
        factor, why = 1 / (symmetry.degree * h * E), r"both sides over $p\,h\,E$, $p$ the degree of the charge"
        expansions = _ladder(exact, factor, order)
    else:
        factor, why = (
            (D - _exponent) / _continuous(exact.charge),
            r"both sides times $(D - s)/P(e^{hD})$, regular at $D = s$",
        )
        expansions = _slow_flow(exact, factor, order)
    steps = [_shifted(exact, factor, why)]
    steps.append(_truncated(steps[-1].after, expansions, order))
    if form != "modified flow" and not keep:
        steps.append(_weight_decay_small(steps[-1].after, order))
    lemmas = tuple(Derivation(e.lemma.rule, (e.lemma,)) for e in expansions)
    return _finish(exact, f"law of the {symmetry.name} charge, {form}, order {order}", lemmas, steps)


def law_of_all_orders(symmetry: Symmetry, rule: UpdateRule) -> tuple[sp.Expr, Derivation]:
    """Π(D − s) Q = Σ Π(D − s) R_f(e^{hD})/P(e^{hD}) f over the exponents s of the recurrence: nothing is dropped."""
    exact = recurrence(symmetry, rule)
    operator, lemma = (_one_exponent if sp.degree(exact.charge, E) == 1 else _two_exponents)(exact, symmetry.degree)
    why = r"both sides times $\prod (D - s)/P(e^{hD})$, regular because $P(e^{hs}) = 0$"
    first = _shifted(exact, operator / _continuous(exact.charge), why)
    return _finish(exact, f"law of the {symmetry.name} charge, to all orders", (lemma,), [first])


def _finish(exact: Recurrence, title: str, lemmas: tuple[Derivation, ...], steps: list[Step]) -> tuple[sp.Expr, Derivation]:
    """Put the rule's own step size and hyper-parameters in, and carry the differential operators out."""
    before, values = steps[-1].after, dict(exact.values)
    valued = before.xreplace(values)
    after = _collected(sp.expand(valued.doit(), deep=False))
    given = (
        *((x, v) for x, v in exact.values if x != v),
        *((x, x.doit()) for x in valued.atoms(operator_on) if x != x.doit()),
    )
    reason = r"$D$ is the derivative in time, $h$ the step size"
    steps = [*steps, Step(before, after, "read the operators", reason, given)]
    return after, Derivation(title, tuple(steps), (exact.discrete.derivation, *lemmas))


def _collected(expr: sp.Expr) -> sp.Expr:
    """``expr``, linear in charge, drives and their derivatives, with one factored coefficient for each."""
    functions = {*expr.atoms(sp.Derivative), Q, *DRIVES.values()}
    return sp.collect(expr, sorted(functions, key=str), factored)


def _continuous(polynomial: sp.Expr) -> sp.Expr:
    return polynomial.subs(E, sp.exp(h * D))


def _shifted(exact: Recurrence, factor: sp.Expr, why: str) -> Step:
    before = exact.times(factor)
    return Step(before, _continuous(before), "shift by one step in time", rf"$E = e^{{hD}}$, {why}", ((E, sp.exp(h * D)),),
                source=SOURCE)  # fmt: skip


def _truncated(expr: sp.Expr, expansions: list[_Expansion], order: int) -> Step:
    short = {e.exact: e.short for e in expansions}
    given = tuple((x, operator_on(short[x.operator], x.function)) for x in expr.atoms(operator_on))
    reason = rf"each operator by its Taylor polynomial; terms in $h^{{{order + 1}}}$ and higher are dropped"
    return Step(expr, expr.subs(dict(given)), "truncate", reason, given)


def _weight_decay_small(expr: sp.Expr, order: int) -> Step:
    """Drop what is of higher total degree in h and λ than ``order`` (of order 1: ηλ², App. E)."""
    after = expr.replace(operator_on, lambda F, f: operator_on(_total_degree(F, order), f))
    reason = r"$\lambda$ is taken to be as small as $\eta$, so it counts as a power of $h$"
    dropped = sp.expand((expr - after).doit())
    return Step(expr, after, "drop small weight decay", reason, (), dropped, "Kunin et al. 2021, App. E")


def _total_degree(operator: sp.Expr, order: int) -> sp.Expr:
    """The terms of a polynomial in h, λ and D whose degree in h and λ is at most ``order``."""
    terms = sp.Add.make_args(sp.expand(operator))
    return sp.Add(*(x for x in terms if sum(sp.degree(x, letter) for letter in (h, symbols.weight_decay)) <= order))


def _ladder(exact: Recurrence, factor: sp.Expr, order: int) -> list[_Expansion]:
    """Every operator of the recurrence to h^order, by Taylor's formula."""
    found = []
    for name, operator in (("P", exact.charge), *(("R", R) for _, R in exact.drives)):
        whole = _continuous(factor * operator)
        short = _polynomial(whole, order)
        reason = rf"${name}(e^{{hD}})/(p\,h\,e^{{hD}})$ in powers of $h$"
        step = Step(whole, short, f"Taylor expansion of {name}", reason, (), sp.Order(h ** (order + 1)), SOURCE)
        found.append(_Expansion(whole, short, step))
    return found


# The slow exponent, as a power series in h


def _slow_flow(exact: Recurrence, factor: sp.Expr, order: int) -> list[_Expansion]:
    """s from P(e^{hs}) = 0 and K_f from K_f P(e^{hD}) = (D − s) R_f(e^{hD}), order by order."""
    slow, small = _slow_exponent(exact.charge, order), sp.Order(h ** (order + 2))
    at_slow, why = exact.charge.subs(E, sp.exp(h * slow)), r"$P(e^{hs}) = 0$, order by order in $h$"
    root = Step(at_slow, sp.S.Zero, "slow exponent", why, (), small, SOURCE)
    found = [_Expansion(D - _exponent, D - slow, root)]
    for _, R in exact.drives:
        K = _polynomial((D - slow) * _continuous(R / exact.charge), order)
        sides = ((D - slow) * _continuous(R), K * _continuous(exact.charge))
        step = Step(
            *sides, "slow response", r"$K\,P(e^{hD}) = (D - s)\,R(e^{hD})$, order by order in $h$", (), small, SOURCE
        )
        found.append(_Expansion(_continuous(factor * R), K, step))
    return found


def _slow_exponent(charge: sp.Expr, order: int) -> sp.Expr:
    """s_0 + s_1 h + … to h^order: each coefficient enters its own order linearly, with the factor dP/dE at E = 1, h = 0."""
    slope, s = charge.diff(E).subs({E: 1, h: 0}), sp.S.Zero
    for k in range(order + 1):
        missed = laurent_series(charge.subs(E, sp.exp(h * s)), h, k + 2).get(k + 1, sp.S.Zero)
        s -= sp.factor(missed / slope) * h**k
    return s


def _polynomial(expr: sp.Expr, order: int) -> sp.Expr:
    """The Taylor polynomial of ``expr`` in h."""
    return sp.Add(*(coefficient * h**power for power, coefficient in laurent_series(expr, h, order + 1).items()))


# All exponents, in closed form


def _one_exponent(exact: Recurrence, degree: int) -> tuple[sp.Expr, Derivation]:
    s = degree * sp.log(1 - h * exact.discrete.rule.weight_decay) / h
    step = Step(
        exact.charge.subs(E, sp.exp(h * s)), sp.S.Zero, "exponent", r"$e^{hs} = (1 - \eta\lambda)^p$ is the root of $P$"
    )
    return D - s, Derivation("exponent", (step,))


def _two_exponents(exact: Recurrence, degree: int) -> tuple[sp.Expr, Derivation]:
    """(D − s₊)(D − s₋) = D² + 2γD + ω² with s± = −γ ± μ/h: γ = −ln P(0)/(2h), cosh μ = −P'(0)/(2√P(0)).

    cosh μ − 1 is written ((1 − √P(0))² − P(1))/(2√P(0)), which loses no digits near critical damping, where it is 0.
    """
    b = sp.factor(exact.constant)
    if exact.static == 0:
        step = Step(exact.charge, sp.expand((E - 1) * (E - b)), "exponents", r"the roots are 1 and $P(0)$")
        return D * (D - sp.log(b) / h), Derivation("exponents", (step,))
    mu, gamma, root = sp.Symbol("mu"), -sp.log(b) / (2 * h), sp.sqrt(b)
    distance = ((1 - root) ** 2 - exact.static) / (2 * root)
    scaled = exact.charge.subs(E, root * sp.exp(mu)) * sp.exp(-mu) / b
    cosh = sp.exp(mu) + sp.exp(-mu) - 2 * (1 + distance)
    turns = Step(scaled, cosh, "roots of the recurrence", r"$P(\sqrt{P(0)}\,e^{\mu}) = 0$ says $\cosh\mu$ of $\mu$")
    square = squared_arccosh1p(distance)
    omega_squared = gamma**2 - square / h**2
    apart = (D + gamma - mu / h) * (D + gamma + mu / h)
    operator = D**2 + 2 * gamma * D + omega_squared
    names = Step(apart, operator, "exponents", r"$s_\pm = (\ln\sqrt{P(0)} \pm \mu)/h$ and $\mu^2 = \mathrm{arccosh}^2$",
                 ((mu, sp.sqrt(square)),))  # fmt: skip
    return operator, Derivation("exponents", (), (Derivation("roots", (turns,)), Derivation("exponents", (names,))))
