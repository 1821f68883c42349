"""Laws beyond first order: known coefficients, two independent routes, and the recurrences that they come from."""

from dataclasses import replace
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp

from derive import (
    UnsupportedError,
    charge_rate,
    discrete_law,
    gradient_flow,
    law,
    rescale,
    runge_kutta,
    scale,
    sgd,
    solve,
    translation,
    tree_residual,
)
from derive.symbols import Q, gradient_form, initial_charge, velocity_form
from derive.symbols import dampening as alpha
from derive.symbols import derivative as D
from derive.symbols import lr as eta
from derive.symbols import momentum as beta
from derive.symbols import time as t
from derive.symbols import weight_decay as lam
from numerics import propagate
from tests.derive.known_systems import RULES as HYPER
from tests.derive.known_systems import SYMMETRIES, values

q, k = gradient_form(t), velocity_form(t)
h = eta * (1 - alpha)
RULES = {name: sgd(**hyper) for name, hyper in HYPER.items()}
QUARTER = values(lr="1/10", weight_decay="1/4", momentum="1/3", dampening="1/5")

# Known answers


def test_without_weight_decay_the_drive_of_plain_sgd_has_bernoulli_coefficients():
    # math: D Q = η Y/(e^Y − 1) q, Y = ηD: q − ηq'/2 + η²q''/12 + 0 − η⁴q''''/720
    found = law(scale(), sgd(weight_decay=False), 5).drive_operators["gradient"]
    bernoulli = sum(_bernoulli(j) * (eta * D) ** j / sp.factorial(j) for j in range(5))
    assert sp.expand(found - eta * bernoulli) == 0


def _bernoulli(j):
    return {0: 1, 1: -sp.Rational(1, 2), 2: sp.Rational(1, 6), 3: 0, 4: -sp.Rational(1, 30)}[j]


def test_the_law_of_all_orders_of_plain_sgd_is_the_bernoulli_operator():
    # (D + κ)Q = η e^{ηκ} Y/(e^Y − 1) q with κ = −(2/η) ln(1−ηλ), Y = η(D + κ)
    found = law(scale(), sgd(), sp.oo)
    kappa = -2 * sp.log(1 - eta * lam) / eta
    Y = eta * (D + kappa)
    claimed = eta * sp.exp(eta * kappa) * Y / (sp.exp(Y) - 1)
    point = {D: sp.Rational(3, 7), eta: sp.Rational(1, 5), lam: sp.Rational(2, 3)}
    assert abs((found.drive_operators["gradient"] - claimed).subs(point).evalf(30)) < 1e-25
    assert abs((found.stiffness - kappa).subs(point).evalf(30)) < 1e-25
    assert abs((found.drive_operators["gradient"] - 2 * claimed).subs(point).evalf(30)) > 1e-3


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", ["momentum", "dampening"])
@pytest.mark.parametrize("symmetry", ["translation", "scale"])
def test_the_ladder_of_momentum_has_the_known_coefficients(symmetry, kind, order):
    found, p = law(SYMMETRIES[symmetry](), RULES[kind], order, form="modified flow"), SYMMETRIES[symmetry]().degree
    step = h if kind == "dampening" else eta
    got = (found.stiffness, found.damping, found.mass, *found.higher)
    known = (lam, *(step ** (j - 1) * (1 + (-1) ** j * beta) / (p * sp.factorial(j)) for j in range(1, order + 2)))
    assert [sp.expand(a - b) for a, b in zip(got, known, strict=True)] == [0] * (order + 2)


def test_second_order_of_plain_sgd_drops_or_keeps_what_is_small_in_weight_decay():
    paper, kept = law(scale(), sgd(), 2), law(scale(), sgd(), 2, keep_weight_decay_squared=True)
    assert sp.expand(paper.stiffness - 2 * lam) == 0
    assert sp.expand(kept.stiffness - (2 * lam + eta * lam**2 + sp.Rational(2, 3) * eta**2 * lam**3)) == 0
    assert sp.expand(paper.drive - (eta * q - eta**2 * q.diff(t) / 2)) == 0
    assert sp.expand(kept.drive - (eta * (1 + eta * lam) * q - eta**2 * q.diff(t) / 2)) == 0


