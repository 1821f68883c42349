"""Momentum and Nesterov as multistep rules: the slow flow against known numerators, exact roots and concrete losses."""

from math import factorial

import pytest
import sympy as sp
from sympy import QQ, ring

from derive import gradient_flow, sgd
from derive.bseries import SeriesError, exact_flow, modified_equation
from derive.multistep import LinearMultistep, heavy_ball, multistep, multistep_of, nesterov
from derive.runge_kutta import runge_kutta
from derive.tree_table import rooted_trees
from derive.trees import RootedTree

R = sp.Rational
beta = sp.Symbol("beta")
RULES = {
    "heavy ball": heavy_ball,
    "pytorch": nesterov,
    "textbook": lambda b: nesterov(b, textbook=True),
}


def numerator(series, tree):
    """N in b(τ) = (−1)^{n−1} N/(1−β)^{2n−1}."""
    tree = RootedTree.parse(tree) if isinstance(tree, str) else tree
    return sp.cancel(series[tree] * (-1) ** (tree.order - 1) * (1 - beta) ** (2 * tree.order - 1))


# Known numerators

KNOWN = {
    ("heavy ball", "t"): sp.S.One,
    ("heavy ball", "[t]"): (1 + beta) / 2,
    ("heavy ball", "[[t]]"): (1 + 4 * beta + beta**2) / 3,
    ("heavy ball", "[t,t]"): (1 + 10 * beta + beta**2) / 6,
    ("pytorch", "t"): sp.S.One,
    ("textbook", "t"): sp.S.One,
    ("pytorch", "[t]"): (1 - beta + 2 * beta**2) / 2,
    ("textbook", "[t]"): (1 - beta + 2 * beta**2) / 2,
    ("pytorch", "[t,t]"): (1 - 2 * beta + 13 * beta**2) / 6,
    ("textbook", "[t,t]"): (1 + 4 * beta + 7 * beta**2 - 6 * beta**3 + 6 * beta**4) / 6,
}
"""Found in exact arithmetic by another program, and held there against the observed order on a nonlinear loss."""


@pytest.mark.parametrize(("rule", "tree"), KNOWN)
def test_the_numerators_are_the_known_ones(rule, tree):
    assert sp.expand(numerator(RULES[rule](beta).slow_flow(3), tree) - KNOWN[rule, tree]) == 0


def mirrored(value, order):
    """β^{n−1} N(1/β): the coefficients in reverse."""
    return sp.expand(beta ** (order - 1) * value.subs(beta, 1 / beta))


def test_the_numerators_of_the_heavy_ball_are_palindromes():
    """Run backwards, heavy ball with β is heavy ball with 1/β."""
    for tree in (series := heavy_ball(beta).slow_flow(5)):
        found = numerator(series, tree)
        assert sp.expand(found - mirrored(found, tree.order)) == 0


def test_those_of_nesterov_are_not():
    found = numerator(nesterov(beta).slow_flow(2), "[t]")
    assert sp.expand(found - mirrored(found, 2)) != 0


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_numerators_are_polynomials(rule):
    series = rule(beta).slow_flow(5)
    assert all(numerator(series, tree).is_polynomial(beta) for tree in series)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_without_momentum_each_is_euler(rule):
    assert rule(0).slow_flow(7) == runge_kutta("euler").modified_equation(7)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_number_for_momentum_gives_the_numbers_of_the_symbol(rule):
    symbolic = rule(beta).slow_flow(4)
    assert [value.subs(beta, R(9, 10)) for value in symbolic.values()] == list(rule(0.9).slow_flow(4).values())


# Linear problems: the slow root of the recurrence, exactly


def tall(order):
    tree = RootedTree()
    for _ in range(order - 1):
        tree = RootedTree((tree,))
    return tree


