"""One step of a law in closed form, against fifty digits of the matrix exponential, from slack to stiff."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from derive import scale, sgd
from derive.law import law
from numerics import PropagationError, propagate
from numerics.step_matrices import oscillator_propagator, response_integrals
from tests.derive.known_systems import derived

EPS = np.finfo(float).eps
SIZES = (0.0, 1e-6, 1e-3, 0.05, 0.5, 2.0, 50.0, 1e3, 1e6)
POINTS = [(a, b) for a in SIZES for b in (0.0, 1e-6, 1e-3, 0.1, 1.0, a, a * (1 + 1e-9), a * (1 + 1e-15), 30.0, 1e3)]
"""(γh, ωh): slack to stiff, critical, and within 1e-15 of it."""


def exponential(a, b):
    """First two rows of exp of [[0, 1, 0, 0], [−b², −2a, 1, 0], [0, 0, 0, 1], 0]: Φ, and the responses to 1 and to t."""
    with mpmath.workdps(80):
        a, b = mpmath.mpf(a), mpmath.mpf(b)
        generator = mpmath.matrix([[0, 1, 0, 0], [-(b**2), -2 * a, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
        halvings = max(0, int(mpmath.log(max(1, 2 * a, b**2), 2))) + 4
        power = term = mpmath.eye(4)
        for k in range(1, 40):
            term = term * generator / mpmath.mpf(2) ** halvings / k
            power += term
        for _ in range(halvings):
            power = power * power
        return np.array(power[:2, :].tolist(), dtype=float)


def closed_form(a, b):
    flow = oscillator_propagator(*map(np.array, (a, b * b, 1.0)))
    once, twice = response_integrals(np.array(a), np.array(b * b))
    return np.array([[*flow[0], once, twice], [*flow[1], flow[0, 1], once]])


EXACT = {point: exponential(*point) for point in dict.fromkeys(POINTS)}


def test_every_entry_has_its_digits_however_stiff_where_nothing_swings():
    """Over-damped and critical: each entry by itself, within a few roundings and those of the exponent."""
    for (a, b), exact in EXACT.items():
        if b <= a:
            error = np.abs(closed_form(a, b) - exact)
            slow = b * b / (a + np.sqrt(a * a - b * b)) if a else 0.0
            assert (error <= (8 + 4 * min(slow, 700)) * EPS * np.abs(exact) + 1e-300).all() or a == b, (a, b)


def test_where_it_swings_the_error_is_that_of_the_phase():
    """Relative to the row, whose entries are amplitudes of one oscillation, and to the phase in units of rounding."""
    for (a, b), exact in EXACT.items():
        error = np.abs(closed_form(a, b) - exact).max(axis=1)
        envelope = np.exp(-min(a, 700)) * np.array([1, max(1, b)]) + np.abs(exact).max(axis=1)
        assert (error <= (8 + 4 * (b + min(a, 700))) * EPS * envelope).all(), (a, b)


def test_the_matrix_exponential_of_scipy_does_not_pass_where_it_is_stiff():
    from scipy.linalg import expm

    stiff = expm(np.array([[0, 1, 0, 0], [-1.0, -2e6, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]))[:2]
    assert np.abs(stiff / EXACT[1e6, 1.0] - 1).max() > 1e-12


@given(st.floats(0, 30), st.floats(0, 30), st.floats(0, 3), st.floats(0, 3))
def test_two_steps_in_time_are_one(gamma, omega, first, second):
    """Φ(s + t) = Φ(s)Φ(t), in units where the oscillation has size 1."""
    scale_of = max(omega, gamma, 1e-3)

    def flow(t):
        balance = np.array([[1, scale_of], [1 / scale_of, 1]])
        return oscillator_propagator(*map(np.array, (gamma, omega**2, t))) * balance

    assert np.allclose(flow(first + second), flow(first) @ flow(second), rtol=0, atol=2e-13)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_nothing_overflows_nothing_is_nan_and_nothing_warns(a, b):
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        found = closed_form(a, b)
    assert np.isfinite(found).all()
    assert 0 <= found[0, 3] <= 1 / 6 + EPS
    assert 0 <= found[0, 2] <= 0.5 + EPS


@given(st.floats(0, 100), st.floats(1e-3, 100))
def test_the_integrals_solve_the_equation_that_they_are_integrals_of(a, b):
    """s' + 2as + b²P₁ = 1 and s + 2aP₁ + b²P₂ = 1 at time 1."""
    flow, (once, twice) = oscillator_propagator(*map(np.array, (a, b * b, 1.0))), response_integrals(a, b * b)
    s, slope = flow[0, 1], flow[1, 1]
    size = 1 + 2 * a + b * b
    assert slope + 2 * a * s + b * b * once == pytest.approx(1, abs=1e-14 * size)
    assert s + 2 * a * once + b * b * twice == pytest.approx(1, abs=1e-14 * size)


# A stiff run


