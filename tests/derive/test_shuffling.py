"""Modified losses of an epoch, against the exact average over every order of the batches."""

from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import permutations, product
from math import log2

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from derive import UnsupportedError, modified_loss, sgd
from derive.derivation import DerivationError, Step
from derive.shuffling import average_over_orders, batch_count, compose_steps, epoch_loss
from derive.symbols import lr as eta

x, y = sp.symbols("x y", real=True)
SAMPLINGS = ("reshuffling", "independent")

# Known answers


@pytest.mark.parametrize("m", [1, 2, 3, 5, 40, batch_count])
def test_reshuffling_penalises_the_gradient_of_each_batch(m):
    """L + (η/4m) Σ|∇L_k|² (Smith, Dherin, Barrett & De 2021)."""
    loss = epoch_loss(m)
    assert (loss.full, loss.single) == (0, sp.Rational(1, 4))


@pytest.mark.parametrize("m", [1, 2, 3, 4, 40, batch_count])
def test_independent_batches_have_the_modified_loss_of_full_batch_descent(m):
    loss = epoch_loss(m, "independent")
    assert (loss.full, loss.single) == (sp.Rational(1, 4), 0)
    assert sp.expand(loss.field - modified_loss(sgd(weight_decay=False)).field) == 0


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 6])
def test_listing_every_order_finds_half_a_pair_and_no_batch_before_itself(m):
    pairs = {(k, j): Fraction(1, 2) for k in range(1, m + 1) for j in range(1, m + 1) if k != j}
    assert average_over_orders(m) == pairs


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_listing_every_draw_finds_all_pairs_alike(m):
    pairs = {(k, j): Fraction(m - 1, 2 * m) for k in range(1, m + 1) for j in range(1, m + 1)} if m > 1 else {}
    assert average_over_orders(m, "independent") == pairs


def test_steps_compose_as_euler_maps_do():
    """θ − ηg_1 − ηg_2(θ − ηg_1) − …: on L_k = a_k x²/2 the maps are numbers 1 − ηa_k."""
    a = sp.symbols("a_1:4")
    first, second = compose_steps((3, 1, 2))
    series = (
        1
        - eta * sum(n * a[k - 1] for k, n in first.items())
        + eta**2 * sum(n * a[k - 1] * a[j - 1] for (k, j), n in second.items())
    )
    composed = sp.expand(sp.prod(1 - eta * a[k - 1] for k in (3, 1, 2)))
    assert sp.expand(composed - series) == -(eta**3) * sp.prod(a)


def test_an_epoch_on_parabolas_has_the_logarithm_of_its_multiplier_for_a_rate():
    """log((1 − ηa)(1 − ηb))/(2η) = −(a + b)/2 − η(a² + b²)/4 + O(η²)."""
    a, b = sp.symbols("a b", positive=True)
    modified = epoch_loss(2).of([a * x**2 / 2, b * x**2 / 2], [x])
    assert sp.expand(-modified.diff(x) / x + (a + b) / 2 + eta * (a**2 + b**2) / 4) == 0


def test_reshuffling_adds_the_spread_of_the_batch_gradients():
    losses = [x**2 * y, x * y - y**3, 2 * x]
    shuffled, drawn = (epoch_loss(3, sampling).of(losses, [x, y]) for sampling in SAMPLINGS)
    mean = sp.Add(*losses) / 3
    spread = sum((loss - mean).diff(v) ** 2 for loss in losses for v in (x, y)) / 3
    assert sp.expand(shuffled - drawn - eta / 4 * spread) == 0


def test_batches_that_are_all_alike_make_no_difference():
    losses = [x**2 * y + x] * 4
    assert sp.expand(epoch_loss(4).of(losses, [x, y]) - epoch_loss(4, "independent").of(losses, [x, y])) == 0


# Numbers: three batches of polynomial losses

LOSSES = (x**2 / 2 + y**2 + x**2 * y / 3, x**2 - x * y + y**3 / 4 - x, y**2 / 2 + x * y**2 / 2 + y)
START = np.array([0.6, -0.3])
STEPS = (sp.Rational(1, 128), sp.Rational(1, 256))


@cache
def mean_end(sampling, step):
    """The mean of θ after an epoch, over every order or draw: no theory in it."""
    slopes = [sp.lambdify((x, y), [loss.diff(v) for v in (x, y)], "math") for loss in LOSSES]
    orders = list(permutations(slopes)) if sampling == "reshuffling" else list(product(slopes, repeat=len(slopes)))
    ends = []
    for order in orders:
        theta = START
        for slope in order:
            theta = theta - float(step) * np.array(slope(*theta))
        ends.append(theta)
    return np.mean(ends, axis=0)


def observed_order(sampling, loss):
    """Slope over η of the distance between the mean end of an epoch and the flow on ``loss`` for the time mη."""

    def error(step):
        field = sp.lambdify((x, y), [-loss.subs(eta, step).diff(v) for v in (x, y)], "math")
        time = len(LOSSES) * float(step)
        flow = solve_ivp(lambda t, v: field(*v), (0, time), START, method="DOP853", rtol=1e-13, atol=1e-15)
        return float(np.linalg.norm(mean_end(sampling, step) - flow.y[:, -1]))

    return log2(error(STEPS[0]) / error(STEPS[1]))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_an_epoch_follows_its_modified_loss_with_an_error_of_third_order_and_no_higher(sampling):
    assert observed_order(sampling, epoch_loss(3, sampling).of(LOSSES, (x, y))) == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize(("sampling", "other"), [SAMPLINGS, SAMPLINGS[::-1]])
def test_the_loss_of_the_other_sampling_would_be_seen(sampling, other):
    assert observed_order(sampling, epoch_loss(3, other).of(LOSSES, (x, y))) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_loss_itself_is_followed_with_an_error_of_second_order_only(sampling):
    assert observed_order(sampling, sp.Add(*LOSSES) / 3) == pytest.approx(2, abs=0.15)


# The steps and refusals


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_every_step_is_checked_and_few_batches_are_listed(sampling):
    listed, general = epoch_loss(4, sampling).derivation.all_steps, epoch_loss(sampling=sampling).derivation.all_steps
    assert all(isinstance(step, Step) for step in (*listed, *general))
    assert [step.rule for step in listed] == ["average over all orders", *(step.rule for step in general)]
    assert general[-1].before == general[-2].after


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_step_with_another_outcome_is_refused(number):
    step = epoch_loss(3).derivation.all_steps[number]
    with pytest.raises(DerivationError, match=f"step {step.rule!r}"):
        replace(step, after=2 * step.after)


@pytest.mark.parametrize("batches", [0, -1, sp.Rational(3, 2), 2.5, sp.Symbol("n")])
def test_what_is_no_number_of_batches_is_refused(batches):
    with pytest.raises(ValueError, match="batches: expected a positive integer or a symbol for one, got"):
        epoch_loss(batches)


def test_another_sampling_or_number_of_losses_is_refused():
    with pytest.raises(UnsupportedError, match="sampling: expected 'reshuffling' or 'independent', got 'cyclic'"):
        epoch_loss(3, "cyclic")
    with pytest.raises(ValueError, match="losses: expected one for each of the 3 batches, got 2"):
        epoch_loss(3).of([x, y], (x, y))


def test_the_loss_shows_its_penalty():
    assert epoch_loss()._repr_latex_() == r"$\widetilde L = L + \frac{\eta}{4 m} \sum_{k=1}^{m} |\nabla L_k|^2$"
    assert epoch_loss(sampling="independent")._repr_latex_() == r"$\widetilde L = L + \frac{\eta}{4} |\nabla L|^2$"
