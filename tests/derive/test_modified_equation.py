"""Equations of learning: known answers, and the order at which they follow the map, tested on both sides."""

import re
from functools import cache

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from derive import (
    RootedTree,
    UnsupportedError,
    gradient_flow,
    heavy_ball,
    modified_flow,
    modified_loss,
    partitioned,
    runge_kutta,
    sgd,
)
from derive import inner_product as ip
from derive.derivation import DerivationError, Step
from derive.modified_equation import directional_derivative, flow_limit
from derive.symbols import dampening as alpha
from derive.symbols import derivative, step_size
from derive.symbols import lr as eta
from derive.symbols import momentum as beta
from derive.symbols import weight_decay as lam
from tests.derive.known_systems import CURVED_LOSS

g, H, theta, theta_dot = ip.gradient, ip.hessian, ip.theta, ip.theta_dot


def same(vector, expected):
    return sp.expand(vector - expected) == 0


# Known answers


def test_equation_16_gradient_descent_corrects_the_gradient_by_half_a_step_of_curvature():
    equation = modified_loss(sgd(weight_decay=False))
    assert same(equation.field, -g - eta / 2 * H * g)
    assert equation.time_coefficients == (1,)


def test_equation_27_with_weight_decay():
    field = modified_loss(sgd()).field
    assert same(field, -(1 + eta * lam / 2) * g - (lam + eta * lam**2 / 2) * theta - eta / 2 * (H * g + lam * H * theta))


def test_equation_17_gradient_descent_gets_half_a_step_of_mass():
    equation = modified_flow(sgd(weight_decay=False))
    assert (equation.time_coefficients, equation.field) == ((1, eta / 2), -g)


def test_equation_32_momentum_gives_mass_and_takes_damping():
    friction, mass = modified_flow(sgd(momentum=True, dampening=True)).time_coefficients
    assert sp.expand(mass - eta * (1 - alpha) * (1 + beta) / 2) == 0
    assert sp.expand(friction - (1 - beta)) == 0
    assert same(modified_flow(sgd(momentum=True, dampening=True)).field, -g - lam * theta)


def test_nesterov_adds_the_change_of_the_gradient():
    equation = modified_flow(sgd(momentum=True, nesterov=True))
    assert same(equation.field, -g - lam * theta - beta * eta * (H * theta_dot + lam * theta_dot))
    assert equation.time_coefficients == modified_flow(sgd(momentum=True)).time_coefficients


@pytest.mark.parametrize(
    ("rule", "speed", "field"),
    [
        (gradient_flow(), 1, -g),  # eq. 9
        (gradient_flow(weight_decay=True), 1, -g - lam * theta),  # eq. 14
        (gradient_flow(momentum=True), 1 - beta, -g),  # eq. 15
        (sgd(momentum=True, dampening=True), 1 - beta, -g - lam * theta),  # appendix C.2
        (sgd(momentum=True, nesterov=True), 1 - beta, -g - lam * theta),
    ],
)
def test_the_limit_of_small_steps_is_the_flow_of_appendix_c(rule, speed, field):
    limit = flow_limit(rule)
    assert same(limit.field, field)
    assert [sp.expand(c - speed) for c in limit.time_coefficients] == [0]


EQUATIONS = [modified_loss(sgd()), modified_flow(sgd(momentum=True, nesterov=True)), flow_limit(sgd())]


@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda equation: equation.form)
def test_an_equation_names_its_rule_and_shows_its_terms(equation):
    assert equation._repr_latex_().startswith("$")
    assert r"\dot\theta" in equation._repr_latex_()
    assert all(isinstance(step, Step) for step in equation.derivation.steps)
    assert equation.order == (0 if equation.form == "gradient flow" else 1)


# On a concrete loss

x, y = sp.symbols("x y", real=True)
POINT = (sp.Rational(3, 5), sp.Rational(-2, 7))


