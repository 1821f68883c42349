"""Closed-form solutions: residual 0, the paper's three cases to thirty digits, and wrong formulas refused."""

from dataclasses import replace

import mpmath
import pytest
import sympy as sp

from derive import Solution, SolutionError, gradient_flow, law, scale, sgd, solve, translation
from derive.equality import refutes, vanishes
from derive.solution import _driven
from derive.special_functions import damped_cosh, damped_sinhc
from derive.symbols import damping_rate as gamma
from derive.symbols import frequency as omega
from derive.symbols import gradient_form, initial_charge, initial_rate, past, rate, velocity_form
from derive.symbols import lr as eta
from derive.symbols import time as t
from derive.symbols import weight_decay as lam
from tests.derive.known_systems import BY_ARGUMENT, REGIMES, RULES, SYMMETRIES, derived, hyper_for, oscillator, solved

DIGITS = 30
TIMES = (sp.Rational(1, 7), sp.Rational(5, 3), sp.Integer(11))


def number(expr, **values):
    """The value of a formula to forty digits."""
    return expr.subs({BY_ARGUMENT[name]: value for name, value in values.items()}).evalf(DIGITS + 10)


def agree(got, expected, digits=DIGITS):
    with mpmath.workdps(DIGITS + 20):
        return abs(got._to_mpmath(200) - expected) <= mpmath.mpf(10) ** -digits * max(abs(expected), mpmath.mpf("1e-10"))


def exactly(value):
    return mpmath.mpf(value.p) / value.q


# Known answers


def test_equation_18_translation():
    assert solved("translation", "plain").expr == initial_charge * sp.exp(-lam * t)


@pytest.mark.parametrize("name", ["scale", "rescale"])
def test_equations_19_and_20_scale_and_rescale(name):
    memory = solved(name, "plain").expr - initial_charge * sp.exp(-2 * lam * t)
    assert isinstance(memory, sp.Integral)
    assert memory.limits == ((past, 0, t),)
    assert vanishes(memory.function - eta * gradient_form(past) * sp.exp(-2 * lam * (t - past)))


@pytest.mark.parametrize("name", SYMMETRIES)
def test_gradient_flow_keeps_the_charge(name):
    assert solve(law(SYMMETRIES[name](), gradient_flow())).expr == initial_charge  # eq. 11–13


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(("name", "p"), [("translation", 1), ("scale", 2), ("rescale", 2)])
@pytest.mark.parametrize("time", TIMES)
def test_equations_34_and_37_in_each_regime(name, p, regime, time):
    solution, hyper = solved(name, "momentum"), hyper_for(*REGIMES[regime], degree=p)
    with mpmath.workdps(80):
        charge, impulse = oscillator(*map(exactly, REGIMES[regime]), exactly(time))
    assert agree(number(solution.homogeneous, t=time, initial_charge=1, **hyper), charge)
    assert agree(number(solution.law.mass * solution.green, t=time, **hyper), impulse)  # G of eq. 36 and App. H.3


def test_a_wrong_case_of_equation_34_would_be_seen():
    hyper = hyper_for(*REGIMES["underdamped"], degree=1)
    with mpmath.workdps(60):
        wrong, _ = oscillator(*reversed([exactly(v) for v in REGIMES["underdamped"]]), 1)
    assert not agree(number(solved("translation", "momentum").homogeneous, t=1, initial_charge=1, **hyper), wrong, digits=2)


def test_at_exactly_critical_damping_the_formula_is_the_papers_second_case():
    solution = solve(law(translation(), sgd(lr=1, momentum=0, weight_decay=sp.Rational(1, 2)), form="modified flow"))
    assert sp.expand(solution.homogeneous - initial_charge * sp.exp(-t) * (1 + t)) == 0
    assert sp.expand(solution.green - 2 * t * sp.exp(-t)) == 0


def test_without_weight_decay_a_charge_at_rest_stays():
    solution = solve(law(scale(), sgd(momentum=True, weight_decay=False)))
    hyper = {"lr": sp.Rational(1, 3), "momentum": sp.Rational(2, 3)}
    assert all(agree(number(solution.homogeneous, t=time, initial_charge=3, **hyper), 3) for time in TIMES)