def test_the_damping_of_all_orders_is_the_logarithm_of_momentum():
    # math: γ∞ = −ln β/(2h), and the paper's γ = tanh(hγ∞)/h
    exact, paper = law(translation(), sgd(momentum=True), sp.oo), law(translation(), sgd(momentum=True))
    gamma = exact.normal_form[0]
    assert sp.simplify(gamma + sp.log(beta) / (2 * eta)) == 0
    assert sp.simplify((sp.tanh(eta * gamma) / eta).rewrite(sp.exp) - paper.normal_form[0]) == 0


def test_nesterov_is_driven_by_velocity_and_overlap_beyond_first_order():
    # (η/2)((1−β)⟨d,d⟩ + 2β²⟨d,v⟩): from (E − β)w + 2β²o of the exact recurrence
    operators = law(scale(), sgd(momentum=True, nesterov=True), 2, form="modified flow").drive_operators
    assert sp.expand(operators["velocity"].subs(D, 0) - eta * (1 - beta) / 2) == 0
    assert sp.expand(operators["overlap"].subs(D, 0) - eta * beta**2) == 0


# Two routes: the recurrence with E = e^{hD}, and the projected B-series

CASES = [(s, r, o, f) for s in ("translation", "scale", "rescale") for r in RULES for o in (1, 2)
         for f in ((None,) if r == "plain" else ("modified flow", "slow flow"))]  # fmt: skip


@pytest.mark.parametrize(("symmetry", "rule", "order", "form"), CASES)
def test_the_law_by_trees_is_the_law_by_steps(symmetry, rule, order, form):
    found = law(SYMMETRIES[symmetry](), RULES[rule], order, form=form, keep_weight_decay_squared=True)
    assert tree_residual(found).is_zero


@pytest.mark.parametrize("symmetry", ["translation", "scale"])
@pytest.mark.parametrize("momentum", [False, sp.Rational(1, 2)])
def test_the_law_by_trees_is_the_law_by_steps_to_higher_order(symmetry, momentum):
    rule = sgd(momentum=momentum)
    found = law(SYMMETRIES[symmetry](), rule, 3, form="slow flow" if momentum else None, keep_weight_decay_squared=True)
    assert tree_residual(found).is_zero
    assert tree_residual(law(SYMMETRIES[symmetry](), rule, sp.oo), 3).is_zero


def test_a_law_that_is_off_in_one_coefficient_is_told_by_the_trees():
    right = law(scale(), sgd(), 2, keep_weight_decay_squared=True)
    wrong_drive = sp.expand(right.drive + eta**2 * q.diff(t))
    derivation = right.derivation
    ending = replace(derivation.steps[-1], before=sp.S.Zero, after=sp.S.Zero, given=())
    ending = replace(ending, before=right.equation.lhs - wrong_drive, after=right.equation.lhs - wrong_drive)
    wrong = replace(right, drive=wrong_drive, derivation=replace(derivation, steps=(ending,)))
    left = tree_residual(wrong)
    assert not left.is_zero
    assert [str(tree) for pair, _ in left.of_pairs for tree in pair] == ["[t]", "t"]


def test_a_rule_taken_for_another_is_told_by_the_trees():
    heavy = law(scale(), sgd(momentum=True), 2, form="slow flow", keep_weight_decay_squared=True)
    assert not tree_residual(replace(heavy, rule=sgd(momentum=True, nesterov=True))).is_zero


def test_the_implicit_midpoint_rule_conserves_and_explicit_methods_do_not():
    # HLW, Theorem IV.2.1; math: a method conserves iff a(u∘v) + a(v∘u) = a(u)a(v)
    for name, conserves in {"implicit_midpoint": True, "gauss4": True, "euler": False, "rk4": False}.items():
        rate = charge_rate(rescale(), runge_kutta(name).modified_equation(5), 4)
        assert rate.is_zero == conserves
    assert charge_rate(rescale(), runge_kutta("rk4").modified_equation(5), 3).is_zero


