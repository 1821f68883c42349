"""Long arrays: in pieces, a few steps kept, odd layouts and types, neurons that differ."""

from itertools import pairwise

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derive import discrete_law, scale, sgd
from numerics import PropagationError, advance, propagate, start
from numerics.recurrence import LONG, block_edges, recur
from numerics.step_matrices import StepMatrices
from tests.derive.known_systems import derived

STEPS, NEURONS = 700, 5
DISCRETE, CONTINUOUS = discrete_law(scale(), sgd(momentum=True)), derived("scale", "momentum")
KNOWN = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}


def forcing(steps=STEPS, neurons=NEURONS, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).random((steps, neurons)).astype(dtype)


def cosine(steps=STEPS):
    return 0.1 * (1 + np.cos(np.linspace(0, 3, steps))) / 2


def step_after_step(samples, lr, momentum, weight_decay, initial=1.0):
    """Q and C of the heavy ball's scale charge by their definition, one float64 operation after the other."""
    charge = np.full(samples.shape[1], initial)
    overlap = 0 * charge
    out = [charge]
    for n, w in enumerate(samples):
        eta = lr if np.ndim(lr) == 0 else lr[n]
        tau = momentum * overlap + weight_decay * charge
        charge, overlap = charge - 2 * eta * tau + eta**2 * w, tau - eta * w
        out.append(charge)
    return np.array(out)


KEPT = {
    "all": None,
    "the last": [STEPS],
    "none": [],
    "the first": [0],
    "every 50th": list(range(0, STEPS + 1, 50)),
    "every 5th": list(range(0, STEPS + 1, 5)),
    "a crowd and a few": [*range(20), 300, 301, STEPS],
    "all but the first": list(range(1, STEPS + 1)),
}


@pytest.mark.parametrize("keep", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_whatever_is_kept_has_the_values_of_a_plain_loop(keep, schedule):
    hyper = KNOWN | ({"lr": cosine()} if schedule == "cosine" else {})
    got = propagate(DISCRETE, np.ones(NEURONS), {"direction": forcing()}, keep=keep, **hyper)
    expected = step_after_step(forcing(), **hyper)
    assert np.allclose(got, expected if keep is None else expected[np.array(keep, int)], rtol=1e-12)


def test_a_run_longer_than_the_spans_that_it_is_taken_in_has_no_seams():
    samples = forcing(9000, 2)
    expected = step_after_step(samples, **KNOWN)
    for keep in (None, [1, 4096, 4097, 8192, 9000]):
        got = propagate(DISCRETE, np.ones(2), {"direction": samples}, keep=keep, **KNOWN)
        assert np.allclose(got, expected if keep is None else expected[keep], rtol=1e-12)


def test_more_neurons_than_are_taken_at_a_time_make_no_difference():
    samples = forcing(40, 25_000)
    whole = propagate(DISCRETE, np.ones(25_000), {"direction": samples}, **KNOWN)
    last = propagate(DISCRETE, np.ones(25_000), {"direction": samples}, keep=[40], **KNOWN)
    assert np.allclose(whole, step_after_step(samples, **KNOWN), rtol=1e-12)
    assert np.allclose(last[0], whole[-1], rtol=1e-13)


def test_blocks_end_at_kept_steps_and_are_never_longer_than_allowed():
    edges = block_edges(np.array([1, 7, 500]), 1000)
    assert {0, 1, 7, 500, 1000} <= set(edges.tolist())
    assert np.diff(edges).min() > 0
    assert np.diff(edges).max() <= LONG


# In pieces


def pieces(law, drives, edges, quadrature="constant", **known):
    options = {} if law is DISCRETE else {"quadrature": quadrature}
    state, rows = start(law, np.ones(NEURONS), **options), [np.ones((1, NEURONS))]
    for first, last in pairwise(edges):
        part = {name: x[first:last] for name, x in drives.items()}
        now = {name: x[first:last] if np.ndim(x) else x for name, x in known.items()}
        charge, state = advance(law, state, part, steps=last - first, **now)
        rows.append(charge[1:])
    return np.concatenate(rows), state


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, STEPS - 1), max_size=5, unique=True).map(sorted),
    st.sampled_from(["constant", "linear", "riemann"]),
)
def test_pieces_make_the_whole_to_rounding(cuts, quadrature):
    edges = [0, *cuts, STEPS]
    known = KNOWN | {"lr": cosine()}
    for law, form, more in ((DISCRETE, "direction", {}), (CONTINUOUS, "velocity", {"step_size": cosine()})):
        options = {} if law is DISCRETE else {"quadrature": quadrature}
        whole = propagate(law, np.ones(NEURONS), {form: forcing()}, **known, **more, **options)
        got, state = pieces(law, {form: forcing()}, edges, **known, **more, **options)
        assert np.allclose(got, whole, rtol=1e-13)
        assert np.array_equal(state.charge, got[-1])
        assert state.steps == STEPS


