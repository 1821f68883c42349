"""Driven recurrences, against plain loops, closed forms and an integrator of differential equations."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from derive import discrete_law, law, scale, sgd, translation
from numerics import compile_kernel, propagate
from numerics.propagate import PropagationError
from tests.derive.known_systems import (
    BY_ARGUMENT,
    REGIMES,
    RULES,
    SYMMETRIES,
    derived,
    descend,
    hyper_for,
    random_gradients,
    solved,
)

STEPS, NEURONS = 50, 3


@cache
def discrete(symmetry, rule):
    return discrete_law(SYMMETRIES[symmetry](), sgd(**RULES[rule]))


@dataclass(frozen=True)
class Run:
    """A made-up run: drives of size (steps, neurons) and hyper-parameters that change at every step."""

    seed: int = 0

    def draw(self, low, high, *shape):
        return np.random.default_rng([self.seed, *shape, int(100 * high)]).uniform(low, high, shape)

    def drives(self, names):
        return {name: self.draw(-1, 2 + k, STEPS, NEURONS) for k, name in enumerate(names)}

    def hyper(self, rule):
        ranges = {"lr": (0.01, 0.3), "weight_decay": (0, 0.1), "momentum": (0.3, 0.95), "dampening": (0, 0.8)}
        unused = {"plain": ("momentum", "dampening"), "dampening": ()}.get(rule, ("dampening",))
        return {name: self.draw(*bounds, STEPS) for name, bounds in ranges.items() if name not in unused}


def plain_loop(symmetry, rule, state, drives, hyper):
    """math.md, section 3, for one neuron, without a matrix: Q and C by their definitions."""
    charge, product = state
    p, out = (1 if symmetry == "translation" else 2), [charge]
    for n in range(STEPS):
        lr, decay = hyper["lr"][n], hyper["weight_decay"][n]
        beta, gain = (hyper.get(name, np.zeros(STEPS))[n] for name in ("momentum", "dampening"))
        force = drives["breaking"][n] + decay * charge
        tau = beta * product + (1 - gain) * force
        delta = force + beta * tau if rule == "nesterov" else tau
        squared = {"plain": gradient_square, "nesterov": measured}.get(rule, measured)
        direction, overlap = squared(drives, n, force, decay, charge, delta) if p == 2 else (0, 0)
        charge = charge - p * lr * delta + lr**2 * direction
        product = tau - lr * overlap
        out.append(charge)
    return np.array(out)


def gradient_square(drives, n, force, decay, charge, delta):
    """|d|² = |g + λθ|² from |g|², ⟨g, θ⟩ and |θ|²."""
    return drives["gradient"][n] + 2 * decay * drives["breaking"][n] + decay**2 * charge, 0


def measured(drives, n, force, decay, charge, delta):
    return drives["direction"][n], drives.get("overlap", drives["direction"])[n]


# Discrete laws


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_a_discrete_law_is_stepped_as_a_plain_loop_does(symmetry, rule):
    found, run = discrete(symmetry, rule), Run()
    size = found.transition.shape[0]
    initial, drives, hyper = run.draw(-1, 1, 2, NEURONS), run.drives(found.drives), run.hyper(rule)
    got = propagate(found, initial[:size], drives, velocity_exists=True, **hyper)
    for neuron in range(NEURONS):
        one = {name: samples[:, neuron] for name, samples in drives.items()}
        expected = plain_loop(symmetry, rule, initial[:, neuron], one, hyper)
        assert got[:, neuron] == pytest.approx(expected, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("rule", RULES)
def test_a_run_in_exact_fractions_is_reproduced(rule):
    hyper = {"lr": Fraction(1, 9), "weight_decay": Fraction(1, 7), "momentum": Fraction(3, 4), "dampening": Fraction(1, 4)}
    hyper |= dict.fromkeys({"plain": ["momentum", "dampening"], "dampening": []}.get(rule, ["dampening"]), Fraction(0))
    start = [Fraction(1, 2), Fraction(-3)]
    course = list(descend(start, random_gradients(0, 2), [hyper] * 30, nesterov=rule == "nesterov"))

    def dot(u, v):
        return float(sum(a * b for a, b in zip(u, v, strict=True)))

    measures = {
        "breaking": [[dot(s.gradient, s.theta)] for s in course],
        "gradient": [[dot(s.gradient, s.gradient)] for s in course],
        "direction": [[dot(s.direction, s.direction)] for s in course],
        "overlap": [[dot(s.direction, s.next_velocity)] for s in course],
    }
    found = discrete("scale", rule)
    names = {name: float(hyper[name]) for name in Run().hyper(rule)}
    got = propagate(
        found,
        np.array([dot(start, start)]),
        {name: np.array(measures[name]) for name in found.drives},
        velocity_exists=True,
        **names,
    )
    expected = [dot(s.theta, s.theta) for s in course] + [dot(course[-1].next_theta, course[-1].next_theta)]
    assert got[:, 0] == pytest.approx(expected, rel=1e-12)


def test_a_run_from_no_velocity_starts_undamped_as_torch_does():
    """θ of two parameters, dampened by 1/2: torch's v_1 is G_0 whole."""
    hyper = {"lr": Fraction(1, 9), "weight_decay": Fraction(1, 7), "momentum": Fraction(3, 4), "dampening": Fraction(1, 2)}
    start = [Fraction(1, 2), Fraction(-3)]
    schedule = [hyper | {"dampening": Fraction(0)}] + [hyper] * 9
    course = list(descend(start, random_gradients(0, 2), schedule))

    def dots(vectors):
        return np.array([[float(sum(a * b for a, b in zip(u, v, strict=True)))] for u, v in vectors])

    drives = {
        "breaking": dots((s.gradient, s.theta) for s in course),
        "direction": dots((s.direction, s.direction) for s in course),
    }
    charges = dots([*((s.theta, s.theta) for s in course), (course[-1].next_theta, course[-1].next_theta)])
    arguments = {name: float(value) for name, value in hyper.items()}
    fresh, continued = (
        propagate(discrete("scale", "dampening"), charges[0], drives, velocity_exists=exists, **arguments)
        for exists in (False, True)
    )
    assert fresh == pytest.approx(charges, rel=1e-13)
    assert abs(continued[1] - charges[1]) > 1e-3


