"""Modified equations of difference schemes: published coefficients, and the logarithm of the amplification factor."""

from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from random import Random

import mpmath
import pytest
import sympy as sp

from derive.derivation import DerivationError, Step
from derive.formal_series import divide, exponential
from derive.pde_scheme import SchemeError, dt, dx, finite_difference, modified_pde
from derive.schemes import SCHEMES, diffusivity, leapfrog, nu, r, speed, upwind

a, d = speed, diffusivity
ADVECTION = ("upwind", "lax-friedrichs", "lax-wendroff", "beam-warming", "leapfrog")


@cache
def modified(name, order=12):
    return modified_pde(SCHEMES[name](), order)


def same(got, expected):
    return sp.cancel(got - expected) == 0


# Known answers

KNOWN = {  # name -> derivative -> coefficient
    "upwind": {  # Warming & Hyett 1974
        1: -a,
        2: a * dx / 2 * (1 - nu),
        3: -a * dx**2 / 6 * (1 - nu) * (1 - 2 * nu),
        4: a * dx**3 / 24 * (1 - nu) * (6 * nu**2 - 6 * nu + 1),
    },
    "lax-friedrichs": {1: -a, 2: a * dx / (2 * nu) * (1 - nu**2), 3: a * dx**2 / 3 * (1 - nu**2)},
    "lax-wendroff": {
        1: -a,
        2: 0,
        3: -a * dx**2 / 6 * (1 - nu**2),
        4: -a * dx**3 / 8 * nu * (1 - nu**2),
    },  # Warming & Hyett 1974
    "beam-warming": {1: -a, 2: 0, 3: a * dx**2 / 6 * (1 - nu) * (2 - nu)},
    "leapfrog": {1: -a, 2: 0, 3: -a * dx**2 / 6 * (1 - nu**2), 4: 0},
    "ftcs": {1: 0, 2: d, 3: 0, 4: d * dx**2 / 12 * (1 - 6 * r), 6: d * dx**4 / 360 * (1 - 30 * r + 120 * r**2)},
    "btcs": {1: 0, 2: d, 3: 0, 4: d * dx**2 / 12 * (1 + 6 * r), 6: d * dx**4 / 360 * (1 + 30 * r + 120 * r**2)},
    "crank-nicolson": {1: 0, 2: d, 3: 0, 4: d * dx**2 / 12},
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_coefficients_are_those_on_paper(name):
    found = modified(name)
    assert [k for k, c in KNOWN[name].items() if not same(found.coefficients[k - 1], c)] == []


def test_the_table_of_coefficients_tells_the_schemes_apart():
    fitting = {
        (m, n) for m in KNOWN for n in KNOWN if all(same(modified(m).coefficients[k - 1], c) for k, c in KNOWN[n].items())
    }
    assert fitting == {(n, n) for n in KNOWN}


LEADING = {"upwind": (1, 2), "lax-friedrichs": (1, 2), "lax-wendroff": (2, 3), "beam-warming": (2, 3), "leapfrog": (2, 3),
           "ftcs": (2, 4), "btcs": (2, 4), "crank-nicolson": (2, 4)}  # fmt: skip


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_of_order_p_has_its_first_error_at_the_derivative_where_it_is_known(name):
    accuracy, derivative = LEADING[name]
    assert (modified(name).accuracy, modified(name).leading_error[0]) == (accuracy, derivative)
    assert all(modified(name).coefficients[k - 1] == dict(SCHEMES[name]().equation).get(k, 0) for k in range(1, derivative))


@pytest.mark.parametrize("name", SCHEMES)
def test_derivatives_of_the_wrong_parity_are_absent_exactly_where_a_symmetry_forbids_them(name):
    absent = {k for k, c in enumerate(modified(name).coefficients, start=1) if c == 0}
    by_reflection = set(range(1, 13, 2)) if name not in ADVECTION else set()
    without_dissipation = set(range(2, 13, 2)) if name == "leapfrog" else set()
    second_order = {2} if name in ("lax-wendroff", "beam-warming") else set()
    assert absent == by_reflection | without_dissipation | second_order


@pytest.mark.parametrize("name", ADVECTION)
def test_an_advection_scheme_at_courant_number_one_is_the_exact_shift(name):
    exact = modified_pde(SCHEMES[name](courant=1), 12)
    assert exact.coefficients == (-a,) + (0,) * 11
    assert exact.accuracy is None


def test_a_courant_number_other_than_one_is_not():
    assert modified_pde(upwind(courant=sp.Rational(1, 2)), 4).accuracy == 1


# The logarithm of the amplification factor, in numbers

NUMBERS = {a: sp.Rational(3, 2), d: sp.Rational(2, 3), nu: sp.Rational(2, 7), r: sp.Rational(3, 11)}
DRAW = Random(20)
PHASES = [Fraction(DRAW.randint(40, 90), 1000) for _ in range(3)]


def amplification(scheme, phase):
    """The root g near 1 of Σ A gⁿ e^{ijξ}, from its polynomial in 60 digits: no series in it."""
    lowest = min(scheme.levels)
    terms = [mpmath.mpc(0)] * (2 - lowest)
    for (n, j), c in scheme.stencil:
        value = c.subs(NUMBERS)
        terms[1 - n] += mpmath.mpf(value.p) / value.q * mpmath.expj(j * phase)
    return min(mpmath.polyroots(terms, maxsteps=200, extraprec=400), key=lambda g: abs(g - 1))


def rate_error(found, phase):
    """|log g / dt − Σ c_k (ik)^k| at dx = 1, k = phase."""
    numbers = NUMBERS | {dx: 1}
    coefficients = [c.subs(numbers) for c in found.coefficients]
    rate = sum(mpmath.mpf(c.p) / c.q * (1j * phase) ** k for k, c in enumerate(coefficients, start=1))
    step = found.scheme.time_step.subs(numbers)
    return abs(mpmath.log(amplification(found.scheme, phase)) * step.q / step.p - rate)


def observed_order(found, phase):
    with mpmath.workdps(60):
        phase = mpmath.mpf(phase.numerator) / phase.denominator / 16
        return float(mpmath.log(rate_error(found, phase) / rate_error(found, phase / 2), 2))


@pytest.mark.parametrize("order", [4, 7, 12])
@pytest.mark.parametrize("name", SCHEMES)
def test_the_series_follows_the_amplification_factor_up_to_the_derivative_kept_and_no_further(name, order):
    step_up = next(k for k in range(order + 1, order + 3) if modified(name, 14).coefficients[k - 1] != 0)
    for phase in PHASES:
        assert observed_order(modified(name, order), phase) == pytest.approx(step_up, abs=0.05)


def test_a_wrong_coefficient_would_be_seen():
    right = modified("upwind", 6)
    wrong = replace(right, coefficients=(*right.coefficients[:4], 2 * right.coefficients[4], right.coefficients[5]))
    assert observed_order(wrong, PHASES[0]) == pytest.approx(5, abs=0.05)


def test_the_scheme_on_a_grid_follows_its_modified_equation():
    """Exact run of upwind on a periodic wave, against e^{st} with the truncated s."""
    found, steps, phase = modified("upwind"), 50, mpmath.mpf(1) / 5
    number = mpmath.mpf(2) / 7
    offsets = range(steps + 1)
    wave = [mpmath.expj(-j * phase) for j in offsets]
    for _ in range(steps):
        wave = [here - number * (here - left) for here, left in pairwise(wave)]
    k, unit = sp.Symbol("k", real=True), {dx: 1, a: 1, nu: sp.Rational(2, 7)}
    rate = complex(found.rate(k).subs(unit).subs(k, sp.Rational(1, 5)))
    assert abs(wave[0] - mpmath.exp(rate * steps * number)) < 1e-10
    coarse = complex(modified("upwind", 2).rate(k).subs(unit).subs(k, sp.Rational(1, 5)))
    assert abs(wave[0] - mpmath.exp(coarse * steps * number)) > 1e-4


# Other writings


def test_steps_instead_of_a_mesh_number_say_the_same():
    stencil = {(1, 0): 1, (0, 0): a * dt / dx - 1, (0, -1): -a * dt / dx}
    own = modified_pde(finite_difference("upwind in steps", stencil, dt, {1: -a}), 6)
    assert own.accuracy == 1
    assert [same(x, y) for x, y in zip(own.coefficients, modified("upwind", 6).in_steps(), strict=True)] == [True] * 6


def test_two_terms_in_the_equation_are_covered():
    """Central advection–diffusion, explicit: the Euler step takes a²dt/2 from the diffusion (Hirt 1968)."""
    c, s = a * dt / dx, d * dt / dx**2
    stencil = {(1, 0): 1, (0, 0): 2 * s - 1, (0, 1): c / 2 - s, (0, -1): -c / 2 - s}
    found = modified_pde(finite_difference("FTCS advection–diffusion", stencil, dt, {1: -a, 2: d}), 4)
    assert same(found.coefficients[1], d - a**2 * dt / 2)
    assert found.accuracy == 2


def test_du_fort_frankel_has_the_term_that_makes_it_hyperbolic():
    """Strikwerda 2004, section 6.3: the error d(dt/dx)² u_tt is here d³(dt/dx)² u_xxxx."""
    stencil = {(1, 0): 1 + 2 * r, (-1, 0): 2 * r - 1, (0, 1): -2 * r, (0, -1): -2 * r}
    found = modified_pde(finite_difference("Du Fort–Frankel", stencil, r * dx**2 / d, {2: d}), 4)
    assert same(found.coefficients[3], d * dx**2 / 12 - d * r**2 * dx**2)


def test_the_equation_is_a_sympy_equation_of_u():
    left, right = modified("ftcs", 4).equation.args
    wave, k, s = sp.symbols("x t", real=True), sp.Symbol("k", real=True), sp.Symbol("s")
    u = left.expr
    trial = sp.exp(sp.I * k * wave[0] + s * wave[1])
    got = ((left - right).subs(u, trial).doit() / trial).expand()
    assert sp.expand(got - s + modified("ftcs", 4).rate(k)) == 0


@pytest.mark.parametrize("name", SCHEMES)
def test_every_coefficient_has_a_checked_step(name):
    derivation = modified(name, 5).derivation
    assert [step.rule for step in derivation.all_steps[:-1]] == [f"match the derivative of order {k}" for k in range(1, 6)]
    assert all(isinstance(step, Step) for step in derivation.all_steps)
    assert derivation.steps[-1].after == modified(name, 5).equation.rhs
    assert modified(name, 5)._repr_latex_().startswith("$")
    assert SCHEMES[name]()._repr_latex_().endswith("= 0$")


def test_the_steps_refuse_a_wrong_coefficient():
    right = modified("leapfrog", 3)
    with pytest.raises(DerivationError, match="match the derivative of order 3"):
        _ = replace(right, coefficients=(*right.coefficients[:2], -right.coefficients[2])).derivation


# Refusals

UPWIND = {(1, 0): 1, (0, 0): nu - 1, (0, -1): -nu}
STEP = nu * dx / a


@pytest.mark.parametrize(
    ("stencil", "step", "equation", "message"),
    [
        ({(1, 0): 1, (0, 0): nu - 1}, STEP, {1: -a}, r"expected coefficients with sum 0.*g\(0\) = 1.*got nu"),
        ({(0, 0): 1, (0, -1): -1}, STEP, {1: -a}, r"expected a new time level 1 .* got levels \(0,\)"),
        ({(0, 0): 1, (-1, 0): -1}, STEP, {1: -a}, r"expected a new time level 1 .* got levels \(-1, 0\)"),
        ({(1, 0): 1, (1, -1): -1}, STEP, {1: -a}, r"a known level below"),
        ({(1, 0): 0, (0, 0): 1, (0, -1): -1}, STEP, {1: -a}, r"expected a new time level 1"),
        ({}, STEP, {1: -a}, r"expected a new time level 1"),
        ({(1, 0): 1, (0, 0): -2, (-1, 0): 1}, STEP, {1: -a}, r"expected g = 1 to be a simple root"),
        (UPWIND, STEP, {1: a}, r"equation .* expected coefficient a of the derivative of order 1, the stencil gives -a"),
        (UPWIND, STEP, {1: -a, 2: d}, r"expected coefficient d of the derivative of order 2"),
        (UPWIND, 2 * STEP, {1: -a}, r"the stencil gives -a/2; correct the stencil, time_step or equation"),
        (UPWIND, STEP, {0: 1, 1: -a}, r"expected k -> a_k with derivatives k >= 1"),
        (UPWIND, STEP, {}, r"expected k -> a_k with derivatives k >= 1"),
        (UPWIND, 0, {1: -a}, r"time_step of 'mine': expected a positive step, got 0"),
        (UPWIND, sp.sqrt(dx), {1: -a}, r"time_step: expected a rational function with rational numbers, got sqrt\(dx\)"),
        ({(1, 0): 1, (0, 0): -0.5, (0, -1): -0.5}, STEP, {1: -a}, r"stencil: expected exact numbers, got -0.5"),
        ([1, 2], STEP, {1: -a}, r"stencil: expected a mapping of integers to coefficients, got \[1, 2\]"),
        ({(1, 0.5): 1, (0, 0): -1}, STEP, {1: -a}, r"stencil: expected integers .* got \(1, 0.5\)"),
        (UPWIND, STEP, {"x": -a}, r"equation: expected integers .* got 'x'"),
    ],
)
def test_what_is_no_scheme_for_the_equation_is_refused(stencil, step, equation, message):
    with pytest.raises(SchemeError, match=message):
        finite_difference("mine", stencil, step, equation)


def test_the_lax_friedrichs_scheme_is_refused_where_it_diffuses_in_the_limit():
    """With dt ~ dx² held the diffusion dx²/(2dt) stays: conditional consistency (Strikwerda 2004, section 1.4)."""
    c = a * dt / dx
    stencil = {(1, 0): 1, (0, 1): (c - 1) / 2, (0, -1): -(c + 1) / 2}
    with pytest.raises(SchemeError, match="expected coefficient d of the derivative of order 2"):
        finite_difference("Lax–Friedrichs", stencil, dt, {1: -a, 2: d})
    assert modified_pde(finite_difference("Lax–Friedrichs", stencil, dt, {1: -a}), 3).accuracy == 1


@pytest.mark.parametrize(
    ("name", "order"), [("upwind", 0), ("upwind", -1), ("ftcs", 1), ("upwind", 2.0), ("upwind", True), ("upwind", "3")]
)
def test_an_order_below_the_equation_is_refused(name, order):
    with pytest.raises(SchemeError, match=f"order: expected an integer >= {SCHEMES[name]().equation_order}.*got {order!r}"):
        modified_pde(SCHEMES[name](), order)


def test_a_scheme_is_a_value():
    assert leapfrog() == leapfrog()
    assert hash(leapfrog()) == hash(leapfrog())
    assert upwind() != upwind(courant=1)


def test_series_without_an_inverse_or_exponential_are_refused():
    with pytest.raises(ZeroDivisionError, match=r"expected a series with b\(0\) != 0"):
        divide([Fraction(1)], [Fraction(0)])
    with pytest.raises(ValueError, match=r"expected a series with a\(0\) = 0"):
        exponential([Fraction(1), Fraction(1)])