RECURRENCES = {
    "heavy ball": lambda z, b, h: z**2 - (1 + b + h) * z + b,
    "pytorch": lambda z, b, h: z**2 - (1 + b) * z + b - h * ((1 + b) * z - b),
    "textbook": lambda z, b, h: z**2 - (1 + b) * z + b - h * ((1 + b) * z - b),
}
"""f(y) = y: y_n = z^n. On a linear problem the two kinds of Nesterov have one root."""


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("momentum", [R(2, 5), R(9, 10), R(-1, 3)])
def test_on_a_linear_problem_the_slow_flow_grows_by_the_slow_root(rule, momentum):
    """z = exp(Σ hⁿ b(tall tree of order n)) solves the quadratic equation to the order of the series and no further."""
    order, step = 6, sp.Symbol("h")
    series = RULES[rule](momentum).slow_flow(order)
    exponent = sp.Poly(sum(step**n * series[tall(n)] for n in range(1, order + 1)), step)
    root = sum(exponent**k / sp.Integer(factorial(k)) for k in range(order + 2))
    residual = sp.Poly(RECURRENCES[rule](root, momentum, sp.Poly(step, step)), step)
    missed = [k for k in range(order + 2) if residual.coeff_monomial(step**k) != 0]
    assert missed == [order + 1]


# A nonlinear problem: the flow put into the recurrence

_, u, h = ring("u, h", QQ)
FIELD = -(u + u**2 - u**3 / 2)
START = R(1, 3)


def residual_orders(rule, order):
    """The powers of h up to ``order`` + 1 at which the flow of the truncated series from START misses the rule."""
    series = rule.slow_flow(order).items()
    modified = sum(h ** (t.order - 1) * QQ.from_sympy(v / t.symmetry) * scalar_differential(t) for t, v in series)
    derivatives = [u]
    for _ in range(order + 1):
        derivatives.append(kept(derivatives[-1].diff(u) * modified, order + 1))
    at = [d.subs(u, START).as_expr() for d in derivatives]
    step = sp.Symbol("h")

    def position(shift):
        return sum((shift * step) ** k / factorial(k) * value for k, value in enumerate(at))

    field = sp.Poly(FIELD.as_expr(), sp.Symbol("u"))
    left = sum(alpha * position(s) for s, alpha in rule.positions)
    right = sum(w * field.eval(sum(c * position(s) for s, c in place)) for w, place in rule.gradients)
    residual = sp.Poly(left - step * right, step)
    return [k for k in range(order + 2) if residual.coeff_monomial(step**k) != 0]


def kept(polynomial, order):
    """Without the powers of h above an order."""
    return sum((c * u**i * h**k for (i, k), c in polynomial.terms() if k <= order), 0 * u)


def scalar_differential(tree):
    """In one dimension F(τ) is a product over the vertices."""
    slope, below = FIELD, 1
    for child in tree.children:
        slope, below = slope.diff(u), below * scalar_differential(child)
    return slope * below


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_slow_flow_solves_the_recurrence_to_its_order_and_no_further(rule, order):
    assert residual_orders(rule(R(1, 2)), order) == [order + 1]


def test_the_two_kinds_of_nesterov_are_not_each_others_flow():
    """The tester: the coefficients of one put into the recurrence of the other miss it at h³."""
    assert dict(nesterov(R(1, 2)).slow_flow(2)) == dict(nesterov(R(1, 2), textbook=True).slow_flow(2))
    crossed = [nesterov(R(1, 2), textbook=kind).slow_flow(3)["[t,t]"] for kind in (False, True)]
    assert crossed[0] != crossed[1]


# Methods of integration


@pytest.mark.parametrize(
    ("positions", "gradients", "order", "constant"),
    [
        ({1: 1, 0: -1}, {0: R(3, 2), -1: R(-1, 2)}, 2, R(5, 12)),  # Adams, Bashforth
        ({1: 1, 0: -1}, {0: R(23, 12), -1: R(-16, 12), -2: R(5, 12)}, 3, R(3, 8)),
        ({1: 1, 0: -1}, {1: R(5, 12), 0: R(8, 12), -1: R(-1, 12)}, 3, R(-1, 24)),  # Adams, Moulton
        ({1: R(3, 2), 0: -2, -1: R(1, 2)}, {1: 1}, 2, R(-1, 3)),  # backward differentiation
        ({1: R(1, 2), -1: R(-1, 2)}, {0: 1}, 2, R(1, 6)),  # leapfrog
    ],
)
def test_the_order_and_error_constant_are_those_of_hairer_norsett_wanner(positions, gradients, order, constant):
    """Table III.2.1 and eq. III.2.6: the first error is −C y^{(p+1)}, so the same multiple of 1/γ on every tree."""
    series = multistep(positions, gradients).slow_flow(order + 1)
    assert all(series[tree] == (tree.order == 1) for tree in series if tree.order <= order)
    wrong = {series[tree] * tree.density / factorial(order + 1) for tree in rooted_trees(order + 1)}
    assert wrong == {-constant}