def test_breaking_that_is_left_out_is_zero():
    found, run = discrete("scale", "plain"), Run()
    drives, hyper, initial = run.drives(found.drives), run.hyper("plain"), np.ones(NEURONS)
    silent = propagate(found, initial, {"gradient": drives["gradient"]}, **hyper)
    zero = propagate(found, initial, drives | {"breaking": np.zeros((STEPS, NEURONS))}, **hyper)
    broken = propagate(found, initial, drives, **hyper)
    assert np.array_equal(silent, zero)
    assert not np.allclose(silent, broken)


# Continuous laws without a drive


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(("symmetry", "p"), [("translation", 1), ("scale", 2)])
def test_without_a_drive_the_law_is_stepped_along_its_kernel(regime, symmetry, p):
    hyper = {name: float(value) for name, value in hyper_for(*REGIMES[regime], degree=p).items()}
    found, initial = derived(symmetry, "momentum"), np.array([1.0, -2.0])
    drives = {"velocity": np.zeros((40, 2))} if p == 2 else {}
    got = propagate(found, initial, drives, step_size=0.1, steps=40, **hyper)
    times = 0.1 * np.arange(41)[:, None]
    assert got == pytest.approx(
        compile_kernel(solved(symmetry, "momentum"))(times, initial_charge=initial, **hyper), rel=1e-12, abs=1e-12
    )


def test_a_start_in_motion_follows_the_kernel_in_motion():
    hyper = {name: float(value) for name, value in hyper_for(*REGIMES["underdamped"], degree=1).items()}
    got = propagate(derived("translation", "momentum"), np.array([[1.0], [2.5]]), {}, step_size=0.1, steps=30, **hyper)
    k = compile_kernel(solved("translation", "momentum", at_rest=False))
    expected = k(0.1 * np.arange(31), initial_charge=1.0, initial_rate=2.5, **hyper)
    assert got[:, 0] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_a_relaxation_multiplies_by_an_exponential_of_every_step():
    run = Run()
    h, decay = run.draw(0.01, 1, STEPS), run.draw(0, 2, STEPS)
    got = propagate(derived("translation", "plain"), np.array([3.0]), {}, step_size=h, weight_decay=decay)
    assert got[:, 0] == pytest.approx(3 * np.exp(-np.concatenate([[0], np.cumsum(h * decay)])), rel=1e-13)