def on_loss(field, loss):
    """A field of words, spelled out: ``H*g`` becomes ∇²L ∇L."""
    letters = {g: sp.Matrix([loss.diff(x), loss.diff(y)]), H: sp.hessian(loss, (x, y)), theta: sp.Matrix([x, y])}
    total = sp.zeros(2, 1)
    for word, scalar in ip.words(field).items():
        product = scalar * sp.eye(2)
        for letter in ip.word_letters(word):
            product = product * letters[letter]
        total += product
    return total


def test_the_modified_field_is_minus_the_gradient_of_the_modified_loss():
    decayed = CURVED_LOSS + lam / 2 * (x**2 + y**2)
    modified = decayed + eta / 4 * (decayed.diff(x) ** 2 + decayed.diff(y) ** 2)
    field = on_loss(modified_loss(sgd()).field, CURVED_LOSS)
    assert [sp.expand(f + modified.diff(v)) for f, v in zip(field, (x, y), strict=True)] == [0, 0]


@cache
def local_error(equation, step):
    """Distance between one step of gradient descent with weight decay 1/4 and the flow of ``equation`` for that time."""
    numbers = {eta: sp.Rational(step), lam: sp.Rational(1, 4)}
    field = sp.lambdify((x, y), list(on_loss(equation.field, CURVED_LOSS).subs(numbers)), "math")
    start = np.array(POINT, dtype=float)
    flow = solve_ivp(lambda t, v: field(*v), (0, float(step)), start, method="DOP853", rtol=1e-13, atol=1e-15)
    descent = sp.lambdify((x, y), list(on_loss(flow_limit(sgd()).field, CURVED_LOSS).subs(numbers)), "math")
    return float(np.linalg.norm(start + float(step) * np.array(descent(*start)) - flow.y[:, -1]))


def slope(error, steps):
    """Observed order: the slope of log(error) over log(step), between the two smallest steps."""
    return float(mpmath.log(error(steps[0]) / error(steps[1])) / mpmath.log(steps[0] / steps[1]))


STEPS = (sp.Rational(1, 64), sp.Rational(1, 128))


def test_the_modified_loss_follows_a_step_with_an_error_of_third_order_and_no_higher():
    observed = slope(lambda step: local_error(modified_loss(sgd()), step), STEPS)
    assert observed == pytest.approx(3, abs=0.1)


def test_gradient_flow_follows_a_step_with_an_error_of_second_order_only():
    assert slope(lambda step: local_error(flow_limit(sgd()), step), STEPS) == pytest.approx(2, abs=0.1)


def test_the_opposite_correction_would_be_seen():
    right = modified_loss(sgd())
    wrong = type(right)(right.rule, 1, right.form, right.time_coefficients, 2 * flow_limit(sgd()).field - right.field,
                        right.derivation)  # fmt: skip
    assert slope(lambda step: local_error(wrong, step), STEPS) == pytest.approx(2, abs=0.1)


# Beyond first order, in words

u = sp.Symbol("u", real=True)
SCALAR_LOSS = u**2 / 2 + u**4 / 3 - u**5 / 7


def spelled(word):
    """A word on a loss of one parameter: ``D3L[H*g, theta]`` is the third derivative of L times L''L'θ."""
    text, values = str(word), {"g": SCALAR_LOSS.diff(u), "H": SCALAR_LOSS.diff(u, 2), "theta": u}

    def multiplied(factors):
        pairs = (factor.partition("^") for factor in factors.replace("**", "^").split("*"))
        return sp.prod(values[base] ** int(power or 1) for base, _, power in pairs)

    while inner := re.search(r"D(\d)L\[([^\[\]]*)\]", text):
        name = f"#{len(values)}"
        values[name] = SCALAR_LOSS.diff(u, int(inner[1])) * sp.prod(map(multiplied, inner[2].split(", ")))
        text = text.replace(inner[0], name, 1)
    return multiplied(text)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_words_of_every_order_say_what_the_concrete_equation_says(order):
    decayed = sgd(weight_decay=sp.Rational(1, 3))
    concrete = modified_loss(decayed, loss=SCALAR_LOSS, variables=(u,), order=order)
    words = ip.words(modified_loss(decayed, order=order).field)
    assert sp.expand(sum(c * spelled(word) for word, c in words.items()) - concrete.field[0]) == 0


