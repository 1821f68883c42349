"""On real runs the continuous laws err by as much as their order says, no more and no less, and follow an oscillation.

The step is halved at fixed training time T = Σ η, without noise (one batch of all the data), so that runs differ by
nothing but the step. The paper's laws of order 1 err in O(η): plain SGD's drop ηλ², and those with momentum start at
Q' = 0. With ηλ² kept, plain SGD's err in O(η²).
"""

from math import pi, sqrt

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from derive import law  # noqa: E402
from derive import sgd as rule  # noqa: E402
from numerics import propagate  # noqa: E402
from tests.torch_bridge.small_network import recorded  # noqa: E402
from torch_bridge.discover import find_symmetries  # noqa: E402
from torch_bridge.evaluate import evaluate  # noqa: E402
from torch_bridge.recorder import Recorder  # noqa: E402
from torch_bridge.run_log import RunLog  # noqa: E402
from torch_bridge.symmetry_map import KINDS  # noqa: E402

TIME, DECAY = 2.0, 0.02
VARIANTS = {
    "plain": ({}, (0.1, 0.05, 0.025)),
    "momentum": ({"momentum": 0.9}, (0.02, 0.01, 0.005)),
    "nesterov": ({"momentum": 0.9, "nesterov": True}, (0.02, 0.01, 0.005)),
    "dampening": ({"momentum": 0.9, "dampening": 0.5}, (0.04, 0.02, 0.01)),
}
"""Settings, and learning rates for which ηλ(1+β)/(1−β)² is small: where the order shows."""