def test_the_elementary_form_is_the_same_away_from_critical_damping():
    solution = solved("translation", "momentum")
    assert not solution.elementary.atoms(damped_cosh, damped_sinhc)
    assert refutes(solution.elementary - solution.expr) is None
    assert refutes(solution.elementary - 2 * solution.expr) is not None


# Residual and initial data


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", SYMMETRIES)
def test_every_solution_leaves_no_residual_and_starts_as_told(name, rule):
    solution = solved(name, rule)
    assert solution.residual() == 0
    assert all(vanishes(value - expected) for value, expected in solution.initial_data().values())
    assert {"homogeneous(0)", "green(0)"} <= set(solution.initial_data())


@pytest.mark.parametrize("rule", ["dampening", "nesterov"])
def test_the_residual_is_zero_at_random_rationals_too(rule):
    solution = solved("scale", rule)
    found = solution.law
    for x in (solution.homogeneous, solution.green):
        residual = found.mass * x.diff(t, 2) + found.damping * x.diff(t) + found.stiffness * x
        assert refutes(residual, points=2) is None
        assert refutes(residual + x, points=2) is not None


def test_a_given_initial_rate_is_kept_and_rest_is_the_default():
    moving, resting = solved("translation", "momentum", start="free"), solved("translation", "momentum")
    assert moving.homogeneous.has(initial_rate)
    assert not resting.homogeneous.has(initial_rate)
    assert sp.expand(moving.homogeneous.subs(initial_rate, 0) - resting.homogeneous) == 0
    assert moving.residual() == 0
    assert moving.initial_data()["homogeneous'(0)"] == (initial_rate, initial_rate)


def test_the_impulse_response_starts_with_one_over_damping_or_one_over_mass():
    assert solved("scale", "plain").initial_data()["green(0)"] == (1, 1)
    data = solved("scale", "momentum").initial_data()
    assert data["green(0)"] == (0, 0)
    assert sp.cancel(data["green'(0)"][0] * solved("scale", "momentum").law.mass) == 1


# The driven part


def driven_value(solution, drive, time, hyper):
    """∫_0^t G(t − τ) c·drive(τ) dτ by quadrature, where c·k(τ) is the law's drive."""
    numbers = {BY_ARGUMENT[name]: value for name, value in hyper.items()}
    weight = solution.law.drive.subs({velocity_form(t): 1, gradient_form(t): 1}).subs(numbers)
    green = solution.green.subs(numbers)
    with mpmath.workdps(25):
        return mpmath.quad(
            lambda tau: (weight * green.subs(t, sp.Float(time - tau, 25))).evalf(25)._to_mpmath(100) * drive(tau), [0, time]
        )


@pytest.mark.parametrize("regime", ["overdamped", "critical", "underdamped"])
def test_a_quadratic_drive_gives_the_solution_of_the_differential_equation(regime):
    """x'' + 2γx' + ω²x = 2τ² from rest, against a Taylor-series integrator."""
    solution, (g, w), time = solved("scale", "momentum"), REGIMES[regime], mpmath.mpf(3) / 2
    got = driven_value(solution, lambda tau: tau**2, time, hyper_for(g, w, degree=2))
    with mpmath.workdps(25):
        g, w = exactly(g), exactly(w)
        expected = mpmath.odefun(lambda s, x: [x[1], 2 * s**2 - 2 * g * x[1] - w**2 * x[0]], 0, [0, 0])(time)[0]
    assert abs(got - expected) < 1e-15


def test_a_constant_drive_relaxes_to_its_stationary_charge():
    """Q' + 2λQ = ηq from 0: Q = ηq(1 − e^{−2λt})/(2λ), the balance below eq. 21."""
    hyper = {"lr": sp.Rational(1, 5), "weight_decay": sp.Rational(3, 4)}
    got = driven_value(solved("scale", "plain"), lambda tau: 1, mpmath.mpf(2), hyper)
    assert got == pytest.approx(0.2 * (1 - float(mpmath.exp(-3))) / 1.5, rel=1e-14)


def test_the_whole_solution_is_homogeneous_plus_driven():
    solution = solved("scale", "momentum")
    (integral,) = solution.expr.atoms(sp.Integral)
    assert solution.expr == solution.homogeneous + integral
    assert integral.limits == ((past, 0, t),)
    assert not solved("translation", "momentum").expr.atoms(sp.Integral)
    assert _driven(sp.S.Zero, velocity_form(t)) == 0


# Wrong formulas