def test_the_second_order_in_words_is_the_known_field():
    """θ' = −[g + η/2 Hg + η²(H²g/3 + ∇³L[g,g]/12)]."""
    third = sp.Symbol("D3L[g, g]", commutative=False)
    field = modified_loss(sgd(weight_decay=False), order=2).field
    assert same(field, -g - eta / 2 * H * g - eta**2 * (H * H * g / 3 + third / 12))


def test_the_derivation_of_a_higher_order_refuses_another_field():
    (lemma,) = modified_loss(sgd(weight_decay=False), order=3).derivation.lemmas
    (step,) = lemma.steps
    with pytest.raises(DerivationError, match="backward error"):
        Step(step.before, step.after + eta**4 * H * H * H * g / 100, step.rule, step.reason)


@pytest.mark.parametrize("order", range(1, 8))
def test_the_ladder_of_the_heavy_ball_is_one_plus_or_minus_beta_over_a_factorial(order):
    ladder = modified_flow(sgd(momentum=True), order=order).time_coefficients
    known = [eta ** (k - 1) * (1 + (-1) ** k * beta) / sp.factorial(k) for k in range(1, order + 2)]
    assert [sp.expand(c - expected) for c, expected in zip(ladder, known, strict=True)] == [0] * (order + 1)


def test_the_expansion_of_the_ladder_is_checked_when_it_is_made():
    (lemma,) = modified_flow(sgd(momentum=True), order=3).derivation.lemmas
    (step,) = lemma.steps
    with pytest.raises(DerivationError, match="Taylor expansion"):
        Step(step.before, step.after + step_size**3 * derivative**4, step.rule, step.reason, (), step.dropped)


def test_coefficients_are_those_of_the_slow_flow_with_their_known_numerators():
    coefficients = modified_flow(sgd(momentum=True), order=2).coefficients
    known = {"t": 1, "[t]": (1 + beta) / 2, "[[t]]": (1 + 4 * beta + beta**2) / 3, "[t,t]": (1 + 10 * beta + beta**2) / 6}
    for tree, numerator in known.items():
        n = RootedTree.parse(tree).order
        assert sp.cancel(coefficients[tree] - (-1) ** (n - 1) * numerator / (1 - beta) ** (2 * n - 1)) == 0
    assert dict(flow_limit(gradient_flow()).coefficients) == {RootedTree(): 1}


def test_order_counts_powers_of_the_step_but_vertices_where_there_is_only_a_b_series():
    assert modified_flow(sgd(momentum=True), order=3).coefficients.order == 4
    for method in (runge_kutta("midpoint"), heavy_ball(beta)):
        assert modified_flow(method, order=4).coefficients.order == 4
    to_nine_vertices = modified_flow(runge_kutta("midpoint"), order=9).coefficients
    assert to_nine_vertices == runge_kutta("midpoint").modified_equation(9)
    assert sum(to_nine_vertices.values()) == sp.Rational(19063, 26880)  # BSeries.jl
    assert modified_flow(sgd(), order=0).form == "gradient flow"


def test_beyond_the_first_order_latex_has_dots_and_nablas():
    shown = modified_flow(sgd(momentum=True, nesterov=True), order=3)._repr_latex_()
    assert r"\theta^{(4)}" in shown
    assert r"\ddot{g}" in shown
    assert r"\nabla^{3}L[H\,g, g]" in modified_loss(sgd(weight_decay=False), order=3)._repr_latex_()


# Modified flow: along an eigenvector of curvature A the map multiplies by z and the flow by e^{hs}

SETTINGS = {
    "plain": {},
    "momentum": {"momentum": True},
    "dampening": {"momentum": True, "dampening": True},
    "nesterov": {"momentum": True, "nesterov": True},
}
CURVATURE = sp.Rational(3, 4)


