"""Equations of learning: known answers, and the order at which they follow the map, tested on both sides."""

from functools import cache

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from derive import UnsupportedError, gradient_flow, modified_flow, modified_loss, sgd
from derive import inner_product as ip
from derive.derivation import Step
from derive.modified_equation import directional_derivative, flow_limit
from derive.symbols import dampening as alpha
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


def slow_rate(rule, step):
    """The root s near −curvature/(1−β) of Σ c_k s^k = −curvature·(gain)(s)."""
    equation, s = modified_flow(rule), sp.Symbol("s")
    words = ip.words(equation.field.subs(numbers_at(step)))
    pull = words[g] * CURVATURE + s * words.get(H * theta_dot, 0) * CURVATURE
    left = sum(c.subs(numbers_at(step)) * s**k for k, c in enumerate(equation.time_coefficients, start=1))
    return max(sp.Poly(left - pull, s).nroots(n=50), key=sp.re)


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_modified_flow_has_the_slow_rate_of_the_map_up_to_second_order_and_no_further(kind):
    rule = sgd(**SETTINGS[kind], weight_decay=False)
    observed = slope(lambda step: abs(slow_rate(rule, step) - slow_multiplier(rule, step)), (STEPS[0] / 64, STEPS[1] / 64))
    assert observed == pytest.approx(2, abs=0.1)


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
        (modified_loss, sgd(), 2, "order: modified_loss is derived to order 1, got 2"),
        (modified_loss, sgd(), 0, "order: modified_loss is derived to order 1, got 0"),
        (modified_flow, sgd(momentum=True), 2, "order: modified_flow is derived to order 1, got 2"),
    ],
)
def test_what_is_not_derived_is_refused(derive, rule, order, message):
    with pytest.raises(UnsupportedError, match=message):
        derive(rule, order)


def test_the_derivative_of_an_unknown_word_is_refused():
    assert directional_derivative(g + 2 * theta, theta_dot) == H * theta_dot + 2 * theta_dot
    with pytest.raises(UnsupportedError, match="field: expected words"):
        directional_derivative(H * g, theta)