def test_a_stiff_run_follows_its_slow_mode():
    """γh = 5·10⁵ a step, over 10⁴ steps: the charge decays by the slow root alone, with all its digits."""
    hyper = {"lr": 1e-4, "momentum": 0.0, "weight_decay": 0.01}
    got = propagate(
        derived("translation", "momentum"), np.array([1.0]), {}, step_size=50.0, steps=10_000, keep=[10_000], **hyper
    )
    with mpmath.workdps(50):
        gamma, squared = 1 / mpmath.mpf(1e-4), 2 * mpmath.mpf(0.01) / mpmath.mpf(1e-4)
        root = mpmath.sqrt(gamma**2 - squared)
        slow, fast = -squared / (gamma + root), -gamma - root
        time = mpmath.mpf(500_000)
        exact = float((fast * mpmath.exp(slow * time) - slow * mpmath.exp(fast * time)) / (fast - slow))
    assert exact == 0 or got[0, 0] == pytest.approx(exact, rel=1e-11)


# Quadrature

HORIZON, SMOOTH = 4.0, {"lr": 0.5, "momentum": 0.5, "weight_decay": 0.4}


def exact_response(found, drive):
    """Q(4) from 0 at rest, by Duhamel's integral in mpmath over the case-by-case impulse response."""
    from tests.derive.known_systems import BY_ARGUMENT

    numbers = {BY_ARGUMENT[name]: value for name, value in SMOOTH.items()}
    m, c, k = (mpmath.mpf(str(value.subs(numbers))) for value in (found.mass, found.damping, found.stiffness))
    unit = found.drive.subs(numbers).as_coefficients_dict()
    weight = mpmath.mpf(str(next(iter(unit.values()))))
    if m == 0:
        return mpmath.quad(lambda s: mpmath.exp(-k / c * (HORIZON - s)) * weight / c * drive(s), [0, 2, HORIZON])
    gamma, root = c / (2 * m), mpmath.sqrt(mpmath.mpc((c / (2 * m)) ** 2 - k / m))
    green = lambda s: mpmath.re(mpmath.exp(-gamma * s) * mpmath.sinh(root * s) / root) / m  # noqa: E731
    return mpmath.quad(lambda s: green(HORIZON - s) * weight * drive(s), [0, 1, 2, 3, HORIZON])


LAWS = {"relaxation": ("plain", "gradient", ("lr", "weight_decay")), "oscillator": ("momentum", "velocity", tuple(SMOOTH))}


def error(kind, quadrature, steps):
    rule, form, names = LAWS[kind]
    found, h = derived("scale", rule), HORIZON / steps
    samples = 1 + np.sin(2 * h * np.arange(steps)[:, None])
    hyper = {name: SMOOTH[name] for name in names}
    got = propagate(found, np.zeros(1), {form: samples}, step_size=h, quadrature=quadrature, keep=[steps], **hyper)
    return float(got[0, 0] - exact_response(found, lambda s: 1 + mpmath.sin(2 * s)))


@pytest.mark.parametrize(("quadrature", "order"), [("riemann", 1), ("constant", 1), ("linear", 2)])
@pytest.mark.parametrize("kind", LAWS)
def test_a_quadrature_has_its_order_and_no_more(kind, quadrature, order):
    coarse, fine = (error(kind, quadrature, steps) for steps in (400, 800))
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.1)
    assert abs(fine) > 1e-9


def test_the_riemann_sum_is_the_papers():
    """Σ_i G(t_n − t_i) f_i h, with the Green's function of the solution."""
    from numerics import compile_kernel
    from tests.derive.known_systems import solved

    found, h, steps = derived("scale", "momentum"), 0.1, 30
    drive = np.random.default_rng(0).random((steps, 1))
    got = propagate(found, np.zeros(1), {"velocity": drive}, step_size=h, quadrature="riemann", **SMOOTH)
    green = compile_kernel(solved("scale", "momentum")).green
    times = h * np.arange(steps + 1)
    weight = SMOOTH["lr"] * (1 + SMOOTH["momentum"]) / 2
    expected = [sum(green(times[n] - times[:n], **SMOOTH) * weight * drive[:n, 0]) * h for n in range(steps + 1)]
    assert got[:, 0] == pytest.approx(np.array(expected), rel=1e-12, abs=1e-14)


def test_a_line_is_integrated_exactly_by_the_linear_quadrature_but_for_its_first_step():
    found = derived("scale", "plain")
    known = {"step_size": np.array([1e-9, 0.3, 0.1, 0.2]), "lr": 0.5, "weight_decay": 0.4}
    times = np.concatenate([[0], np.cumsum(known["step_size"])])
    got = propagate(found, np.zeros(1), {"gradient": times[:-1, None]}, quadrature="linear", **known)
    kappa, t = 0.8, times
    expected = 0.5 * (t / kappa - (1 - np.exp(-kappa * t)) / kappa**2)
    assert got[:, 0] == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_the_matched_quadrature_is_that_of_the_order_of_the_law():
    found, drive = law(scale(), sgd()), np.random.default_rng(0).random((9, 2))
    known = {"step_size": 0.5, "lr": 0.5, "weight_decay": 0.1}
    matched, constant, linear = (
        propagate(found, np.ones(2), {"gradient": drive}, quadrature=name, **known)
        for name in ("matched", "constant", "linear")
    )
    assert np.array_equal(matched, constant)
    assert not np.allclose(matched, linear)


def test_an_unknown_quadrature_is_refused():
    with pytest.raises(PropagationError, match="quadrature: expected one of"):
        propagate(
            derived("translation", "plain"), np.ones(1), {}, steps=1, step_size=1.0, weight_decay=1.0, quadrature="simpson"
        )
