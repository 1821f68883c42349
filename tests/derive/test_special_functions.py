"""The symbolic entire functions, against mpmath, at random rationals and through critical damping."""

from itertools import islice

import mpmath
import pytest
import sympy as sp

from derive.equality import random_rationals, vanishes
from derive.special_functions import damped_cosh, damped_sinhc

a, b = sp.symbols("a b", positive=True)
gamma, omega, t = sp.symbols("gamma omega t", positive=True)
DIGITS = 30
TINY = sp.Rational(1, 10**30)

POINTS = [(3 * p[a], 3 * p[b]) for p in islice(random_rationals([a, b], seed=5), 8)]
CRITICAL = (sp.Rational(2, 7), sp.Rational(2, 7))
POINTS += [CRITICAL, (1 + TINY, sp.S.One), (sp.S.One, 1 + TINY), (sp.Rational(7, 5), sp.S.Zero)]


def cosh(p, q):
    """e^{−p} cosh√(p²−q²) from its power series in z = p² − q², which knows no regime."""
    return mpmath.exp(-p) * mpmath.nsum(lambda k: (p * p - q * q) ** int(k) / mpmath.fac(2 * k), [0, 60])


def sinhc(p, q):
    return mpmath.exp(-p) * mpmath.nsum(lambda k: (p * p - q * q) ** int(k) / mpmath.fac(2 * k + 1), [0, 60])


TWINS = [(damped_cosh, cosh), (damped_sinhc, sinhc)]


def close(got, expected, digits=DIGITS):
    with mpmath.workdps(60):
        return abs(got._to_mpmath(200) - expected) <= mpmath.mpf(10) ** -digits * (1 + abs(expected))


@pytest.mark.parametrize(("symbolic", "series"), TWINS)
@pytest.mark.parametrize("point", POINTS)
def test_the_value_is_that_of_the_power_series_to_thirty_digits(symbolic, series, point):
    with mpmath.workdps(60):
        p, q = (mpmath.mpf(v.p) / v.q for v in point)
        assert close(symbolic(*point).evalf(DIGITS + 5), series(p, q))
        assert not close(symbolic(*point).evalf(DIGITS + 5) * (1 + sp.Float("1e-28", 50)), series(p, q))


@pytest.mark.parametrize(("symbolic", "series"), TWINS)
@pytest.mark.parametrize("argument", [0, 1])
@pytest.mark.parametrize("point", [p for p in POINTS if p[0] != p[1]])
def test_the_derivative_is_the_difference_quotient(symbolic, series, argument, point):
    derivative = symbolic(a, b).diff((a, b)[argument]).subs({a: point[0], b: point[1]})
    with mpmath.workdps(80):
        order = tuple(int(k == argument) for k in range(2))
        expected = mpmath.diff(series, tuple(mpmath.mpf(v.p) / v.q for v in point), order)
    assert close(derivative.evalf(DIGITS + 5), expected, digits=20)


def test_the_derivative_is_continuous_through_critical_damping():
    near = {a: 1, b: 1 + sp.Rational(1, 10**12)}
    limits = {a: 1 / sp.E / 3 - 1 / sp.E, b: -1 / sp.E / 3}  # (C − S)/z -> e^{−a}/3 as z -> 0
    for variable, limit in limits.items():
        assert abs((damped_sinhc(a, b).diff(variable).subs(near) - limit).evalf(DIGITS)) < 1e-11


def test_at_critical_damping_only_the_removable_quotient_is_left_undefined():
    assert damped_cosh(a, b).diff(a).subs(b, a) == a * sp.exp(-a) - sp.exp(-a)
    assert damped_sinhc(a, b).diff(a).subs(b, a) is sp.nan


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (damped_cosh(a, a), sp.exp(-a)),
        (damped_sinhc(a, a), sp.exp(-a)),
        (damped_cosh(0, b), sp.cos(b)),
        (damped_sinhc(0, b), sp.sin(b) / b),
        (damped_cosh(a, -b), damped_cosh(a, b)),
        (damped_sinhc(a, -b), damped_sinhc(a, b)),
        (damped_cosh(0, 0), 1),
        (damped_sinhc(0, 0), 1),
    ],
)
def test_exact_values(value, expected):
    assert value == expected


@pytest.mark.parametrize("function", [damped_cosh, damped_sinhc])
def test_the_exponential_form_is_the_same_function(function):
    for point in ((2, 1), (1, 2)):
        value = function(a, b).rewrite(sp.exp).subs({a: point[0], b: point[1]})
        assert abs((value - function(*point)).evalf(DIGITS)) < 1e-25
    assert sp.expand(damped_sinhc(a, 0).rewrite(sp.exp) - (1 - sp.exp(-2 * a)) / (2 * a)) == 0


@pytest.mark.parametrize(
    ("x", "solves"),
    [
        (damped_cosh(gamma * t, omega * t), True),
        (t * damped_sinhc(gamma * t, omega * t), True),
        (damped_sinhc(gamma * t, omega * t), False),
        (damped_cosh(omega * t, gamma * t), False),
    ],
)
def test_the_fundamental_solutions_solve_the_oscillator_and_others_do_not(x, solves):
    assert vanishes(x.diff(t, 2) + 2 * gamma * x.diff(t) + omega**2 * x) is solves


def test_real_arguments_give_a_real_value_and_unknown_ones_none():
    free = sp.Symbol("w")
    assert damped_cosh(a, b).is_real is damped_sinhc(a, b).is_real is True
    assert damped_cosh(free, b).is_real is damped_sinhc(free, b).is_real is None


def test_a_symbolic_argument_is_not_evaluated():
    assert damped_cosh(a, sp.Rational(1, 2)).evalf().has(a)


def test_a_complex_argument_gives_the_complex_value():
    value = damped_cosh(sp.I, 2).evalf(DIGITS)
    assert abs(value - (sp.exp(-sp.I) * sp.cosh(sp.sqrt(-5))).evalf(DIGITS)) < 1e-20


@pytest.mark.parametrize("function", [damped_cosh, damped_sinhc])
def test_latex_takes_the_common_factor_out_of_the_root(function):
    name = {damped_cosh: r"\cosh", damped_sinhc: r"\sinh"}[function]
    text = sp.latex(function(gamma * t, omega * t))
    assert name in text
    assert r"t \sqrt{\gamma^{2} - \omega^{2}}" in text
    assert sp.latex(function(gamma, omega) ** 2).endswith("^{2}")