@settings(max_examples=30)
@given(st.floats(0.01, 5), st.floats(0, 8), st.integers(1, 20), st.floats(1e-3, 2))
def test_two_half_steps_are_one_step(gamma, omega, steps, h):
    hyper = {name: float(value) for name, value in hyper_for(Fraction(gamma), Fraction(omega), degree=1).items()}
    found, initial = derived("translation", "momentum"), np.array([[1.0], [-0.5]])
    whole = propagate(found, initial, {}, step_size=h, steps=steps, **hyper)
    halves = propagate(found, initial, {}, step_size=h / 2, steps=2 * steps, **hyper)
    assert whole == pytest.approx(halves[::2], rel=1e-10, abs=1e-10)


def test_a_long_run_neither_overflows_nor_warns():
    """γh = 50 at each of 5,000 steps: e^{γt} would be e^{250,000}."""
    hyper = {"lr": 0.1, "momentum": 0.0, "weight_decay": 1e-3}
    got = propagate(derived("translation", "momentum"), np.array([1.0]), {}, step_size=5.0, steps=5000, **hyper)
    slow = compile_kernel(solved("translation", "momentum"))(5.0 * np.arange(5001), initial_charge=1.0, **hyper)
    assert got[:, 0] == pytest.approx(slow, rel=1e-9)


# Continuous laws with a drive


def test_a_constant_drive_relaxes_to_its_balance():
    lr, decay, force, h = 0.2, 0.75, np.array([1.0, -3.0]), 0.3
    got = propagate(derived("scale", "plain"), np.zeros(2), {"gradient": np.tile(force, (20, 1))}, step_size=h, lr=lr,
                    weight_decay=decay)  # fmt: skip
    times = h * np.arange(21)[:, None]
    assert got == pytest.approx(lr * force * (1 - np.exp(-2 * decay * times)) / (2 * decay), rel=1e-13)


@pytest.mark.parametrize("regime", [name for name in REGIMES if name != "no stiffness"])
def test_a_constant_drive_takes_an_oscillator_to_its_balance(regime):
    """x'' + 2γx' + ω²x = 2k from rest: x = (2k/ω²)(1 − x_h), x_h the response from 1 at rest."""
    hyper = {name: float(value) for name, value in hyper_for(*REGIMES[regime], degree=2).items()}
    got = propagate(derived("scale", "momentum"), np.zeros(1), {"velocity": np.full((40, 1), 1.5)}, step_size=0.1, **hyper)
    response = compile_kernel(solved("scale", "momentum"))(0.1 * np.arange(41), initial_charge=1.0, **hyper)
    omega = float(REGIMES[regime][1])
    assert got[:, 0] == pytest.approx(3 / omega**2 * (1 - response), rel=1e-12, abs=1e-13)


def test_a_drive_on_a_free_charge_adds_up():
    got = propagate(
        derived("scale", "plain"), np.zeros(1), {"gradient": np.ones((10, 1))}, step_size=0.5, lr=0.1, weight_decay=0.0
    )
    assert got[:, 0] == pytest.approx(0.05 * np.arange(11), rel=1e-14)


HORIZON = 4.0
SMOOTH = {"lr": 0.5, "momentum": 0.5, "weight_decay": 0.4}


@cache
def integrated():
    """x(4) of the scale charge driven by 1 + sin 2τ, by an eighth-order integrator."""
    found = derived("scale", "momentum")
    numbers = {BY_ARGUMENT[name]: value for name, value in SMOOTH.items()}
    m, c, k = (float(value.subs(numbers)) for value in (found.mass, found.damping, found.stiffness))
    weight = SMOOTH["lr"] * (1 + SMOOTH["momentum"]) / 2
    course = solve_ivp(
        lambda t, x: [x[1], (weight * (1 + np.sin(2 * t)) - c * x[1] - k * x[0]) / m],
        (0, HORIZON), [1.0, 0.0], method="DOP853", rtol=1e-12, atol=1e-13,
    )  # fmt: skip
    return course.y[0, -1]


