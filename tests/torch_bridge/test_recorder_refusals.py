"""A recording that cannot start, or not go on, says why, and what was recorded until then can be read."""

import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.torch_bridge.small_network import VARIANTS, gap, network, recorded, sgd, train  # noqa: E402
from torch_bridge.pending_rows import rows_before_nonfinite  # noqa: E402
from torch_bridge.recorder import Recorder, RecordingError  # noqa: E402
from torch_bridge.run_log import RunLog, RunLogError  # noqa: E402
from torch_bridge.symmetry_map import SymmetryMap  # noqa: E402

# --- the run ends badly ---


class Stop(Exception):
    pass


def test_an_exception_of_the_user_passes_through_and_the_log_is_flushed(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries)

    def stop(step):
        if step == 4:
            raise Stop

    with pytest.raises(Stop), Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 9, each=stop)
    train(symmetries.model, optimizer, 2)
    log = RunLog.open(tmp_path / "run")
    assert (log.steps, log.complete) == (4, False)
    assert gap(log, 0) < 1e-12


def poison(symmetries, at, value, name="3.weight"):
    def each(step):
        if step == at:
            symmetries.model.get_parameter(name).grad[0, 0] = value

    return each


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e200])
@pytest.mark.parametrize("variant", ["plain", "momentum", "nesterov"])
def test_a_number_that_is_not_finite_ends_the_recording_at_its_step_and_names_the_symmetry(tmp_path, variant, value):
    symmetries = network()
    optimizer = sgd(symmetries, **VARIANTS[variant])
    with (
        pytest.raises(RecordingError, match=r"step 7: .* of the rescale symmetry '3 -> 5', neuron 0"),
        Recorder(optimizer, symmetries, tmp_path / "run", every=2),
    ):
        train(symmetries.model, optimizer, 12, each=poison(symmetries, 7, value))
    log = RunLog.open(tmp_path / "run")
    assert (log.steps, log.complete) == (7, False)
    assert max(gap(log, group) for group in range(len(log.groups))) < 1e-12


@pytest.mark.parametrize(
    ("row", "step", "good", "owner"),
    [
        (None, None, 6, None),
        (4, None, 4, "breaking of the scale symmetry '0 -> 1', neuron 1"),
        (0, None, 0, "breaking of the scale symmetry '0 -> 1', neuron 1"),
        (None, 13, 2, "charge of the rescale symmetry '3 -> 5', neuron 2"),
        (4, 13, 2, "charge of the rescale symmetry '3 -> 5', neuron 2"),
        (1, 13, 1, "breaking of the scale symmetry '0 -> 1', neuron 1"),
        (4, 15, 4, "breaking of the scale symmetry '0 -> 1', neuron 1"),
        (None, 10, 0, "charge of the rescale symmetry '3 -> 5', neuron 2"),
    ],
)
def test_rows_that_were_not_looked_at_one_by_one_end_before_the_first_bad_one(tmp_path, row, step, good, owner):
    """As on an accelerator: six rows from step 10 on, charges after 13 and 15 steps (10: an earlier row's)."""
    header = recorded(tmp_path / "run", steps=1).header
    forcing = np.zeros((6, header.columns))
    if row is not None:
        forcing[row:, 1] = math.inf
    charges = [(at, np.zeros(header.neurons), np.zeros(header.neurons)) for at in (10, 13, 15)]
    for at, _, magnitude in charges:
        magnitude[8] = math.nan if at == step else 0
    assert rows_before_nonfinite(header, 10, forcing, charges) == (good, owner)