def test_a_step_size_that_changes_between_pieces_is_the_one_before_for_one_step():
    """Pieces of constant steps, 0.1 and then 0.2, against one run with the schedule."""
    steps = np.repeat([0.1, 0.2], [300, 400])
    whole = propagate(CONTINUOUS, np.ones(NEURONS), {"velocity": forcing()}, step_size=steps, quadrature="linear", **KNOWN)
    state, ends = start(CONTINUOUS, np.ones(NEURONS), quadrature="linear"), []
    for part, h in ((slice(0, 300), 0.1), (slice(300, 700), 0.2)):
        charge, state = advance(CONTINUOUS, state, {"velocity": forcing()[part]}, step_size=h, **KNOWN)
        ends.append(charge[1:])
    assert np.allclose(np.concatenate(ends), whole[1:], rtol=1e-13)


def test_a_state_of_another_law_is_refused():
    with pytest.raises(PropagationError, match="state: expected 2 rows, got 1"):
        advance(DISCRETE, start(derived("scale", "plain"), np.ones(2)), {"direction": np.ones((3, 2))}, **KNOWN)


def test_a_state_can_be_gone_on_from_twice_and_is_not_changed():
    state = start(DISCRETE, np.ones(NEURONS))
    _, half = advance(DISCRETE, state, {"direction": forcing()[:300]}, **KNOWN)
    before = half.values.copy()
    ends = [advance(DISCRETE, half, {"direction": forcing()[300:]}, **KNOWN)[1].charge for _ in range(2)]
    assert np.array_equal(*ends)
    assert np.array_equal(half.values, before)
    assert (state.fresh, half.fresh, half.steps) == (True, False, 300)


def test_only_the_first_step_of_the_first_piece_is_undamped():
    found = discrete_law(scale(), sgd(momentum=True, dampening=True))
    known, samples = KNOWN | {"dampening": 0.5}, {"direction": forcing(), "breaking": forcing(seed=1) - 0.5}
    whole = propagate(found, np.ones(NEURONS), samples, keep=[STEPS], **known)
    state = start(found, np.ones(NEURONS))
    for part in (slice(0, 10), slice(10, STEPS)):
        _, state = advance(found, state, {name: x[part] for name, x in samples.items()}, **known)
    assert np.allclose(state.charge, whole[0], rtol=1e-13)
    resumed = start(found, np.ones(NEURONS), velocity_exists=True)
    _, other = advance(found, resumed, samples, **known)
    assert not np.allclose(other.charge, whole[0], rtol=1e-6)


# Precision


SLOW = {"lr": 0.01, "momentum": 0.99, "weight_decay": 1e-5}


@pytest.mark.parametrize("known", [KNOWN, SLOW], ids=["quick", "slow"])
def test_single_precision_drives_keep_six_digits_over_a_long_run(known):
    """Against the same recurrence in fifty digits, on the float32 numbers that were given."""
    samples = forcing(20_000, 2, np.float32)
    exact = fifty_digits(samples[:, 0].tolist(), **known)
    for layout in (np.ascontiguousarray, np.asfortranarray):
        got = propagate(DISCRETE, np.ones(2), {"direction": layout(samples)}, keep=[20_000], **known)[0]
        assert got[0] == pytest.approx(exact, rel=1e-6)
    double = propagate(DISCRETE, np.ones(2), {"direction": samples.astype(float)}, keep=[20_000], **known)[0]
    assert double[0] == pytest.approx(exact, rel=1e-13)
    assert got.dtype == np.float64