def held_error(steps, place):
    """Error at the horizon when the drive of a step is its sample at ``place`` of the step."""
    h = HORIZON / steps
    samples = 1 + np.sin(2 * h * (np.arange(steps)[:, None] + place))
    got = propagate(derived("scale", "momentum"), np.ones(1), {"velocity": samples}, step_size=h, **SMOOTH)
    return abs(got[-1, 0] - integrated())


@pytest.mark.parametrize(("place", "order"), [(0.0, 1), (0.5, 2)])
def test_holding_a_smooth_drive_over_a_step_is_of_first_order_and_at_its_middle_of_second(place, order):
    observed = np.log2(held_error(400, place) / held_error(800, place))
    assert observed == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("rule", ["momentum", "dampening", "nesterov"])
def test_hyper_parameters_that_change_are_those_of_each_step(rule):
    """Against the integrator restarted at every step with that step's coefficients."""
    found, run, steps = derived("scale", rule), Run(), 8
    hyper = {name: values[:steps] for name, values in run.hyper(rule).items()}
    h, drive = run.draw(0.1, 1, STEPS)[:steps], run.draw(-1, 3, STEPS, 1)[:steps]
    got = propagate(found, np.array([1.0]), {"velocity": drive}, step_size=h, **hyper)
    state = [1.0, 0.0]
    for n in range(steps):
        m, c, k, f = coefficients(found, {name: values[n] for name, values in hyper.items()})
        state = solve_ivp(lambda t, x, m=m, c=c, k=k, f=f * drive[n, 0]: [x[1], (f - c * x[1] - k * x[0]) / m],
                          (0, h[n]), state, method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1]  # fmt: skip
        assert got[n + 1, 0] == pytest.approx(state[0], rel=1e-8, abs=1e-10)


def coefficients(found, hyper):
    """m, c, k and the factor of the drive, typed from math.md, section 4."""
    beta, decay, h = hyper["momentum"], hyper["weight_decay"], hyper["lr"] * (1 - hyper.get("dampening", 0))
    nesterov = found.rule.nesterov
    factor = h * (1 - beta + 2 * beta**2) / 2 if nesterov else h * (1 + beta) / 2
    return h * (1 + beta) / 4, (1 - beta) / 2 + (beta * h * decay if nesterov else 0), decay, factor


# Properties


@settings(max_examples=30)
@given(st.integers(0, 99), st.floats(-3, 3), st.floats(-3, 3))
def test_the_charge_is_linear_in_start_and_drives(seed, a, b):
    found, hyper = discrete("scale", "nesterov"), Run().hyper("nesterov")
    runs = [(Run(s).draw(-1, 1, 2, NEURONS), Run(s).drives(found.drives)) for s in (seed, seed + 1000)]
    parts = [propagate(found, start, drives, velocity_exists=True, **hyper) for start, drives in runs]
    mixed = {name: a * runs[0][1][name] + b * runs[1][1][name] for name in found.drives}
    whole = propagate(found, a * runs[0][0] + b * runs[1][0], mixed, velocity_exists=True, **hyper)
    assert whole == pytest.approx(a * parts[0] + b * parts[1], rel=1e-9, abs=1e-9)


def test_neurons_do_not_see_each_other():
    found, run = discrete("scale", "momentum"), Run()
    drives, hyper, initial = run.drives(found.drives), run.hyper("momentum"), run.draw(-1, 1, 2, NEURONS)
    whole = propagate(found, initial, drives, velocity_exists=True, **hyper)
    alone = propagate(
        found, initial[:, 1:2], {name: samples[:, 1:2] for name, samples in drives.items()}, velocity_exists=True, **hyper
    )
    assert np.allclose(whole[:, 1:2], alone, rtol=1e-14)


def test_only_the_steps_asked_for_are_kept():
    found, run = discrete("scale", "momentum"), Run()
    arguments = (found, np.ones(NEURONS), run.drives(found.drives))
    whole, some = (propagate(*arguments, keep=keep, **run.hyper("momentum")) for keep in (None, [0, 7, STEPS]))
    assert np.array_equal(some, whole[[0, 7, STEPS]])


