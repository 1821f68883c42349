"""Iterates and flows side by side: observed orders, exact solutions, torch's own rule in fractions, refusals."""

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp

from derive import heavy_ball, modified_flow, modified_loss, oscillator, runge_kutta, sgd
from numerics import FlowError, ObservedOrder, OutsideValidityWarning, integrate, iterate, observed_order
from tests.derive.known_systems import CURVED_LOSS, descend, x, y

R = sp.Rational
START = (0.6, -0.3)
HALF = R(1, 2)
RULES = {
    "gradient descent": sgd(weight_decay=False),
    "heavy ball": sgd(momentum=HALF, weight_decay=False),
    "nesterov": sgd(momentum=HALF, nesterov=True, weight_decay=False),
    "all but nesterov": sgd(momentum=HALF, dampening=R(1, 4), weight_decay=R(1, 8)),
}
LOTKA_VOLTERRA = {x: x * (2 - y), y: y * (x - 1)}

# Order


@pytest.mark.parametrize("powers", range(5))
@pytest.mark.parametrize("name", RULES)
def test_after_a_fixed_time_the_distance_falls_with_the_order_and_no_faster(name, powers):
    """Orders 1 to 5 on a nonlinear loss of two parameters: an equation that keeps h^p is O(h^{p+1}) away, no less."""
    found = observed_order(modified_flow(RULES[name], loss=CURVED_LOSS, order=powers), START, 1.0, (1 / 128, 1 / 256))
    assert found.expected == powers + 1
    assert found.slope == pytest.approx(powers + 1, abs=0.1)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4), ("implicit_midpoint", 2)])
def test_the_original_flow_is_followed_to_the_order_of_the_method(name, order):
    found = observed_order(
        modified_flow(runge_kutta(name), field=LOTKA_VOLTERRA, order=0), (1.0, 1.5), 1.0, (1 / 16, 1 / 32)
    )
    assert found.slope == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("name", ["midpoint", "implicit_midpoint"])
def test_the_modified_flow_of_a_runge_kutta_method_is_followed_better(name):
    found = observed_order(
        modified_flow(runge_kutta(name), field=LOTKA_VOLTERRA, order=3), (1.0, 1.5), 1.0, (1 / 16, 1 / 32)
    )
    assert found.slope == pytest.approx(4, abs=0.1)


def test_a_wrong_field_has_a_lower_order():
    right = modified_flow(RULES["heavy ball"], loss=CURVED_LOSS, order=2)
    terms = (*right.terms[:2], tuple(2 * c for c in right.terms[2]))
    wrong = type(right)(right.rule, 2, right.variables, right.original, right.step, terms)
    assert observed_order(wrong, START, 1.0, (1 / 128, 1 / 256)).slope == pytest.approx(2, abs=0.1)


def test_momentum_that_does_not_start_on_its_manifold_is_off_at_first_order():
    """The velocity is 0 instead of g/(1−β): the path is shifted by O(h)."""
    equation, distances = modified_flow(RULES["heavy ball"], loss=CURVED_LOSS, order=2), []
    for h in (1 / 128, 1 / 256):
        end = integrate(equation, START, [1.0], lr=h)[-1]
        distances.append(np.abs(iterate(equation, START, round(1 / h), lr=h)[-1] - end).max())
    assert np.log2(distances[0] / distances[1]) == pytest.approx(1, abs=0.1)


# Known solutions


def test_to_all_orders_the_flow_passes_through_every_iterate():
    quadratic = x**2 - x * y + 2 * y**2
    for rule in (RULES["gradient descent"], RULES["heavy ball"]):
        equation = modified_flow(rule, loss=quadratic, order=sp.oo)
        times = 0.01 * np.arange(20)
        path = integrate(equation, START, times, lr=0.01)
        back = integrate(equation, START, [0.0, 0.01], lr=0.01)
        assert path.shape == (20, 2)
        if rule.momentum == 0:
            assert np.abs(iterate(equation, START, 19, lr=0.01) - path).max() < 1e-12
        else:
            velocity = (path[0] - back[1]) / 0.01  # v_1, with which θ_1 was reached
            assert np.abs(iterate(equation, path[1], 18, velocity=velocity, lr=0.01) - path[1:]).max() < 1e-11


def test_euler_on_a_rotation_spirals_out_at_the_known_rate():
    equation = modified_flow(runge_kutta("euler"), field={x: -y, y: x}, order=sp.oo)
    radius = np.linalg.norm(integrate(equation, (1.0, 0.0), [0.0, 1.0, 2.0], step_size=0.25), axis=1)
    assert np.allclose(radius, (1 + 0.25**2) ** np.array([0.0, 2.0, 4.0]), rtol=1e-11)