def test_after_a_failed_recording_training_can_go_on_and_the_log_stays_as_it_was(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        with pytest.raises(RecordingError):
            train(symmetries.model, optimizer, 12, each=poison(symmetries, 3, math.nan))
        before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
        train(symmetries.model, optimizer, 5)
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before
    assert ".lock" not in before
    assert not RunLog.open(tmp_path / "run").complete


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the platform has no disk that is always full")
def test_a_full_disk_is_reported_and_what_was_written_before_can_be_read(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries)

    def fill_disk(step):
        for name in ("segment-000000002.npz.part", "segment-000000004.npz.part"):
            if step == 2:
                (tmp_path / "run" / name).symlink_to("/dev/full")

    recorder = Recorder(optimizer, symmetries, tmp_path / "run", flush_every=2)
    with pytest.raises(RunLogError, match="No space left on device"), recorder:
        train(symmetries.model, optimizer, 8, each=fill_disk)
    train(symmetries.model, optimizer, 2)
    assert RunLog.open(tmp_path / "run").steps in (2, 4)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the platform has no disk that is always full")
def test_an_exception_of_the_user_passes_through_even_if_the_log_cannot_be_flushed(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries)

    def stop(step):
        if step == 4:
            (tmp_path / "run" / "segment-000000000.npz.part").symlink_to("/dev/full")
            raise Stop

    recorder = Recorder(optimizer, symmetries, tmp_path / "run", every=1)
    with pytest.warns(RuntimeWarning, match="No space left on device"), pytest.raises(Stop), recorder:
        train(symmetries.model, optimizer, 9, each=stop)


def test_parameters_spoilt_after_the_last_step_are_not_measured(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries)
    recorder = Recorder(optimizer, symmetries, tmp_path / "run", every=3, flush_every=2)

    def train_and_spoil():
        train(symmetries.model, optimizer, 4)
        with torch.no_grad():
            symmetries.model[3].weight[2, 0] = math.nan

    with pytest.raises(RecordingError, match=r"charge of the rescale symmetry '3 -> 5', neuron 2"), recorder:
        train_and_spoil()
    log = RunLog.open(tmp_path / "run")
    assert (log.steps, log.complete, log.charge_steps.tolist()) == (4, False, [0, 3])


def test_parameters_that_are_not_finite_at_attach_are_refused_before_a_folder_is_made(tmp_path):
    symmetries = network()
    with torch.no_grad():
        symmetries.model[3].weight[2, 0] = math.nan
    with pytest.raises(RecordingError, match=r"step 0: .*'3 -> 5', neuron 2"):
        Recorder(sgd(symmetries), symmetries, tmp_path / "run", every=1).__enter__()
    assert not (tmp_path / "run").exists()


# --- what is refused ---


def refusal(tmp_path, symmetries, optimizer, match, **options):
    """Refused before a folder is made."""
    with pytest.raises(RecordingError, match=match):
        Recorder(optimizer, symmetries, tmp_path / "run", **options).__enter__()
    assert not (tmp_path / "run").exists()


class MySGD(torch.optim.SGD):
    pass


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, MySGD])
def test_an_optimizer_that_is_not_stock_sgd_is_refused(tmp_path, kind):
    symmetries = network()
    refusal(tmp_path, symmetries, kind(symmetries.model.parameters(), lr=0.1), r"expected torch\.optim\.SGD itself")


@pytest.mark.parametrize("flag", ["maximize", "differentiable"])
def test_another_update_of_sgd_is_refused(tmp_path, flag):
    symmetries = network()
    refusal(tmp_path, symmetries, sgd(symmetries, **{flag: True}), f"expected {flag}=False")


def test_a_differentiable_weight_decay_is_refused(tmp_path):
    symmetries = network()
    decay = torch.tensor(0.1, requires_grad=True)
    refusal(tmp_path, symmetries, sgd(symmetries, weight_decay=decay), "weight_decay: expected a number")


def test_a_model_without_a_symmetry_is_refused(tmp_path):
    optimizer = sgd(network())
    empty = SymmetryMap((), blocked=("GELU is not homogeneous",), model=nn.Linear(1, 1))
    refusal(tmp_path, empty, optimizer, r"a model without a symmetry \(GELU is not homogeneous\)")


def test_a_map_without_its_model_is_refused(tmp_path):
    symmetries = network()
    refusal(tmp_path, SymmetryMap(symmetries.groups), sgd(symmetries), "expected a map with its model")


def test_a_parameter_that_the_optimizer_does_not_update_is_refused(tmp_path):
    symmetries = network()
    optimizer = torch.optim.SGD(list(symmetries.model.parameters())[:-1], lr=0.1)
    refusal(tmp_path, symmetries, optimizer, r"none named '5\.bias'")


def test_half_precision_parameters_are_refused(tmp_path):
    symmetries = network(torch.bfloat16)
    refusal(tmp_path, symmetries, sgd(symmetries), "half precision")


def test_nesterov_in_some_groups_only_is_refused(tmp_path):
    symmetries = network()
    first, *rest = symmetries.model.parameters()
    parts = [{"params": [first], "momentum": 0.9, "nesterov": True}, {"params": rest, "momentum": 0.9}]
    refusal(tmp_path, symmetries, torch.optim.SGD(parts, lr=0.1), "nesterov: expected it on or off")


def test_a_start_with_only_some_momentum_buffers_is_refused_under_dampening(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries, momentum=0.9, dampening=0.5)
    train(symmetries.model, optimizer, 2)
    del optimizer.state[symmetries.model[3].weight]
    refusal(tmp_path, symmetries, optimizer, r"got none for \['3.weight'\]")