def test_the_result_is_double_precision_and_nothing_given_is_changed():
    found, run = discrete("scale", "momentum"), Run()
    drives = {name: samples.astype(np.float32) for name, samples in run.drives(found.drives).items()}
    initial, before = np.ones((2, NEURONS)), {name: samples.copy() for name, samples in drives.items()}
    got = propagate(found, initial, drives, velocity_exists=True, **run.hyper("momentum"))
    assert (got.dtype, got.shape) == (np.float64, (STEPS + 1, NEURONS))
    assert np.array_equal(initial, np.ones((2, NEURONS)))
    assert all(np.array_equal(drives[name], before[name]) for name in drives)


@pytest.mark.parametrize("law", [discrete("translation", "plain"), derived("translation", "plain")], ids=["discrete", "law"])
def test_no_steps_leave_the_start(law):
    options = {"lr": 0.1} if law is discrete("translation", "plain") else {"step_size": 0.1}
    assert propagate(law, np.array([2.0]), {}, steps=0, weight_decay=1.0, **options).tolist() == [[2.0]]


# Refusals

DRIVE = np.ones((5, 2))
HYPER = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}
DISCRETE = {"law": discrete("scale", "momentum"), "initial": np.ones(2), "drives": {"direction": DRIVE}, **HYPER}
CONTINUOUS = {
    "law": derived("scale", "momentum"),
    "initial": np.ones(2),
    "drives": {"velocity": DRIVE},
    "step_size": 0.1,
    **HYPER,
}

REFUSED = {
    "missing drive": (DISCRETE, {"drives": {}, "steps": 5}, "drives: expected"),
    "missing drive of a law": (CONTINUOUS, {"drives": {}, "steps": 5}, "drives: expected"),
    "unknown drive": (DISCRETE, {"drives": {"direction": DRIVE, "gradient": DRIVE}}, "drives: expected"),
    "drive of another form": (CONTINUOUS, {"drives": {"velocity": DRIVE, "gradient": DRIVE}}, "drives: expected"),
    "unknown hyper-parameter": (DISCRETE, {"beta": 0.9}, "hyper-parameters: expected"),
    "unknown hyper-parameter of a law": (CONTINUOUS, {"beta": 0.9}, "hyper-parameters: expected"),
    "missing hyper-parameter": (DISCRETE, {"lr": None}, "hyper-parameters: expected .* got"),
    "no step size": (CONTINUOUS, {"step_size": None}, "step_size: expected the time advanced by a step, got None"),
    "negative step": (CONTINUOUS, {"step_size": np.array([0.1, 0.1, -0.1, 0.1, 0.1])}, "step_size: .* got a negative one"),
    "schedule of another length": (DISCRETE, {"lr": np.ones(4)}, "steps: expected one number of steps"),
    "steps that disagree": (DISCRETE, {"steps": 4}, "steps: expected one number of steps"),
    "no number of steps": (
        {"law": discrete("translation", "plain"), "initial": np.ones(2), "drives": {}, "lr": 0.1, "weight_decay": 0.1},
        {},
        "steps: expected one number of steps, got none",
    ),
    "schedule of two dimensions": (DISCRETE, {"lr": np.ones((5, 2))}, r"lr: expected a number or shape \(5,\)"),
    "NaN in a drive": (DISCRETE, {"drives": {"direction": DRIVE * np.nan}}, "direction: expected finite numbers"),
    "NaN in a schedule": (DISCRETE, {"lr": np.array([0.1, np.nan, 0.1, 0.1, 0.1])}, "lr: expected finite numbers"),
    "infinite start": (DISCRETE, {"initial": np.array([1.0, np.inf])}, "initial: expected finite numbers"),
    "start without neurons": (DISCRETE, {"initial": np.array(1.0)}, r"initial: expected shape \(neurons,\)"),
    "start with too many rows": (
        DISCRETE,
        {"initial": np.ones((3, 2))},
        r"initial: expected shape \(neurons,\) or \(2, neur",
    ),
    "kept steps out of order": (DISCRETE, {"keep": [3, 1]}, "keep: expected increasing steps between 0 and 5"),
    "kept steps beyond the end": (DISCRETE, {"keep": [6]}, "keep: expected increasing steps between 0 and 5"),
    "kept steps before the start": (DISCRETE, {"keep": [-1, 2]}, "keep: expected increasing steps between 0 and 5"),
}
SHAPES = {
    "another number of neurons": np.ones((5, 3)),
    "one neuron for two": np.ones((5, 1)),
    "no neurons": np.ones(5),
    "three dimensions": np.ones((5, 2, 2)),
    "a number": np.float64(1.0),
}