def train(folder, lr: float, settings) -> RunLog:
    """All data in one batch, in float64, for the time ``TIME``; batch norm's eps is too small to be seen here."""
    torch.manual_seed(0)
    hidden = nn.Linear(5, 6), nn.BatchNorm1d(6, eps=1e-12), nn.ReLU(), nn.Linear(6, 4), nn.ReLU()
    model = nn.Sequential(*hidden, nn.Linear(4, 3)).double()
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(20, 5, generator=generator, dtype=torch.float64), torch.randint(3, (20,), generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, weight_decay=DECAY, **settings)
    with Recorder(optimizer, find_symmetries(model, x), folder, every=1):
        for _ in range(round(TIME / lr)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return RunLog.open(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Logs of a variant, one a learning rate, from large to small; trained once."""
    trained = {}

    def get(variant):
        if variant not in trained:
            settings, rates = VARIANTS[variant]
            folder = tmp_path_factory.mktemp("runs")
            trained[variant] = [train(folder / f"{lr}", lr, settings) for lr in rates]
        return trained[variant]

    return get


@pytest.fixture(scope="module")
def errors(runs):
    """Worst gap of the law of an order, for each run of a variant."""
    evaluated = {}

    def get(variant, kind, order=1):
        if (variant, order) not in evaluated:
            evaluated[variant, order] = [evaluate(log, order) for log in runs(variant)]
        return np.array([worst(held, kind) for held in evaluated[variant, order]])

    return get


def worst(comparison, kind):
    return max(float(group.gap().max()) for group in comparison.of_kind(kind))


def slopes(errors):
    """d log(error) / d log(η), between each run and the one with half its step."""
    return np.log2(errors[:-1] / errors[1:])


def errors_with_squared_decay(logs, kind):
    """The same for plain SGD's law with the ηλ² that the paper drops."""
    kept = law(KINDS[kind](), rule(), 1, keep_weight_decay_squared=True)
    return np.array([max(_gap(log, kept, index) for index, g in enumerate(log.groups) if g.kind == kind) for log in logs])


def _gap(log, continuous, index):
    hyper = log.hyper(index)
    drive = {"gradient": log.channel(index, "gradient")} if continuous.drive_forms else {}
    known = {name: hyper[name] for name in continuous.hyper_parameters}
    predicted = propagate(continuous, log.charge(index)[0], drive, step_size=hyper["lr"], steps=log.steps, **known)
    return float((np.abs(predicted - log.charge(index)) / log.magnitude(index)).max())


def test_the_slope_of_a_known_power_is_that_power():
    eta = np.array([0.4, 0.2, 0.1])
    np.testing.assert_allclose(slopes(3 * eta), 1)
    np.testing.assert_allclose(slopes(3 * eta**2), 2)
    assert (np.abs(slopes(np.sqrt(eta)) - 1) > 0.15).all()


@pytest.mark.parametrize("kind", ["translation", "scale", "rescale"])
@pytest.mark.parametrize("variant", ["plain", "momentum", "dampening"])
def test_the_papers_law_is_of_first_order(errors, variant, kind):
    found = errors(variant, kind)
    assert (np.abs(slopes(found) - 1) <= 0.15).all()
    assert found[-1] > 1e-6


@pytest.mark.parametrize("kind", ["translation", "rescale"])
def test_nesterovs_law_is_of_first_order_where_there_is_no_noise(errors, kind):
    found = errors("nesterov", kind)
    assert (np.abs(slopes(found) - 1) <= 0.15).all()
    assert found[-1] > 1e-6


@pytest.mark.parametrize("kind", ["translation", "scale", "rescale"])
def test_plain_sgds_law_with_squared_decay_is_of_second_order(runs, errors, kind):
    found = errors_with_squared_decay(runs("plain"), kind)
    assert (np.abs(slopes(found) - 2) <= 0.15).all()
    assert found[-1] > 1e-10
    assert (found < 0.2 * errors("plain", kind)).all()


@pytest.mark.parametrize("kind", ["scale", "rescale"])
@pytest.mark.parametrize("variant", ["plain", "momentum", "dampening"])
def test_gradient_flow_with_decay_errs_far_more_for_lack_of_the_drive(errors, variant, kind):
    """Both err in O(η), but order 0 by all of the drive, and order 1 only by what vanishes with λ or with time."""
    assert (errors(variant, kind, order=0) > 5 * errors(variant, kind)).all()


def test_gradient_flow_with_decay_is_of_first_order_too(errors):
    for kind in ("scale", "rescale"):
        assert (np.abs(slopes(errors("plain", kind, order=0)) - 1) <= 0.15).all()


def test_for_plain_sgds_translations_order_0_and_1_are_one_law(errors):
    assert errors("plain", "translation", order=0) == pytest.approx(errors("plain", "translation"), rel=1e-9)


def test_the_exact_law_has_no_order_at_all(runs):
    for variant in VARIANTS:
        assert evaluate(runs(variant)[0]).worst("exact") <= 1e-12


# --- oscillation ---


@pytest.fixture(scope="module")
def oscillation(tmp_path_factory):
    """Translations under strong momentum, at the paper's learning rate and weight decay."""
    log = recorded(tmp_path_factory.mktemp("runs") / "run", steps=330, settings={"momentum": 0.99})
    return evaluate(log).of_kind("translation")


def zeros(curves):
    """Number of sign changes of each column."""
    return (np.diff(np.sign(curves), axis=0) != 0).sum(axis=0)


def test_at_momentum_099_a_translation_charge_swings_through_zero_and_the_law_follows(oscillation):
    for group in oscillation:
        initial = np.abs(group.measured[0])
        assert (zeros(group.measured) == 2).all()
        assert (zeros(group.predicted) == 2).all()
        assert (np.abs(group.predicted - group.measured) < 0.01 * initial).all()
        assert (np.abs(group.predicted - group.measured).max(axis=0) > 0.001 * initial).all()


def test_it_swings_with_the_frequency_and_the_damping_of_the_papers_oscillator(oscillation):
    """γ = (1−β)/(η(1+β)), ω² = 2λ/(η(1+β)): the first minimum is −e^{−γπ/Ω} at π/Ω, Ω² = ω² − γ²."""
    gamma, omega2 = 0.01 / (0.1 * 1.99), 2 * 5e-3 / (0.1 * 1.99)
    half_turn = pi / sqrt(omega2 - gamma**2)
    for group in oscillation:
        ratio = group.measured / group.measured[0]
        assert group.time[ratio.argmin(axis=0)] == pytest.approx(half_turn, rel=0.02)
        assert ratio.min(axis=0) == pytest.approx(-np.exp(-gamma * half_turn), abs=0.01)


def test_at_momentum_09_it_does_not_swing(tmp_path):
    for group in evaluate(recorded(tmp_path / "run", steps=330, settings={"momentum": 0.9})).of_kind("translation"):
        assert (zeros(group.measured) == 0).all()
        assert group.gap().max() < 0.005