DECAY = sp.exp(-rate * t)
C, S = damped_cosh(gamma * t, omega * t), t * damped_sinhc(gamma * t, omega * t)

WRONG_RELAXATIONS = {
    "wrong rate": {"homogeneous_form": initial_charge * sp.exp(-2 * rate * t)},
    "growth": {"homogeneous_form": initial_charge * sp.exp(rate * t)},
    "wrong start": {"homogeneous_form": 2 * initial_charge * DECAY},
    "nothing": {"homogeneous_form": sp.S.Zero},
    "impulse too large": {"green_form": 2 * DECAY},
    "impulse of another rate": {"green_form": sp.exp(-2 * rate * t)},
    "no impulse": {"green_form": sp.S.Zero},
    "wrong value of the rate": {"rates": ((rate, 3 * lam),)},
}
WRONG_OSCILLATORS = {
    "wrong damping": {"homogeneous_form": initial_charge * (damped_cosh(2 * gamma * t, omega * t) + gamma * S)},
    "not at rest": {"homogeneous_form": initial_charge * C},
    "wrong start": {"homogeneous_form": 2 * initial_charge * (C + gamma * S)},
    "nothing": {"homogeneous_form": sp.S.Zero},
    "only the impulse": {"homogeneous_form": initial_charge * S},
    "wrong rate of a moving start": {"homogeneous_form": initial_charge * (C + gamma * S) + 2 * initial_rate * S},
    "overdamped form": {"homogeneous_form": initial_charge * sp.exp(-gamma * t) * (1 + gamma * t)},
    "impulse of another size": {"green_form": S},
    "impulse of another rate": {"green_form": "faster"},
    "impulse that starts at once": {"green_form": C + gamma * S},
    "no impulse": {"green_form": sp.S.Zero},
    "rates exchanged": {"rates": "exchanged"},
}


def rebuilt(solution: Solution, change) -> Solution:
    if change.get("rates") == "exchanged":
        (_, first), (_, second) = solution.rates
        change = {"rates": ((gamma, second), (omega, first))}
    if change.get("green_form") == "faster":
        change = {"green_form": t * damped_sinhc(2 * gamma * t, omega * t) / solution.law.mass}
    return replace(solution, **change)


@pytest.mark.parametrize("name", ["translation", "scale"])
@pytest.mark.parametrize("change", WRONG_RELAXATIONS.values(), ids=WRONG_RELAXATIONS)
def test_a_wrong_relaxation_is_refused(name, change):
    with pytest.raises(SolutionError, match="expected"):
        rebuilt(solved(name, "plain"), change)


@pytest.mark.parametrize("change", WRONG_OSCILLATORS.values(), ids=WRONG_OSCILLATORS)
def test_a_wrong_oscillation_is_refused(change):
    with pytest.raises(SolutionError, match="expected"):
        rebuilt(solved("scale", "momentum"), change)


@pytest.mark.parametrize("name", [name for name, change in WRONG_OSCILLATORS.items() if "green_form" in change])
def test_a_wrong_impulse_response_is_refused_where_there_is_no_drive_too(name):
    with pytest.raises(SolutionError, match="expected"):
        rebuilt(solved("translation", "momentum"), WRONG_OSCILLATORS[name])


def test_a_formula_without_residual_is_refused_for_its_initial_data():
    with pytest.raises(SolutionError, match=r"homogeneous\(0\): expected Q_0, got 0"):
        replace(solved("translation", "momentum"), homogeneous_form=sp.S.Zero)
    with pytest.raises(SolutionError, match=r"green\(0\): expected 1, got 2"):
        replace(solved("translation", "plain"), green_form=2 * DECAY)


def test_the_solution_of_another_law_is_refused():
    with pytest.raises(SolutionError, match="got residual"):
        replace(solved("scale", "momentum"), law=derived("scale", "nesterov"))


def test_a_right_formula_is_accepted_again():
    for rule in ("plain", "momentum"):
        assert replace(solved("scale", rule)) == solved("scale", rule)


# Writing


def test_latex_shows_the_formula_and_its_rates():
    text = solved("scale", "momentum")._repr_latex_()
    assert all(part in text for part in ("Q(t) = ", r"\gamma = ", r"\omega = ", r"\int"))
    assert r"\kappa = \lambda" in solved("translation", "plain")._repr_latex_()
