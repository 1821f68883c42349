"""Laws that are carried forward during the run say what a replay of the logged forcing says, and keep none of it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.torch_bridge.small_network import VARIANTS, network, recorded, sgd, train  # noqa: E402
from torch_bridge.evaluate import evaluate  # noqa: E402
from torch_bridge.recorder import Recorder, RecordingError  # noqa: E402
from torch_bridge.run_header import PREDICTIONS  # noqa: E402
from torch_bridge.run_log import RunLog, RunLogError  # noqa: E402


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("variant", VARIANTS)
def test_online_predictions_are_those_of_the_replay_to_rounding(tmp_path, variant, order):
    options = {"settings": VARIANTS[variant], "schedule": True, "every": 3, "steps": 50, "flush_every": 8}
    replayed = evaluate(recorded(tmp_path / "logged", **options), order)
    carried = evaluate(recorded(tmp_path / "online", online=order, **options), order)
    for one, other in zip(replayed.groups, carried.groups, strict=True):
        assert one.group == other.group
        assert one.law == other.law
        for name in ("steps", "time", "weights", "measured", "magnitude", "conserved"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        for name in PREDICTIONS:  # pieces are summed in another order than the whole
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-13 * one.magnitude.max())
    assert carried.worst("exact") <= 1e-12


def test_divided_symmetries_and_a_start_in_the_middle_are_covered(tmp_path):
    held = []
    for name, online in {"logged": None, "online": 1}.items():
        symmetries = network()
        weights, biases = ([p for p in symmetries.model.parameters() if (p.ndim > 1) == big] for big in (True, False))
        parts = [{"params": weights}, {"params": biases, "weight_decay": 0.0, "lr": 0.02}]
        optimizer = torch.optim.SGD(parts, lr=0.1, weight_decay=5e-3, momentum=0.9)
        train(symmetries.model, optimizer, 5)
        with Recorder(optimizer, symmetries, tmp_path / name, online=online, flush_every=7):
            train(symmetries.model, optimizer, 30)
        held.append(evaluate(RunLog.open(tmp_path / name)))
    for one, other in zip(held[0].groups, held[1].groups, strict=True):
        for name in PREDICTIONS:
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-13 * one.magnitude.max())
    assert held[1].worst("exact") <= 1e-12


def test_the_log_holds_no_forcing_and_says_so(tmp_path):
    log = recorded(tmp_path / "run", online=1, every=20)
    assert sum(forcing.size for forcing, _ in log.chunks()) == 0
    with pytest.raises(RunLogError, match="name: expected one of"):
        log.channel(0, "breaking")
    with pytest.raises(RunLogError, match="order: expected 1, which the laws"):
        evaluate(log, order=0)
    assert not evaluate(log).worst("exact") > 1e-12


def test_its_size_does_not_grow_with_the_steps_between_two_charges(tmp_path):
    def size(steps):
        log = recorded(tmp_path / str(steps), online=1, every=steps, steps=steps, dtype=torch.float32)
        return sum(file.stat().st_size for file in log.path.glob("segment-*")) - 32 * steps

    assert size(200) == size(100)


@pytest.mark.parametrize("options", [{"online": 2}, {"online": 1, "resume": 3}, {"online": "yes"}])
def test_what_is_not_covered_is_refused(tmp_path, options):
    symmetries = network()
    with pytest.raises(RecordingError, match="online: expected 0, 1 or None"):
        Recorder(sgd(symmetries), symmetries, tmp_path / "run", **options)


def test_a_wrong_law_is_seen_in_the_online_predictions_too(tmp_path):
    log = recorded(tmp_path / "run", online=1, settings=VARIANTS["momentum"])
    assert evaluate(log).worst("predicted") > 1e-4
    assert 1e-8 < evaluate(log).worst("unbroken") < 1e-2  # batch norm's eps