def fifty_digits(samples, lr, momentum, weight_decay):
    with mpmath.workdps(50):
        lr, beta, decay = map(mpmath.mpf, (lr, momentum, weight_decay))
        charge, overlap = mpmath.mpf(1), mpmath.mpf(0)
        for w in samples:
            tau = beta * overlap + decay * charge
            charge, overlap = charge - 2 * lr * tau + lr**2 * mpmath.mpf(w), tau - lr * mpmath.mpf(w)
        return float(charge)


def test_a_state_in_single_precision_would_not_pass():
    samples = forcing(20_000, 2, np.float32)
    single = step_after_step(
        samples[:, :1], **{name: np.float32(value) for name, value in SLOW.items()}, initial=np.float32(1)
    )
    assert single.dtype == np.float32
    assert abs(single[-1, 0] / fifty_digits(samples[:, 0].tolist(), **SLOW) - 1) > 1e-6


# Types and layouts

LAYOUTS = {
    "column-major": np.asfortranarray,
    "every second neuron": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "every second step": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every second of both": lambda x: np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2],
    "backwards": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "read-only": lambda x: np.broadcast_to(x, x.shape),
    "a list of lists": lambda x: x.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("keep", [None, [350, STEPS]], ids=["all", "few"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_how_the_samples_lie_in_memory_makes_no_difference(layout, keep, dtype):
    plain, odd = (
        propagate(DISCRETE, np.ones(NEURONS), {"direction": x}, keep=keep, **KNOWN)
        for x in (forcing(dtype=dtype), layout(forcing(dtype=dtype)))
    )
    assert np.allclose(plain, odd, rtol=1e-6 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, np.int8, np.uint8, np.int64])
@pytest.mark.parametrize("keep", [None, [STEPS]], ids=["all", "few"])
def test_any_real_numbers_will_do(dtype, keep):
    samples = (4 * forcing()).astype(dtype)
    got = propagate(DISCRETE, np.ones(NEURONS), {"direction": samples}, keep=keep, **KNOWN)
    expected = propagate(DISCRETE, np.ones(NEURONS), {"direction": samples.astype(float)}, keep=keep, **KNOWN)
    assert np.allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [complex, bool, object, "U3"])
def test_what_is_no_real_number_is_refused_by_name(dtype):
    with pytest.raises(PropagationError, match="direction: expected real numbers, got dtype"):
        propagate(DISCRETE, np.ones(NEURONS), {"direction": np.ones((3, NEURONS)).astype(dtype)}, **KNOWN)


def test_no_neurons_and_no_steps_are_sizes_too():
    assert propagate(DISCRETE, np.ones(0), {"direction": np.ones((4, 0))}, **KNOWN).shape == (5, 0)
    assert propagate(DISCRETE, np.ones(0), {"direction": np.ones((4, 0))}, keep=[4], **KNOWN).shape == (1, 0)
    assert propagate(DISCRETE, np.ones(3), {"direction": np.ones((0, 3))}, **KNOWN).tolist() == [[1.0] * 3]
    assert propagate(CONTINUOUS, np.ones(3), {"velocity": np.ones((0, 3))}, step_size=0.1, **KNOWN).shape == (1, 3)


# What is not finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("keep", [None, [STEPS], []], ids=["all", "last", "none"])
@pytest.mark.parametrize("place", [0, 1, 350, STEPS - 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_bad_sample_is_found_wherever_it_is(bad, keep, place, dtype):
    samples = forcing(dtype=dtype)
    samples[place, 3] = bad
    with pytest.raises(PropagationError, match="direction: expected finite numbers"):
        propagate(DISCRETE, np.ones(NEURONS), {"direction": samples}, keep=keep, **KNOWN)


@pytest.mark.parametrize("keep", [None, [STEPS]], ids=["all", "last"])
def test_a_bad_sample_is_found_where_the_step_gives_it_no_weight(keep):
    """lr = 0 at that step, so that the sample is multiplied by 0."""
    samples, lr = forcing(), np.full(STEPS, 0.1)
    samples[350, 3], lr[350] = np.nan, 0.0
    with pytest.raises(PropagationError, match="gradient: expected finite numbers"):
        propagate(discrete_law(scale(), sgd()), np.ones(NEURONS), {"gradient": samples}, keep=keep, lr=lr, weight_decay=0.1)


def test_a_drive_whose_weight_underflows_is_checked_too():
    samples = forcing(dtype=np.float32)
    samples[0, 0] = np.nan
    with pytest.raises(PropagationError, match="gradient: expected finite numbers"):
        propagate(
            discrete_law(scale(), sgd()), np.ones(NEURONS), {"gradient": samples}, keep=[STEPS], lr=0.5, weight_decay=1.9
        )


@pytest.mark.parametrize("keep", [None, [STEPS], [10, STEPS]], ids=["all", "last", "two"])
def test_a_run_that_overflows_is_refused_and_says_so(keep):
    with pytest.raises(PropagationError, match="expected a run whose charge stays finite"):
        propagate(
            DISCRETE, np.ones(NEURONS), {"direction": forcing()}, keep=keep, **KNOWN | {"lr": 1e4, "weight_decay": 1.0}
        )


def test_weights_beyond_single_precision_are_applied_in_double():
    """The charge grows by 10⁴ a step: 10⁴⁰ after ten, from drives in float32."""
    known = {"lr": 101.0, "weight_decay": 1.0}
    samples = forcing(20, 2, np.float32)
    got = propagate(discrete_law(scale(), sgd()), np.ones(2), {"gradient": samples}, keep=[20], **known)[0]
    expected = np.ones(2)
    for row in samples.astype(float):
        expected = 1e4 * expected + 101.0**2 * row
    assert np.allclose(got, expected, rtol=1e-7)


# Neurons that differ


def test_neurons_with_hyper_parameters_of_their_own_are_runs_of_their_own():
    decay, lr = np.array([[0.0, 1e-3, 0.1, 1e-3, 0.5]]), np.outer(cosine(), [1, 2, 3, 2, 1])
    for law, form, more in ((DISCRETE, "direction", {}), (CONTINUOUS, "velocity", {"step_size": lr})):
        known = {"lr": lr, "momentum": 0.9, "weight_decay": decay}
        together = propagate(law, np.ones(NEURONS), {form: forcing()}, **known, **more)
        for neuron in range(NEURONS):
            own = {"lr": lr[:, neuron], "momentum": 0.9, "weight_decay": decay[0, neuron]}
            step = {"step_size": lr[:, neuron]} if more else {}
            alone = propagate(law, np.ones(1), {form: forcing()[:, neuron : neuron + 1]}, **own, **step)
            assert np.allclose(together[:, neuron], alone[:, 0], rtol=1e-12)


def test_neurons_of_their_own_that_agree_are_as_if_they_were_not():
    alike = propagate(DISCRETE, np.ones(NEURONS), {"direction": forcing()}, **KNOWN)
    own = propagate(
        DISCRETE, np.ones(NEURONS), {"direction": forcing()}, **KNOWN | {"weight_decay": np.full((1, NEURONS), 1e-3)}
    )
    assert np.allclose(alike, own, rtol=1e-13)


def test_one_step_at_a_time_and_many_at_once_are_the_same_recurrence():
    """Random matrices of three components and two drives, which no law has."""
    rng = np.random.default_rng(3)
    A, B = rng.uniform(-0.5, 0.5, (60, 3, 3)), rng.uniform(-1, 1, (60, 3, 2))
    drives, state = [rng.normal(size=(60, 4)) for _ in range(2)], rng.normal(size=(3, 4))
    expected = [state]
    for n in range(60):
        expected.append(A[n] @ expected[-1] + sum(B[n, :, j, None] * drives[j][n] for j in range(2)))
    own = StepMatrices(np.repeat(A[:, None], 4, axis=1), np.repeat(B[:, None], 4, axis=1))
    for steps in (StepMatrices(A, B), own):
        for keep in (np.arange(1, 61), np.array([7, 60])):
            out = np.empty((len(keep), 4))
            final = recur(steps, state, drives, keep, out)
            assert np.allclose(final, expected[-1], rtol=1e-12, atol=1e-13)
            assert np.allclose(out, np.array(expected)[keep, 0], rtol=1e-12, atol=1e-13)
