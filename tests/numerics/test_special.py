"""The entire functions in float64, against fifty digits of mpmath, in every regime and as close to critical as floats go."""

import math

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from derive import special_functions as symbolic
from numerics.special import damped_cosh, damped_sinhc

EPS = np.finfo(float).eps
TINY = 1e-290
"""Below this, digits are lost to underflow, as they may be."""


def grid():
    """(a, b): log-spaced, b = 0, b = a, and |a − b|/a down to 1e-16."""
    sizes = np.logspace(-8, 5, 14)
    pairs = [(a, b) for a in sizes for b in (0.0, a, *np.logspace(-8, 5, 8))]
    pairs += [(a, a * (1 + sign * 10.0**-k)) for a in sizes for sign in (1, -1) for k in range(17)]
    return np.array(pairs).T


GRID = grid()


def fifty_digits(a, b):
    """(C, S, size of the rounding in C and in S that a rounding of a and b alone makes)."""
    with mpmath.workdps(50):
        a, b = mpmath.mpf(float(a)), mpmath.mpf(float(b))
        z = a * a - b * b
        root, decay = mpmath.sqrt(z), mpmath.exp(-a)
        c = mpmath.re(decay * mpmath.cosh(root))
        s = mpmath.re(decay * (mpmath.sinh(root) / root if z else 1))
        slope = (c - s) / z if z else decay / 3
        condition_c = abs(c) + abs(a * (a * s - c)) + abs(b * b * s)
        condition_s = abs(s) + abs(a * (a * slope - s)) + abs(b * b * slope)
        return c, s, condition_c, condition_s


EXACT = [fifty_digits(a, b) for a, b in GRID.T]


def worst(values, which):
    """Largest error, in units of eps times the conditioning at that point."""
    errors = [
        float(abs(mpmath.mpf(float(value)) - exact[which]) / (exact[which + 2] * EPS + TINY))
        if math.isfinite(value)
        else math.inf
        for value, exact in zip(values, EXACT, strict=True)
    ]
    return max(errors)


FUNCTIONS = [(damped_cosh, 0), (damped_sinhc, 1)]


@pytest.mark.parametrize(("function", "which"), FUNCTIONS)
def test_the_error_is_that_of_rounding_the_arguments_in_every_regime(function, which):
    assert worst(function(*GRID), which) < 4


def test_the_textbook_formula_does_not_pass_the_same_test():
    with np.errstate(all="ignore"):
        root = np.sqrt(GRID[0] ** 2 - GRID[1] ** 2 + 0j)
        textbook = (np.exp(-GRID[0]) * np.cosh(root)).real
    assert worst(textbook, 0) > 1e3


def test_a_small_relative_error_does_not_pass_either():
    assert worst(damped_cosh(*GRID) * (1 + 20 * EPS), 0) > 4


@pytest.mark.parametrize("a", [1.0, 1e2, 1e5])
def test_slow_decay_keeps_its_digits(a):
    b = 1e-3
    expected = fifty_digits(a, b)[0]
    assert float(damped_cosh(np.array(a), np.array(b))) == pytest.approx(float(expected), rel=4 * EPS)


@pytest.mark.parametrize("a", np.logspace(-8, 2, 11))
def test_at_critical_damping_both_are_the_exponential(a):
    a = np.array(a)
    assert float(damped_cosh(a, a)) == pytest.approx(math.exp(-a), rel=2 * EPS)
    assert float(damped_sinhc(a, a)) == pytest.approx(math.exp(-a), rel=2 * EPS)


@pytest.mark.parametrize("b", [0.0, 1e-9, 0.5, 1.0, 3.0, 1e4])
def test_without_damping_they_are_cosine_and_sinc(b):
    assert float(damped_cosh(np.array(0.0), np.array(b))) == pytest.approx(math.cos(b), abs=EPS)
    assert float(damped_sinhc(np.array(0.0), np.array(b))) == pytest.approx(math.sin(b) / b if b else 1.0, abs=EPS)


@pytest.mark.parametrize(("numeric", "twin"), [(damped_cosh, symbolic.damped_cosh), (damped_sinhc, symbolic.damped_sinhc)])
def test_the_symbolic_twin_has_the_same_values(numeric, twin):
    for a, b in [(2.0, 1.0), (1.0, 1.0), (0.75, 3.5), (1.0, 1.0 + 2**-50)]:
        exact = float(twin(sp.Rational(a), sp.Rational(b)).evalf(30))
        assert float(numeric(np.array(a), np.array(b))) == pytest.approx(exact, rel=8 * EPS)


# Any arguments

sizes = st.one_of(st.just(0.0), st.floats(1e-12, 1e5), st.floats(0, 2))
pairs = st.one_of(
    st.tuples(sizes, sizes),
    sizes.map(lambda a: (a, a)),
    st.tuples(sizes, st.floats(-1e-6, 1e-6)).map(lambda pair: (pair[0], pair[0] * (1 + pair[1]))),
    sizes.map(lambda a: (a, math.sqrt(a * a + 1))),
)


@given(pairs)
def test_nothing_overflows_nothing_is_nan_and_nothing_warns(pair):
    a, b = map(np.array, pair)
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        c, s = damped_cosh(a, b), damped_sinhc(a, b)
    assert abs(c) <= 1 + EPS
    assert abs(s) <= 1 + EPS


@given(pairs)
def test_the_sign_of_the_stiffness_does_not_matter(pair):
    a, b = map(np.array, pair)
    assert damped_cosh(a, -b) == damped_cosh(a, b)
    assert damped_sinhc(a, -b) == damped_sinhc(a, b)


@given(st.floats(0, 30), st.floats(0, 30), st.floats(0, 3), st.floats(0, 3))
def test_two_steps_in_time_are_one(gamma, omega, first, second):
    """The propagator of x'' + 2γx' + ω²x = 0 is a group: Φ(s + t) = Φ(s)Φ(t)."""

    def propagator(t):
        c, s = damped_cosh(gamma * t, omega * t), t * damped_sinhc(gamma * t, omega * t)
        return np.array([[c + gamma * s, s], [-(omega**2) * s, c - gamma * s]])

    size = 1 + gamma + omega**2
    assert np.allclose(propagator(first + second), propagator(first) @ propagator(second), rtol=0, atol=1e-13 * size**2)


# Arrays


def test_arguments_broadcast_and_the_type_is_that_of_the_first():
    a, b = np.linspace(0, 3, 5)[:, None], np.linspace(0, 3, 4)
    assert damped_cosh(a, b).shape == damped_sinhc(a, b).shape == (5, 4)
    assert damped_cosh(a, b)[2, 1] == damped_cosh(a[2, 0], b[1])
    assert damped_cosh(a.astype(np.float32), b).dtype == np.float32


def test_single_precision_is_good_to_its_digits():
    a, b = (x[(GRID[0] < 20) & (GRID[1] < 20)].astype(np.float32) for x in GRID)
    double = [f(a.astype(float), b.astype(float)) for f, _ in FUNCTIONS]
    for (function, _), exact in zip(FUNCTIONS, double, strict=True):
        assert np.max(np.abs(function(a, b) - exact)) < 40 * np.finfo(np.float32).eps


@pytest.mark.parametrize(("a", "b"), [(1, 2), (2, 1.5), (1.0, np.array([1, 2]))])
def test_integers_are_numbers_too(a, b):
    assert np.allclose(damped_cosh(a, b), damped_cosh(np.asarray(a, float), np.asarray(b, float)), rtol=EPS)