def test_one_step_methods_are_multistep_methods_of_one_step():
    euler = multistep({1: 1, 0: -1}, {0: 1})
    backward = multistep({1: 1, 0: -1}, {1: 1})
    assert euler.slow_flow(6) == runge_kutta("euler").modified_equation(6)
    assert backward.slow_flow(6) == runge_kutta("implicit_euler").modified_equation(6)
    assert modified_equation(exact_flow(3)) != euler.slow_flow(3)


def test_evaluating_at_the_mean_is_implicit_midpoint():
    midpoint = multistep({1: 1, 0: -1}, [(1, {1: R(1, 2), 0: R(1, 2)})])
    assert midpoint.slow_flow(6) == runge_kutta("implicit_midpoint").modified_equation(6)


# Update rules


@pytest.mark.parametrize(
    "options", [{}, {"momentum": True}, {"momentum": True, "nesterov": True}, {"momentum": True, "dampening": True}]
)
def test_update_rules_are_multistep_rules_in_their_step_size(options):
    momentum = sgd(**options).momentum
    expected = nesterov(momentum) if options.get("nesterov") else heavy_ball(momentum)
    assert multistep_of(sgd(**options)).slow_flow(3) == expected.slow_flow(3)


def test_the_flow_says_whose_it_is():
    assert "before extrapolation" in nesterov(beta, textbook=True).variable
    assert "torch" in nesterov(beta).variable
    assert sp.cancel(heavy_ball(beta).speed * (1 - beta)) == 1
    assert heavy_ball(R(9, 10)).parasitic_roots == {R(9, 10): 1}
    assert multistep({1: R(1, 2), -1: R(-1, 2)}, {0: 1}).parasitic_roots == {-1: 1}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: multistep({1: 1, 0: 1}, {0: 1}), "positions: expected Σ α_k = 0, got 2"),
        (lambda: multistep({1: 1, 0: -1}, {0: 2}), "speed: expected Σ β_k = .* if this is meant, say speed=2"),
        (lambda: multistep({1: 1, 0: -2, -1: 1}, {0: 1}), "1 is a double root"),
        (lambda: heavy_ball(1), "1 is a double root"),
        (lambda: multistep({1: 1, 0: -1}, {1: 1, 0: -1}), "expected weights with Σ β_j ≠ 0"),
        (lambda: multistep({1: 1, 0: -1}, {}), "expected weights with Σ β_j ≠ 0"),
        (lambda: multistep({1: 1, 0: -1}, [(1, {0: 2})]), "expected Σ_k σ_jk = 1 at each point, got 2"),
        (lambda: multistep({0.5: 1, 0: -1}, {0: 1}), "positions: expected a mapping of whole shifts"),
        (lambda: multistep([1, -1], {0: 1}), "positions: expected a mapping of whole shifts"),
        (lambda: multistep({1: "1", 0: -1}, {0: 1}), r"positions\[1\]: expected exact finite numbers"),
        (lambda: multistep_of(gradient_flow()), "expected an update rule with steps"),
    ],
)
def test_an_inconsistent_rule_is_refused(call, message):
    with pytest.raises(SeriesError, match=message):
        call()


def test_a_rule_is_a_frozen_value():
    assert heavy_ball(beta) == heavy_ball(beta)
    assert isinstance(hash(heavy_ball(beta)), int)
    with pytest.raises(AttributeError):
        heavy_ball(beta).name = "ball"
    assert isinstance(heavy_ball(beta), LinearMultistep)