@pytest.mark.parametrize("name", RULES)
def test_iterates_are_those_of_the_definition_in_fractions(name):
    rule, lr = RULES[name], Fraction(1, 16)
    equation = modified_flow(rule, loss=CURVED_LOSS, order=0)
    slopes = sp.lambdify((x, y), [CURVED_LOSS.diff(x), CURVED_LOSS.diff(y)], modules=[{}])
    numbers = {
        n: Fraction(int(v.p), int(v.q)) for n in ("momentum", "dampening", "weight_decay") for v in [getattr(rule, n)]
    }
    schedule = [{**numbers, "lr": lr, "dampening": Fraction(0) if n == 0 else numbers["dampening"]} for n in range(6)]
    start = [Fraction(3, 5), Fraction(-2, 7)]
    steps = descend(start, lambda n, theta: slopes(*theta), schedule, nesterov=rule.nesterov)
    exact = [start, *(instant.next_theta for instant in steps)]
    found = iterate(equation, list(map(float, start)), 6, lr=float(lr))
    assert np.abs(found - np.array([[float(c) for c in theta] for theta in exact])).max() < 1e-15


def test_a_run_goes_on_from_its_velocity():
    equation = modified_flow(RULES["heavy ball"], loss=CURVED_LOSS)
    whole = iterate(equation, START, 10, lr=0.1)
    velocity = (whole[3] - whole[4]) / 0.1
    assert np.abs(iterate(equation, whole[4], 6, velocity=velocity, lr=0.1) - whole[4:]).max() < 1e-14


def test_the_modified_loss_falls_along_its_flow_and_the_loss_is_its_equation():
    found = modified_loss(RULES["gradient descent"], loss=CURVED_LOSS)
    path = integrate(found, START, np.linspace(0, 3, 30), lr=0.2)
    height = sp.lambdify((x, y), found.loss.subs({found.equation.step: R(1, 5)}))
    assert (np.diff(height(*path.T)) < 0).all()
    assert np.array_equal(path, integrate(found.equation, START, np.linspace(0, 3, 30), lr=0.2))


@pytest.mark.parametrize("method", ["Radau", "BDF", "LSODA"])
def test_stiff_methods_follow_a_stiff_loss(method):
    equation = modified_flow(RULES["gradient descent"], loss=500 * x**2 + y**2 / 2, order=0)
    end = integrate(equation, (1.0, 1.0), [2.0], method=method, rtol=1e-8, atol=1e-10, lr=1e-4)[-1]
    assert end == pytest.approx([0, np.exp(-2)], abs=1e-6)


def test_symbols_of_the_loss_are_given_by_name():
    a = sp.Symbol("a")
    equation = modified_flow(sgd(momentum=True), loss=a * x**2 / 2, variables=(x,), order=0)
    end = integrate(equation, [1.0], [1.0], a=2.0, lr=0.1, momentum=0.5, weight_decay=1.0)
    assert end[0, 0] == pytest.approx(np.exp(-3 / 0.5))


# Outside the range


def test_a_step_outside_the_range_of_validity_is_warned_of():
    equation = modified_flow(sgd(momentum=True, weight_decay=False), loss=x**2 / 2 + y**2, order=2)  # λ_max = 2
    with pytest.warns(OutsideValidityWarning, match=r"h\*lambda_max = 0.3 is not below 0.25"):
        integrate(equation, START, [0.1], lr=0.15, momentum=0.25)
    assert integrate(equation, START, [0.1], lr=0.12, momentum=0.25).shape == (1, 2)  # warnings are errors here


def test_the_original_flow_is_never_outside():
    equation = modified_flow(sgd(weight_decay=False), loss=x**2 / 2, order=0)
    assert integrate(equation, [1.0], [1.0], lr=5.0)[0, 0] == pytest.approx(np.exp(-1))


def test_where_momentum_oscillates_the_second_order_equation_follows_it():
    """β = 0.9, hλ = 0.1, forty times the limit (1 − √β)². At rest before, it starts at the speed (θ_1 − θ_{−1})/2h."""
    swing = oscillator(sgd(momentum=True, weight_decay=False), loss=x**2 / 2 + x**4 / 10)
    iterates = iterate(swing, [1.0], 60, lr=0.1, momentum=0.9)[:, 0]
    path = integrate(swing, [1.0, (iterates[1] - 1.0) / 0.2], 0.1 * np.arange(61), lr=0.1, momentum=0.9)[:, 0]
    assert iterates.min() < -0.4  # it swings through
    assert np.abs(iterates - path).max() < 0.03
    slow = modified_flow(sgd(momentum=True, weight_decay=False), loss=x**2 / 2 + x**4 / 10, order=0)
    assert np.abs(integrate(slow, [1.0], 0.1 * np.arange(61), lr=0.1, momentum=0.9)[:, 0] - iterates).max() > 0.4


# Refusals