def test_the_charge_of_a_translation_moves_by_weight_decay_alone():
    assert charge_rate(translation(), sgd(momentum=True), 2).of_pairs == ()
    assert charge_rate(translation(), sgd(momentum=True, weight_decay=False), 2).is_zero


# Against the steps


@pytest.mark.parametrize("kind", ["momentum", "dampening", "nesterov"])
@pytest.mark.parametrize("order", [2, 3])
def test_the_slow_rate_is_that_of_the_exact_recurrence_up_to_its_order_and_no_further(kind, order):
    def gap(n):
        numbers = QUARTER | {eta: sp.Rational(1, n)} | ({} if kind == "dampening" else {alpha: 0})
        found = law(translation(), RULES[kind], order, form="slow flow", keep_weight_decay_squared=True)
        polynomial = sp.Poly(discrete_law(translation(), RULES[kind]).characteristic_polynomial.subs(numbers))
        exact = sp.log(max(polynomial.nroots(n=50), key=sp.re)) / RULES[kind].step_size.subs(numbers)
        return abs(found.stiffness.subs(numbers) + exact)

    first, second = gap(256), gap(512)
    assert second != 0
    assert float(mpmath.log(first / second, 2)) == pytest.approx(order + 1, abs=0.1)


@pytest.mark.parametrize("kind", ["momentum", "dampening", "nesterov"])
@pytest.mark.parametrize("symmetry", ["translation", "scale"])
def test_the_exponents_of_all_orders_are_the_logarithms_of_the_roots(symmetry, kind):
    numbers = QUARTER | ({} if kind == "dampening" else {alpha: sp.S.Zero})
    for decay in (sp.Rational(1, 100), sp.Rational(1, 4), sp.Rational(9, 4)):  # over- and under-damped
        point = numbers | {lam: decay}
        found = law(SYMMETRIES[symmetry](), RULES[kind], sp.oo)
        polynomial = sp.Poly(discrete_law(SYMMETRIES[symmetry](), RULES[kind]).characteristic_polynomial.subs(point))
        step = RULES[kind].step_size.subs(point)
        roots = [sp.log(root) / step for root in polynomial.nroots(n=40)]
        total, product = found.damping.subs(point).evalf(40), found.stiffness.subs(point).evalf(40)
        assert abs(sum(roots) + total) < 1e-30
        assert abs(sp.expand(roots[0] * roots[1]) - product) < 1e-30


def test_the_law_of_all_orders_follows_4000_steps_of_momentum_where_the_papers_is_off_by_8e_3():
    # math: β = 0.99, η = 0.1, λ = 5e-3: 8.2e-3 of Q_0 for the paper, 2e-13 resummed
    rule = sgd(lr=Fraction(1, 10), momentum=Fraction(99, 100), weight_decay=Fraction(5, 1000))
    steps = propagate(discrete_law(translation(), rule), np.array([1.0]), {}, steps=4000)[:, 0]
    points = [1, 2, 10, 150, 330, 1000, 2500, 4000]

    def worst(solution):
        at = solution.homogeneous.subs(initial_charge, 1)
        return max(abs(float(at.subs(t, rule.step_size * n).evalf(30)) - steps[n]) for n in points)

    assert worst(solve(law(translation(), rule, sp.oo), start="first step")) < 1e-13
    assert worst(solve(law(translation(), rule), start="first step")) < 2e-4
    assert 2e-3 < worst(solve(law(translation(), rule))) < 1e-2


@pytest.mark.parametrize("decay", [0, Fraction(1, 1000), Fraction(1, 4)])
@pytest.mark.parametrize("momentum", [Fraction(1, 9), Fraction(9, 10)])
def test_the_solution_of_all_orders_is_the_first_step_exactly(decay, momentum):
    rule = sgd(lr=Fraction(1, 2), momentum=momentum, weight_decay=decay)
    solution = solve(law(translation(), rule, sp.oo), start="first step")
    after = [solution.homogeneous.subs(initial_charge, 1).subs(t, rule.step_size * n).evalf(30) for n in (1, 2, 3)]
    steps = propagate(discrete_law(translation(), rule), np.array([1.0]), {}, steps=3)[1:, 0]
    assert max(abs(float(a) - b) for a, b in zip(after, steps, strict=True)) < 1e-14


