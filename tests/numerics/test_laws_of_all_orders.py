"""Kernels and steps of laws beyond first order, against the steps of the rule and mpmath."""

import mpmath
import numpy as np
import pytest
import sympy as sp

from derive import discrete_law, law, scale, sgd, solve, translation
from derive.special_functions import squared_arccosh1p as symbolic
from numerics import PropagationError, compile_kernel, propagate
from numerics.special import squared_arccosh1p

STEPS = np.arange(4001)
HYPER = {"lr": 0.1, "momentum": 0.99, "weight_decay": 5e-3}
VARIANTS = {"momentum": {}, "dampening": {"dampening": True}, "nesterov": {"nesterov": True}}


def values(variant):
    return HYPER | ({"dampening": 0.3} if variant == "dampening" else {})


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_kernel_of_all_orders_meets_every_one_of_4000_steps(variant):
    rule, hyper = sgd(momentum=True, **VARIANTS[variant]), values(variant)
    h = hyper["lr"] * (1 - hyper.get("dampening", 0))
    steps = propagate(discrete_law(translation(), rule), np.array([1.0]), {}, steps=4000, **hyper)[:, 0]
    exact = compile_kernel(solve(law(translation(), rule, sp.oo), start="first step"))
    paper = compile_kernel(solve(law(translation(), rule)))
    assert np.abs(exact(h * STEPS, initial_charge=1.0, **hyper) - steps).max() < 1e-13
    assert np.abs(paper(h * STEPS, initial_charge=1.0, **hyper) - steps).max() > 2e-3


def test_the_kernel_of_plain_sgd_to_all_orders_is_the_power_of_the_steps():
    exact = compile_kernel(solve(law(translation(), sgd(), sp.oo)))
    found = exact(0.5 * STEPS[:200], initial_charge=1.0, lr=0.5, weight_decay=0.1)
    np.testing.assert_allclose(found, 0.95 ** STEPS[:200], rtol=1e-13)


def test_the_law_of_all_orders_is_stepped_as_the_rule_steps():
    rule = sgd(momentum=True)
    solution = solve(law(translation(), rule, sp.oo), start="first step")
    numbers = {"eta": "1/10", "beta": "99/100", "lambda": "5/1000", "Q_0": 1}
    rate = solution.initial_rate.subs(dict(solution.rates))
    rate = float(rate.subs({x: sp.Rational(numbers[x.name]) for x in rate.free_symbols}).evalf(30))
    found = propagate(solution.law, np.array([[1.0], [rate]]), {}, step_size=0.1, steps=4000, **HYPER)
    steps = propagate(discrete_law(translation(), rule), np.array([1.0]), {}, steps=4000, **HYPER)
    np.testing.assert_allclose(found, steps, atol=1e-13)


def test_without_weight_decay_the_charge_of_all_orders_stays():
    found = propagate(law(translation(), sgd(momentum=True), sp.oo), np.ones(1), {}, step_size=0.1, steps=1000,
                      lr=0.1, momentum=0.9, weight_decay=0.0)  # fmt: skip
    np.testing.assert_allclose(found, 1, rtol=1e-12)


GRID = [-1.999, -1.5, -0.3, -0.25, -0.2, -1e-3, -1e-9, 1e-12, 1e-3, 0.2, 0.25, 0.3, 3.0, 1e5]


def test_the_squared_arccosh_is_right_on_both_sides_of_its_series():
    with mpmath.workdps(60):
        expected = [float(mpmath.re(mpmath.acosh(1 + mpmath.mpf(x)) ** 2)) for x in GRID]
    np.testing.assert_allclose(squared_arccosh1p(np.array(GRID)), expected, rtol=2e-14)
    assert squared_arccosh1p(np.array(0.0)) == 0
    assert [float(symbolic(sp.Rational(x)).evalf(20)) for x in GRID] == pytest.approx(expected, rel=1e-14)


def test_the_symbolic_derivative_is_that_of_the_function():
    x = sp.Symbol("x")
    for point in (sp.Rational(-1, 2), sp.Rational(1, 3), sp.Integer(4)):
        slope = symbolic(x).diff(x).subs(x, point).evalf(30)
        step = sp.Rational(1, 10**8)
        quotient = (symbolic(point + step).evalf(40) - symbolic(point - step).evalf(40)) / (2 * step)
        assert abs(sp.re(slope) - quotient) < 1e-12


@pytest.mark.parametrize("x", [-2.0, -3.0, np.nan, np.inf])
def test_steps_that_alternate_in_sign_have_no_flow(x):
    with pytest.raises(ValueError, match="expected a finite number above -2"):
        squared_arccosh1p(np.array([0.0, x]))


def test_a_law_that_samples_cannot_drive_is_refused():
    hyper = {"lr": 0.1, "weight_decay": 0.01}
    with pytest.raises(ValueError, match="expected a drive without derivatives"):
        propagate(law(scale(), sgd(), sp.oo), np.ones(1), {"gradient": np.ones((3, 1))}, step_size=0.1, **hyper)
    with pytest.raises(PropagationError, match="expected at most Q''"):
        propagate(law(translation(), sgd(momentum=True), 2), np.ones(1), {}, step_size=0.1, steps=3, momentum=0.9, **hyper)