def numbers_at(step):
    """η at which h = η(1−α) is ``step`` with dampening, and close to it without."""
    return {eta: sp.Rational(step), beta: sp.Rational(1, 3), alpha: sp.Rational(1, 5)}


def slow_multiplier(rule, step):
    """ln z / h for the root z near 1 of A(z) + hB(z)·curvature = 0."""
    left, right = rule.shift_polynomials
    (shift,) = left.free_symbols - {beta}
    polynomial = sp.numer(sp.together((left + rule.step_size * right * CURVATURE).subs(numbers_at(step))))
    roots = sp.Poly(polynomial, shift).nroots(n=50)
    return sp.log(max(roots)) / rule.step_size.subs(numbers_at(step))


def slow_rate(rule, step, order):
    """The root s near −curvature/(1−β) of Σ c_k s^k = the pull on e^{st}, on which g^(k) is curvature·s^k."""
    equation, s = modified_flow(rule, order=order), sp.Symbol("s")
    words = ip.words(equation.field.subs(numbers_at(step)))
    letters = {g: 0, H * theta_dot: 1} | {ip.time_derivative(g, k): k for k in range(2, order + 1)}
    pull = sum(words.get(word, 0) * CURVATURE * s**k for word, k in letters.items())
    left = sum(c.subs(numbers_at(step)) * s**k for k, c in enumerate(equation.time_coefficients, start=1))
    start = -CURVATURE / equation.time_coefficients[0].subs(numbers_at(step))
    return min(sp.Poly(left - pull, s).nroots(n=50), key=lambda root: abs(root - start))


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", SETTINGS)
def test_the_modified_flow_has_the_slow_rate_of_the_map_up_to_its_order_and_no_further(kind, order):
    rule = sgd(**SETTINGS[kind], weight_decay=False)
    steps = (STEPS[0] / 64, STEPS[1] / 64)
    observed = slope(lambda step: abs(slow_rate(rule, step, order) - slow_multiplier(rule, step)), steps)
    assert observed == pytest.approx(order + 1, abs=0.1)


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_flow_limit_has_it_up_to_first_order_only(kind):
    rule = sgd(**SETTINGS[kind], weight_decay=False)
    limit = -CURVATURE / flow_limit(rule).time_coefficients[0].subs(numbers_at(1))
    observed = slope(lambda step: abs(limit - slow_multiplier(rule, step)), (STEPS[0] / 64, STEPS[1] / 64))
    assert observed == pytest.approx(1, abs=0.1)


# Refusals


@pytest.mark.parametrize(
    ("derive", "rule", "order", "message"),
    [
        (modified_loss, sgd(momentum=True), 1, "modified_loss covers plain SGD, got momentum; use modified_flow"),
        (modified_loss, runge_kutta("rk4"), 1, "loss: expected a loss for a method other than sgd"),
        (modified_loss, sgd(), 0, "order: expected the highest power of h to keep, a whole number from 1 on .*, got 0"),
        (modified_loss, sgd(), 1.5, "order: expected .*, got 1.5"),
        (modified_loss, sgd(), sp.oo, "order: expected a number of powers of h, got oo; all orders are for"),
        (modified_flow, sgd(momentum=True), -1, "order: expected .* from 0 on .*, got -1"),
        (modified_flow, sgd(momentum=True), True, "order: expected .*, got True"),
        (modified_flow, gradient_flow(), 1, "rule: expected a rule with steps, got a gradient flow"),
        (modified_flow, partitioned("symplectic_euler"), 1, "rule: expected sgd.*, got PartitionedRungeKutta"),
    ],
)
def test_what_is_not_derived_is_refused(derive, rule, order, message):
    with pytest.raises(UnsupportedError, match=message):
        derive(rule, order)


def test_the_derivative_of_an_unknown_word_is_refused():
    assert directional_derivative(g + 2 * theta, theta_dot) == H * theta_dot + 2 * theta_dot
    with pytest.raises(UnsupportedError, match="field: expected words"):
        directional_derivative(H * g, theta)