EQUATION = modified_flow(RULES["heavy ball"], loss=CURVED_LOSS)
SYMBOLIC = modified_flow(sgd(momentum=True), loss=x**2 / 2, order=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: integrate(EQUATION, START, [1.0]), r"constants: expected \['lr'\], got \[\]"),
        (lambda: integrate(EQUATION, START, [1.0], lr=0.1, momentum=0.9), r"constants: expected \['lr'\]"),
        (lambda: integrate(EQUATION, START, [1.0], lr=np.nan), "lr: expected finite real numbers"),
        (lambda: integrate(EQUATION, START, [1.0], lr=-0.1), "lr: expected at least 0"),
        (lambda: integrate(SYMBOLIC, [1.0], [1.0], lr=0.1, momentum=1.0, weight_decay=0.0), "momentum: expected at least 0"),
        (lambda: integrate(EQUATION, [1.0], [1.0], lr=0.1), r"start: expected 2 numbers, .* got shape \(1,\)"),
        (lambda: integrate(EQUATION, [1.0, np.inf], [1.0], lr=0.1), "start: expected finite real numbers"),
        (lambda: integrate(EQUATION, ["a", "b"], [1.0], lr=0.1), "start: expected finite real numbers"),
        (lambda: integrate(EQUATION, START, [1.0, 0.5], lr=0.1), "times: expected times from 0 on, not falling"),
        (lambda: integrate(EQUATION, START, [-1.0], lr=0.1), "times: expected times from 0 on"),
        (lambda: integrate(EQUATION, START, [], lr=0.1), "times: expected"),
        (lambda: integrate(EQUATION, START, [1.0], method="Euler", lr=0.1), "method: expected one of"),
        (
            lambda: integrate(modified_flow(sgd(momentum=True)), START, [1.0], lr=0.1),
            "equation: expected one on a concrete field",
        ),
        (lambda: iterate(EQUATION, START, -1, lr=0.1), "steps: expected a number of steps, 0 or more, got -1"),
        (lambda: iterate(EQUATION, START, 2.0, lr=0.1), "steps: expected"),
        (lambda: iterate(EQUATION, START, 2, velocity=[1.0], lr=0.1), "velocity: expected 2 numbers"),
        (lambda: iterate(EQUATION, START, 2, velocity=START, settled=True, lr=0.1), "settled: expected a velocity or"),
        (lambda: iterate(modified_flow(heavy_ball(HALF), field={x: -x}), [1.0], 2, step_size=0.1), "got 'heavy ball'"),
        (lambda: iterate(EQUATION, (1e3, 1e3), 200, lr=1.0), "equation: expected iterates that stay finite"),
        (lambda: observed_order(EQUATION, START, 1.0, [1 / 8]), "step_sizes: expected at least two"),
        (lambda: observed_order(EQUATION, START, 1.0, [1 / 8, 1 / 4]), "step_sizes: expected at least two"),
        (lambda: observed_order(EQUATION, START, 1.0, [0.3, 0.15]), "duration: expected a whole number of steps of 0.3"),
    ],
)
def test_what_cannot_be_followed_is_refused(call, message):
    with pytest.raises(FlowError, match=message):
        call()


def test_where_no_flow_passes_through_the_iterates_it_is_refused():
    descent = modified_flow(RULES["gradient descent"], loss=x**2 / 2, order=sp.oo)
    momentum = modified_flow(RULES["heavy ball"], loss=x**2 / 2, order=sp.oo)
    for equation in (descent, momentum):
        with pytest.raises(FlowError, match="without which no flow has these iterates"):
            integrate(equation, [1.0], [1.0], lr=1.5)


def test_complex_eigenvalues_leave_a_real_flow():
    equation = modified_flow(RULES["heavy ball"], field={x: -x - 2 * y, y: 2 * x - y}, order=sp.oo)
    series = modified_flow(RULES["heavy ball"], field={x: -x - 2 * y, y: 2 * x - y}, order=4)
    exact, near = (integrate(found, START, [1.0], lr=0.001)[0] for found in (equation, series))
    assert np.abs(exact - near).max() < 1e-9


def test_a_flow_that_leaves_the_finite_numbers_is_refused():
    explosive = modified_flow(runge_kutta("euler"), field={y: y**2}, order=0)
    with pytest.raises(FlowError, match="equation: expected a flow that exists until t = 2"):
        integrate(explosive, [1.0], [2.0], step_size=0.1)


def test_a_slope_out_of_rounding_errors_is_refused():
    still = modified_flow(runge_kutta("rk4"), field={y: sp.Integer(1)}, order=0)
    with pytest.raises(FlowError, match="step_sizes: expected errors above rounding"):
        observed_order(still, [0.0], 1.0, [1 / 8, 1 / 16])
    fixed = modified_flow(sgd(lr=R(1, 10), weight_decay=False), loss=x**2)
    with pytest.raises(FlowError, match="equation: expected a rule with a symbol for lr"):
        observed_order(fixed, [1.0], 1.0, [1 / 8, 1 / 16])


def test_slopes_are_those_of_a_power_law():
    found = ObservedOrder(3, (0.4, 0.2, 0.1), (64.0, 8.0, 1.0))
    assert found.slopes == pytest.approx([3, 3])
    assert found.slope == pytest.approx(3)