@pytest.mark.parametrize("option", [{"every": 0}, {"flush_every": 0}, {"every": 1.5}])
def test_a_cadence_that_is_no_number_of_steps_is_refused(tmp_path, option):
    symmetries = network()
    refusal(tmp_path, symmetries, sgd(symmetries), f"{next(iter(option))}: expected an integer", **option)


def test_weight_decay_that_erases_the_parameters_is_refused_where_they_are_needed(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries, lr=0.5, weight_decay=2.0)
    with (
        pytest.raises(RecordingError, match=r"step 0: weight_decay"),
        Recorder(optimizer, symmetries, tmp_path / "run", every=1),
    ):
        train(symmetries.model, optimizer, 1)


def test_momentum_needs_no_division_and_meets_the_law_there_too(tmp_path):
    log = recorded(tmp_path / "run", steps=5, settings={"lr": 0.5, "weight_decay": 2.0, "momentum": 0.5})
    assert max(gap(log, group) for group in range(4)) < 1e-12
    assert log.magnitude(4)[1].max() == 0


def changes(symmetries, optimizer):
    model, group = symmetries.model, optimizer.param_groups[0]

    def replaced():
        model[3].weight = nn.Parameter(model[3].weight.detach().clone())

    def reshaped():
        model[3].weight.grad = None
        model[3].weight.data = torch.zeros(5, 6, dtype=torch.float64)
        model[3].weight.grad = torch.zeros(5, 6, dtype=torch.float64)

    return {
        "add_param_group": lambda: optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]}),
        "replaced in the optimizer": lambda: group["params"].__setitem__(0, nn.Parameter(torch.ones(1))),
        "replaced in the model": replaced,
        "reshaped": reshaped,
        "removed": lambda: delattr(model[3], "weight"),
        "no gradient": lambda: setattr(model[3].weight, "grad", None),
        "momentum off": lambda: group.update(momentum=0),
        "nesterov on": lambda: group.update(nesterov=True),
        "maximize": lambda: group.update(maximize=True),
        "lr nan": lambda: group.update(lr=math.nan),
    }


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("add_param_group", "expected the parameter groups it had"),
        ("replaced in the optimizer", "expected the parameter groups it had"),
        ("replaced in the model", r"expected '3\.weight' as at attach"),
        ("reshaped", r"expected '3\.weight' as at attach"),
        ("removed", r"expected '3\.weight' as at attach"),
        ("no gradient", r"dense gradient for '3\.weight'"),
        ("momentum off", "momentum: expected momentum and Nesterov to stay"),
        ("nesterov on", "momentum: expected momentum and Nesterov to stay"),
        ("maximize", "expected maximize=False"),
        ("lr nan", "lr: expected a finite number"),
    ],
)
def test_a_change_that_is_not_covered_ends_the_recording_at_that_step(tmp_path, change, match):
    symmetries = network()
    optimizer = sgd(symmetries, momentum=0.9)

    def each(step):
        if step == 4:
            if change == "reshaped":
                optimizer.state.clear()
            changes(symmetries, optimizer)[change]()

    with (
        pytest.raises(RecordingError, match=f"step 4: .*{match}"),
        Recorder(optimizer, symmetries, tmp_path / "run", every=1),
    ):
        train(symmetries.model, optimizer, 8, each=each)
    log = RunLog.open(tmp_path / "run")
    assert (log.steps, log.complete) == (4, False)


def test_a_frozen_parameter_is_refused_at_the_first_step(tmp_path):
    symmetries = network()
    symmetries.model[5].bias.requires_grad_(False)
    optimizer = sgd(symmetries)
    with (
        pytest.raises(RecordingError, match=r"step 0: .*'5\.bias', got none"),
        Recorder(optimizer, symmetries, tmp_path / "run", every=1),
    ):
        train(symmetries.model, optimizer, 1)


def test_a_sparse_gradient_is_refused(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries, weight_decay=0.0, foreach=False)

    def sparsify(step):
        weight = symmetries.model[3].weight
        weight.grad = weight.grad.to_sparse()

    recorder = Recorder(optimizer, symmetries, tmp_path / "run", every=1)
    with pytest.raises(RecordingError, match=r"'3\.weight', got a sparse one"), recorder:
        train(symmetries.model, optimizer, 1, each=sparsify)


def test_a_taken_folder_is_refused_and_leaves_no_hook(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 2)
    with pytest.raises(RunLogError, match="never written over"):
        Recorder(optimizer, symmetries, tmp_path / "run", every=1).__enter__()
    train(symmetries.model, optimizer, 2)
    assert RunLog.open(tmp_path / "run").steps == 2