def call(arguments, change):
    given = {name: value for name, value in (arguments | change).items() if value is not None}
    return propagate(given.pop("law"), given.pop("initial"), given.pop("drives"), **given)


@pytest.mark.parametrize("arguments", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_the_arguments_that_are_spoilt_below_are_good(arguments):
    assert call(arguments, {}).shape == (6, 2)


@pytest.mark.parametrize(("arguments", "change", "message"), REFUSED.values(), ids=REFUSED)
def test_arrays_that_describe_no_run_are_refused_by_name(arguments, change, message):
    with pytest.raises(PropagationError, match=message):
        call(arguments, change)


@pytest.mark.parametrize("samples", SHAPES.values(), ids=SHAPES)
def test_a_drive_of_another_shape_is_refused_by_name(samples):
    with pytest.raises(PropagationError, match="direction: expected shape"):
        call(DISCRETE, {"drives": {"direction": samples}})


def test_a_discrete_law_takes_no_step_size():
    with pytest.raises(PropagationError, match="step_size"):
        call(DISCRETE, {"step_size": 0.1})


def test_a_vanishing_learning_rate_of_an_oscillator_is_refused_by_name():
    with pytest.raises(PropagationError, match="lr"):
        call(CONTINUOUS, {"lr": 0.0})


def test_a_step_of_no_length_leaves_the_charge_whatever_the_rates_are():
    """Warm-up from 0: with lr = 0 the mass is 0 and the oscillator's rates are infinite, but no time passes."""
    lr = np.array([0.0, 0.1, 0.0, 0.2, 0.1])
    arguments = CONTINUOUS | {"lr": lr, "step_size": lr}
    got = call(arguments, {})
    assert got[1].tolist() == got[0].tolist()
    assert got[3].tolist() == got[2].tolist()
    moving = call(arguments, {"lr": lr[lr > 0], "step_size": lr[lr > 0], "drives": {"velocity": DRIVE[lr > 0]}})
    assert np.allclose(got[[0, 2, 4, 5]], moving, rtol=1e-14)


@pytest.mark.parametrize("steps", [-1, 2.5])
def test_a_number_of_steps_that_is_none_is_refused(steps):
    arguments = {
        "law": discrete("translation", "plain"),
        "initial": np.ones(2),
        "drives": {},
        "lr": 0.1,
        "weight_decay": 0.1,
    }
    with pytest.raises(PropagationError, match="steps: expected"):
        call(arguments, {"steps": steps})


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("family", [translation(), scale()], ids=["translation", "scale"])
def test_a_breaking_that_is_held_moves_a_relaxing_charge_to_where_decay_balances_it(family, order):
    """Q' = −pλQ − pb: from 0 to −(b/λ)(1 − e^{−pλt})."""
    lr, decay, b = 0.05, 0.3, np.array([[0.7, -0.2]] * 50)
    found = law(family, sgd(), order)
    names = {"lr": lr, "weight_decay": decay}
    drives = {"breaking": b} | ({found.drive_form: 0 * b} if found.drive_form else {})
    got = propagate(found, np.zeros(2), drives, step_size=lr, **{n: names[n] for n in found.hyper_parameters})
    time = lr * np.arange(51)[:, None]
    np.testing.assert_allclose(got, -b[0] / decay * -np.expm1(-family.degree * decay * time), rtol=1e-12)


def test_a_breaking_that_is_held_moves_an_oscillating_charge_to_the_same_place():
    found = law(scale(), sgd(momentum=True))
    b = np.full((4000, 1), 0.7)
    got = propagate(
        found, np.zeros(1), {"velocity": 0 * b, "breaking": b}, step_size=0.1, lr=0.1, momentum=0.9, weight_decay=0.3
    )
    assert got[-1] == pytest.approx(-0.7 / 0.3, rel=1e-9)
