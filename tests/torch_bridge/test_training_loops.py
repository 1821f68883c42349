"""However a loop is written, what the optimizer did is recorded: the exact law holds to rounding for every charge."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.torch_bridge.small_network import IMPLEMENTATIONS, VARIANTS, gap, network, sgd, train  # noqa: E402
from torch_bridge.evaluate import evaluate  # noqa: E402
from torch_bridge.recorder import Recorder, RecordingError  # noqa: E402
from torch_bridge.run_log import RunLog, RunLogError  # noqa: E402

KINDS = ["plain", "momentum", "nesterov", "dampening"]


def assert_exact(folder, steps):
    log = RunLog.open(folder)
    assert log.steps == steps
    assert evaluate(log).worst("exact") <= 1e-12
    assert max(gap(log, group) for group in range(len(log.groups))) <= 1e-12
    return log


def batches(count):
    generator = torch.Generator().manual_seed(4)
    for _ in range(count):
        yield torch.randn(16, 5, generator=generator).double(), torch.randint(3, (16,), generator=generator)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("variant", KINDS)
def test_accumulated_and_clipped_gradients(tmp_path, variant, implementation):
    symmetries = network()
    optimizer = sgd(symmetries, **(VARIANTS[variant] | IMPLEMENTATIONS[implementation]))
    model, clipped = symmetries.model, 0
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        for micro, (x, y) in enumerate(batches(120)):
            (nn.functional.cross_entropy(model(x), y) / 3).backward()
            if micro % 3 == 2:
                clipped += bool(nn.utils.clip_grad_norm_(model.parameters(), 0.3) > 0.3)
                optimizer.step()
                optimizer.zero_grad()
    assert_exact(tmp_path / "run", 40)
    assert clipped > 0


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("variant", KINDS)
def test_a_grad_scaler_that_skips_steps(tmp_path, variant, implementation):
    """A gradient is made infinite twice; the skipped steps are no rows, and the scale, a power of 2, rounds nothing."""
    symmetries = network()
    optimizer = sgd(symmetries, **(VARIANTS[variant] | IMPLEMENTATIONS[implementation]))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=7)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        for step, (x, y) in enumerate(batches(40)):
            optimizer.zero_grad()
            scaler.scale(nn.functional.cross_entropy(symmetries.model(x), y)).backward()
            if step in (5, 20):
                symmetries.model[3].weight.grad[0, 0] = math.inf
            scaler.step(optimizer)
            scaler.update()
    assert_exact(tmp_path / "run", 38)


def test_a_fused_momentum_run_whose_first_step_is_skipped_is_refused_because_torch_spoils_it(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries, momentum=0.9, fused=True)
    scaler = torch.amp.GradScaler("cpu")
    (x, y), *_ = batches(1)
    scaler.scale(nn.functional.cross_entropy(symmetries.model(x), y)).backward()
    symmetries.model[3].weight.grad[0, 0] = math.inf
    with (
        pytest.raises(RecordingError, match="momentum buffers that it never set"),
        Recorder(optimizer, symmetries, tmp_path / "run", every=1),
    ):
        scaler.step(optimizer)


@pytest.mark.parametrize("variant", KINDS)
def test_autocast_to_half_precision_keeps_float32_parameters_and_their_law(tmp_path, variant):
    symmetries = network(torch.float32)
    optimizer = sgd(symmetries, **VARIANTS[variant])
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        for x, y in batches(40):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(symmetries.model(x.float()), y)
            loss.backward()
            optimizer.step()
    assert evaluate(RunLog.open(tmp_path / "run")).worst("exact") < 5e-5


@pytest.mark.parametrize("variant", ["momentum", "nesterov", "dampening"])
def test_one_cycle_schedules_momentum_too(tmp_path, variant):
    symmetries = network()
    optimizer = sgd(symmetries, **VARIANTS[variant])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=60)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 60, schedule=schedule)
    log = assert_exact(tmp_path / "run", 60)
    assert len(np.unique(log.hyper(0)["momentum"])) > 30


@pytest.mark.parametrize("variant", KINDS)
def test_a_compiled_model(tmp_path, variant):
    """``aot_eager`` traces forward and backward as ``inductor`` does and needs no compiler."""
    symmetries = network()
    optimizer = sgd(symmetries, **VARIANTS[variant])
    compiled = torch.compile(symmetries.model, backend="aot_eager")
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        for x, y in batches(30):
            optimizer.zero_grad()
            nn.functional.cross_entropy(compiled(x), y).backward()
            optimizer.step()
    assert_exact(tmp_path / "run", 30)


# --- going on from a checkpoint ---


def checkpointed(symmetries, optimizer, schedule):
    parts = {"model": symmetries.model, "optimizer": optimizer, "schedule": schedule}
    return {name: part.state_dict() for name, part in parts.items()}


def begin(variant, divided=False):
    symmetries = network()
    optimizer = sgd(symmetries, **VARIANTS[variant])
    if divided:
        optimizer.param_groups[0]["params"], biases = (
            [p for p in symmetries.model.parameters() if (p.ndim > 1) == big] for big in (True, False)
        )
        optimizer.add_param_group({"params": biases, "weight_decay": 0.0})
    return symmetries, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60)


def loop(state, data):
    symmetries, optimizer, schedule = state
    for x, y in data:
        optimizer.zero_grad()
        nn.functional.cross_entropy(symmetries.model(x), y).backward()
        optimizer.step()
        schedule.step()


def restore(state, checkpoint):
    for part, name in zip((state[0].model, *state[1:]), ("model", "optimizer", "schedule"), strict=True):
        part.load_state_dict(checkpoint[name])


def assert_same_bits(one, other):
    """Every number of two logs, and of what is evaluated from them."""
    assert one.charge_steps.tolist() == other.charge_steps.tolist()
    for group, columns in enumerate(one.header.groups):
        for name in columns.channels:
            np.testing.assert_array_equal(one.channel(group, name), other.channel(group, name))
        np.testing.assert_array_equal(one.charge(group), other.charge(group))
        np.testing.assert_array_equal(one.magnitude(group), other.magnitude(group))
    for a, b in zip(evaluate(one).groups, evaluate(other).groups, strict=True):
        for name in ("exact", "unbroken", "predicted", "time"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("saved_at", [12, 20, 26])
@pytest.mark.parametrize("variant", KINDS)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path, variant, saved_at, divided):
    data = list(batches(50))
    state = begin(variant, divided)
    with Recorder(state[1], state[0], tmp_path / "whole", every=3, flush_every=8) as recorder:
        loop(state, data[:saved_at])
        recorder.flush()
        loop(state, data[saved_at:])

    state = begin(variant, divided)
    with Recorder(state[1], state[0], tmp_path / "run", every=3, flush_every=8) as recorder:
        loop(state, data[:saved_at])
        recorder.flush()
        steps, checkpoint = recorder.steps, checkpointed(*state)
        torch.save(checkpoint, tmp_path / "checkpoint")
        loop(state, data[saved_at:33])
    assert steps == saved_at

    state = begin(variant, divided)
    restore(state, torch.load(tmp_path / "checkpoint", weights_only=True))
    with Recorder(state[1], state[0], tmp_path / "run", every=3, flush_every=8, resume=steps):
        loop(state, data[saved_at:])
    log = RunLog.open(tmp_path / "run")
    assert log.complete
    assert_same_bits(log, RunLog.open(tmp_path / "whole"))
    assert_exact(tmp_path / "run", 50)


@pytest.fixture
def stopped(tmp_path):
    """A run of 10 steps, and its state then."""
    state = begin("momentum")
    with Recorder(state[1], state[0], tmp_path / "run", every=1):
        loop(state, batches(10))
    return state, tmp_path / "run"


def refused(state, folder, match, error=RecordingError, **options):
    with pytest.raises(error, match=match):
        Recorder(state[1], state[0], folder, **({"resume": 10, "every": 1} | options)).__enter__()
    assert not (folder / ".lock").exists()


def test_a_checkpoint_later_than_the_log_is_refused(stopped):
    refused(*stopped, "expected a step up to 10, which .* holds, got 11", RunLogError, resume=11)


def test_parameters_of_another_step_are_refused(stopped):
    refused(*stopped, "expected the parameters of step 9, got others", resume=9)


def test_parameters_of_another_step_are_refused_where_the_charge_is_seldom_measured_too(tmp_path):
    """A checkpoint is saved after a flush, which measures it."""
    state = begin("momentum")
    with Recorder(state[1], state[0], tmp_path / "run", every=100) as recorder:
        loop(state, batches(7))
        recorder.flush()
        loop(state, batches(5))
    assert RunLog.open(tmp_path / "run").charge_steps.tolist() == [0, 7, 12]
    refused(state, tmp_path / "run", "expected the parameters of step 7, got others", resume=7, every=100)


def test_a_resumed_optimizer_without_its_momentum_is_refused(stopped):
    state, folder = stopped
    refused((state[0], sgd(state[0], momentum=0.9)), folder, "expected the momentum of step 10")


def test_another_set_up_is_refused(stopped):
    refused(*stopped, "every: expected that of the run", RunLogError, every=2)
    refused(*stopped, "groups: expected that of the run", RunLogError, forcing="drive")


@pytest.mark.parametrize("step", [-1, 1.5, "10"])
def test_a_step_that_is_none_is_refused(stopped, step):
    refused(*stopped, "resume: expected the number of steps", resume=step)


def test_a_run_that_is_still_recorded_is_not_taken_over(tmp_path):
    state = begin("momentum")
    with Recorder(state[1], state[0], tmp_path / "run"):
        loop(state, batches(3))
        with pytest.raises(RunLogError, match="is being recorded into by process"):
            Recorder(state[1], state[0], tmp_path / "run", resume=0).__enter__()


def test_where_there_is_no_run_none_is_resumed(tmp_path):
    state = begin("momentum")
    with pytest.raises(RunLogError, match="expected a run folder"):
        Recorder(state[1], state[0], tmp_path / "none", resume=0).__enter__()
    assert not (tmp_path / "none").exists()