def test_paper_first_step_gives_another_rate_at_the_start_than_torchs():
    rules = [sgd(momentum=True, dampening=True, first_step=first) for first in ("torch", "zero")]
    first, second = (solve(law(translation(), rule), start="first step").initial_rate for rule in rules)
    point = QUARTER | {initial_charge: 1, eta: sp.Rational(1, 10)}
    rates = [dict(solve(law(translation(), rule)).rates) for rule in rules]
    one, other = (r.subs(rate).subs(point).evalf() for r, rate in zip((first, second), rates, strict=True))
    assert abs(one - other) > 1e-2


# Validity and refusals


def test_the_validity_of_a_law_is_where_its_exponents_exist():
    heavy = sgd(momentum=True)
    assert law(scale(), heavy, sp.oo).validity == sp.Lt(2 * eta * lam, (1 + sp.sqrt(beta)) ** 2)
    assert law(scale(), heavy, 2, form="slow flow").validity == sp.Lt(2 * eta * lam, (1 - sp.sqrt(beta)) ** 2)
    assert law(scale(), sgd(), 2).validity == sp.Lt(eta * lam, 1)
    assert law(scale(), sgd()).validity == sp.true


def test_beyond_the_validity_the_roots_of_the_recurrence_are_negative():
    polynomial = discrete_law(translation(), sgd(momentum=True)).characteristic_polynomial
    for decay, negative in ((sp.Rational(399, 100), False), (sp.Rational(401, 100), True)):
        point = {eta: 1, beta: 1 - sp.Rational(1, 10**6), lam: decay}
        inside = bool(law(translation(), sgd(momentum=True), sp.oo).validity.subs(point))
        roots = sp.Poly(polynomial.subs(point)).nroots(n=30)
        assert inside != negative
        assert all(root.is_real and root < 0 for root in roots) == negative


REFUSED = {
    "ladder": (lambda: solve(law(scale(), sgd(momentum=True), 2)), "fast roots are artefacts"),
    "start": (lambda: solve(law(scale(), sgd(momentum=True)), start="fast"), "start: expected one of"),
    "trees of a flow": (lambda: tree_residual(law(scale(), gradient_flow())), "gradient flow has no steps"),
    "trees of all orders": (lambda: tree_residual(law(scale(), sgd(), sp.oo)), "order: expected the power of h"),
    "short series": (
        lambda: charge_rate(scale(), runge_kutta("euler").modified_equation(2), 2),
        "expected a series of order 3",
    ),
    "form at all orders": (
        lambda: law(scale(), sgd(momentum=True), sp.oo, form="slow flow"),
        "expected one of .'all orders'.",
    ),
    "ladder of plain SGD": (lambda: law(scale(), sgd(), 2, form="modified flow"), "expected one of .'modified loss'."),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_law_or_solution_is_refused(call, message):
    with pytest.raises(UnsupportedError, match=message):
        call()


def test_a_drive_with_derivatives_has_no_samples():
    with pytest.raises(ValueError, match="expected a drive without derivatives"):
        _ = law(scale(), sgd(), 2).drive_forms
    assert law(scale(), sgd(), 1).drive_forms == ("gradient",)


def test_laws_of_higher_order_are_written_with_their_derivatives():
    found = law(scale(), sgd(momentum=True), 2)
    assert "*Q^(3) + (eta*(beta + 1)/4)*Q''" in str(found)
    assert "Q^{(3)}" in found._repr_latex_()
    assert r"\operatorname{arccosh}^2" in law(scale(), sgd(momentum=True), sp.oo)._repr_latex_()
    assert Q.diff(t, 3) in found.equation.lhs.atoms(sp.Derivative)


def test_a_rate_by_trees_is_written_with_their_pictures():
    rate = charge_rate(scale(), sgd(), 1)
    assert str(rate) == "(-2*lambda*(h*lambda + 1))*Q + (h)*<F(t), F(t)>"
    assert rate._repr_latex_().count(r"\langle F(") == 1
    assert str(charge_rate(translation(), sgd(weight_decay=False), 1)) == "0"
