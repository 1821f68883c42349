"""A recorded run holds the numbers that the discrete law needs, and was not disturbed by being recorded."""

import copy
import itertools
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.torch_bridge.small_network import IMPLEMENTATIONS, VARIANTS, gap, network, recorded, sgd, train  # noqa: E402
from torch_bridge.pending_rows import rows_to_wait  # noqa: E402
from torch_bridge.recorder import Recorder  # noqa: E402
from torch_bridge.run_header import GroupColumns, Header  # noqa: E402
from torch_bridge.run_log import RunLog  # noqa: E402
from torch_bridge.sgd_update import Hyper, Motion  # noqa: E402
from torch_bridge.symmetry_map import Block, NeuronSymmetries, SymmetryMap  # noqa: E402

# --- the referee ---


@pytest.mark.parametrize(
    ("schedule", "implementation"), [(False, "single"), (True, "single"), (True, "foreach"), (True, "fused")]
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_discrete_law_of_every_symmetry_meets_the_measured_charge(tmp_path, variant, schedule, implementation):
    settings = VARIANTS[variant] | IMPLEMENTATIONS[implementation]
    log = recorded(tmp_path / "run", steps=100, schedule=schedule, settings=settings)
    assert log.complete
    assert log.charge_steps.tolist() == list(range(101))
    assert max(gap(log, group) for group in range(len(log.groups))) < 1e-12


def test_the_gap_opens_when_the_law_or_the_log_is_wrong(tmp_path):
    log = recorded(tmp_path / "run", settings=VARIANTS["dampening"])
    assert gap(log, 0) < 1e-12
    assert gap(log, 0, undamped=False) > 1e-6
    for name, group in [("breaking", 0), ("direction", 0), ("direction", 1)]:
        altered = copy.copy(log)
        channel = log.channel(group, name) * (1 + 1e-6)
        object.__setattr__(altered, "channel", lambda g, n, c=channel, k=name: c if n == k else log.channel(g, n))
        assert gap(altered, group) > 1e-12


def test_the_charge_moves_by_far_more_than_the_gap(tmp_path):
    log = recorded(tmp_path / "run", settings=VARIANTS["nesterov"])
    for group in range(4):
        moved = np.abs(log.charge(group)[-1] - log.charge(group)[0]) / log.magnitude(group)[0]
        assert moved.max() > 1e-4


def test_rescale_and_translation_are_exact_and_bn_breaks_scale_by_its_eps(tmp_path):
    log = recorded(tmp_path / "run")
    terms = [np.sqrt(np.abs(log.channel(group, "gradient")).max()) for group in (0, 1)]
    assert np.abs(log.channel(1, "breaking")).max() < 1e-14
    assert np.abs(log.channel(2, "breaking")).max() < 1e-15
    assert np.abs(log.channel(3, "breaking")).max() < 1e-15
    assert 1e-8 * terms[0] < np.abs(log.channel(0, "breaking")).max() < 1e-3 * terms[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_recording_may_start_in_the_middle_of_a_run(tmp_path, variant):
    symmetries = network()
    optimizer = sgd(symmetries, **VARIANTS[variant])
    train(symmetries.model, optimizer, 20)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 50)
    log = RunLog.open(tmp_path / "run")
    assert log.fresh == ("momentum" not in VARIANTS[variant])
    assert max(gap(log, group) for group in range(len(log.groups))) < 1e-12


def test_momentum_may_be_scheduled_too(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=100)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 100, schedule=schedule)
    log = RunLog.open(tmp_path / "run")
    assert len(np.unique(log.hyper(0)["momentum"])) > 50
    assert max(gap(log, group) for group in range(len(log.groups))) < 1e-12


def test_weight_decay_may_be_switched_off_and_on(tmp_path):
    """With it, foreach Nesterov turns from leaving the gradient alone to writing into it, and back."""
    symmetries = network()
    optimizer = sgd(symmetries, momentum=0.9, nesterov=True, foreach=True)

    def switch(step):
        optimizer.param_groups[0]["weight_decay"] = 0.0 if 10 <= step < 20 else 5e-3

    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 30, each=switch)
    log = RunLog.open(tmp_path / "run")
    assert log.hyper(0)["weight_decay"][[9, 10, 19, 20]].tolist() == [5e-3, 0, 0, 5e-3]
    assert max(gap(log, group) for group in range(len(log.groups))) < 1e-12


def test_the_learning_rate_may_be_a_tensor(tmp_path):
    log = recorded(tmp_path / "run", settings={"lr": torch.tensor(0.1, dtype=torch.float64), "foreach": False})
    assert (log.hyper(0)["lr"] == 0.1).all()
    assert max(gap(log, group) for group in range(len(log.groups))) < 1e-12


def test_two_parameter_groups_keep_their_own_hyper_parameters(tmp_path):
    symmetries = network()
    modules = list(symmetries.model)
    parts = [{"params": modules[0].parameters(), "lr": 0.05}, {"params": nn.Sequential(*modules[1:]).parameters()}]
    optimizer = torch.optim.SGD(parts, lr=0.1, weight_decay=1e-2, momentum=0.9)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 40)
    log = RunLog.open(tmp_path / "run")
    assert [log.hyper(group)["lr"][0] for group in (0, 1)] == [0.05, 0.1]
    assert max(gap(log, group) for group in range(len(log.groups))) < 1e-12


@pytest.mark.parametrize("variant", ["plain", "momentum", "nesterov", "nesterov without decay"])
def test_a_float32_run_meets_the_law_to_its_own_rounding(tmp_path, variant):
    log = recorded(tmp_path / "run", dtype=torch.float32, settings=VARIANTS[variant] | {"foreach": True})
    assert log.channel(0, "direction").dtype == np.float32
    assert log.charge(0).dtype == np.float64
    assert max(gap(log, group) for group in range(len(log.groups))) < 2e-5


# --- the definitions ---


def definitions(symmetries: SymmetryMap, optimizer, steps: int):
    """What each channel is, from clones made before each step and ``d`` from the textbook update; no law is used."""
    model, rows = symmetries.model, []
    settings = optimizer.param_groups[0]
    beta, decay, damping = settings["momentum"], settings["weight_decay"], settings["dampening"]
    velocity = {}

    def look(step):
        theta = {name: p.detach().clone() for name, p in model.named_parameters()}
        gradient = {name: p.grad.clone() for name, p in model.named_parameters()}
        direction = {}
        for name in theta:
            full = gradient[name] + decay * theta[name]
            fresh = name not in velocity or not beta
            velocity[name] = full.clone() if fresh else beta * velocity[name] + (1 - damping) * full
            direction[name] = full + beta * velocity[name] if settings["nesterov"] else velocity[name].clone()
        rows.append((theta, gradient, direction, {name: v.clone() for name, v in velocity.items()}))

    return rows, look


def form(group: NeuronSymmetries, a: dict, b: dict):
    total = np.zeros(group.neurons)
    for block in group.blocks:
        terms = (a[block.parameter] * b[block.parameter]).double().reshape(block.view).numpy()
        total += block.coefficient * np.moveaxis(terms, block.axis, 0).reshape(group.neurons, -1).sum(1)
    return total


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_channel_is_what_its_definition_says(tmp_path, variant, implementation):
    symmetries = network()
    optimizer = sgd(symmetries, **(VARIANTS[variant] | IMPLEMENTATIONS[implementation]))
    rows, look = definitions(symmetries, optimizer, 12)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=5, flush_every=5):
        train(symmetries.model, optimizer, 12, each=look)
    log = RunLog.open(tmp_path / "run")
    for index, group in enumerate(log.groups):
        ones = {name: torch.ones_like(p) for name, p in symmetries.model.named_parameters()}
        for n, (theta, g, d, v) in enumerate(rows):
            if group.symmetry.degree == 1:
                expected = {"breaking": form(group, g, ones)}
            else:
                expected = {
                    "breaking": form(group, g, theta),
                    "gradient": form(group, g, g),
                    "direction": form(group, d, d),
                }
                expected |= {"overlap": form(group, d, v)} if log.nesterov else {}
            assert set(expected) == set(log.header.groups[index].channels)
            for name, values in expected.items():
                np.testing.assert_allclose(log.channel(index, name)[n], values, rtol=1e-11, atol=1e-14)
            if n in (0, 5, 10):
                charge = form(group, theta, theta if group.symmetry.degree == 2 else ones)
                np.testing.assert_allclose(log.charge(index)[n // 5], charge, rtol=1e-14, atol=1e-15)
    assert log.charge_steps.tolist() == [0, 5, 10, 12]


def test_the_magnitude_is_the_sum_of_the_absolute_terms(tmp_path):
    symmetries = network()
    with Recorder(sgd(symmetries), symmetries, tmp_path / "run", every=1):
        pass
    log, p = RunLog.open(tmp_path / "run"), dict(symmetries.model.named_parameters())
    rescale = (p["3.weight"] ** 2).sum(1) + p["3.bias"] ** 2 + (p["5.weight"] ** 2).sum(0)
    np.testing.assert_allclose(log.magnitude(1)[0], rescale.detach(), rtol=1e-15)
    np.testing.assert_allclose(log.magnitude(2)[0], p["5.weight"].abs().sum(0).detach(), rtol=1e-15)
    assert (log.magnitude(1)[0] > np.abs(log.charge(1)[0])).all()


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_no_implementation_writes_weight_decay_into_the_gradient(implementation, nesterov):
    parameter = nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    settings = IMPLEMENTATIONS[implementation] | ({"momentum": 0.9, "nesterov": True} if nesterov else {})
    optimizer = torch.optim.SGD([parameter], lr=0.1, weight_decay=0.5, **settings)
    for _ in range(3):
        parameter.grad = torch.tensor([1.0, 2.0], dtype=torch.float64)
        optimizer.step()
        assert parameter.grad.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_the_state_before_a_step_is_recovered_to_rounding(settings):
    torch.manual_seed(3)
    parameter = nn.Parameter(torch.randn(500, dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], **({"lr": 0.7, "weight_decay": 0.1} | settings), foreach=False)
    for _ in range(5):
        before = parameter.detach().clone()
        parameter.grad = torch.randn(500, dtype=torch.float64)
        optimizer.step()
        hyper = Hyper.of(optimizer.param_groups[0])
        buffer = optimizer.state[parameter].get("momentum_buffer")
        seen = [parameter.grad, parameter.detach(), buffer if hyper.momentum else 0, 1]
        motion = Motion.of(hyper, False)
        theta, direction = (sum(c * x for c, x in zip(v, seen, strict=True)) for v in (motion.theta, motion.direction))
        scale = before.abs() + hyper.lr * direction.abs()
        assert ((theta - before).abs() / scale).max() < 4 * 2**-52


def test_parameters_in_another_memory_format_are_read_in_their_own_shape(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).double()
    model = model.to(memory_format=torch.channels_last)
    blocks = (Block("0.weight", (4, 3, 3, 3), 0), Block("3.weight", (2, 4, 4), 1, -1))
    symmetries = SymmetryMap((NeuronSymmetries("rescale", "0 -> 3", blocks),), model=model)
    optimizer = sgd(symmetries, momentum=0.9)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        for _ in range(30):
            optimizer.zero_grad()
            model(torch.randn(8, 3, 4, 4, dtype=torch.float64)).square().mean().backward()
            optimizer.step()
    log = RunLog.open(tmp_path / "run")
    assert np.abs(log.channel(0, "breaking")).max() < 1e-14
    assert gap(log, 0) < 1e-12


# --- the run is left alone ---


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("variant", ["plain", "momentum", "nesterov", "nesterov without decay", "dampening"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_recorded_run_ends_in_the_same_bits_as_an_unrecorded_one(tmp_path, variant, implementation, dtype):
    states = []
    for record in (False, True):
        symmetries = network(dtype)
        optimizer = sgd(symmetries, **(VARIANTS[variant] | IMPLEMENTATIONS[implementation]))
        if record:
            with Recorder(optimizer, symmetries, tmp_path / "run", flush_every=7):
                train(symmetries.model, optimizer, 25)
        else:
            train(symmetries.model, optimizer, 25)
        buffers = [state.get("momentum_buffer") for state in optimizer.state.values()]
        states.append([*symmetries.model.parameters(), *[b for b in buffers if b is not None]])
    assert len(states[0]) == len(states[1])
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))


def test_recording_leaves_no_trace_in_the_autograd_graph_or_the_random_numbers(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        torch.manual_seed(5)
        train(symmetries.model, optimizer, 3)
        drawn = torch.rand(1)
    assert all(p.grad_fn is None and p.requires_grad for p in symmetries.model.parameters())
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))


def test_nothing_is_recorded_outside_the_block(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries)
    recorder = Recorder(optimizer, symmetries, tmp_path / "run", every=1)
    train(symmetries.model, optimizer, 2)
    with recorder:
        train(symmetries.model, optimizer, 3)
    train(symmetries.model, optimizer, 4)
    assert RunLog.open(tmp_path / "run").steps == 3


def test_a_closure_is_covered(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries, momentum=0.9)
    inputs, targets = torch.randn(16, 5, dtype=torch.float64), torch.randint(3, (16,))

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(symmetries.model(inputs), targets)
        loss.backward()
        return loss

    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        for _ in range(20):
            optimizer.step(closure)
    assert gap(RunLog.open(tmp_path / "run"), 1) < 1e-12


# --- what is written when ---


@pytest.mark.parametrize(("every", "flush_every"), [*itertools.product([1, 3, 100], [1, 4, 256])])
def test_cadence_changes_what_is_kept_and_never_what_it_says(tmp_path, every, flush_every):
    log = recorded(tmp_path / "run", steps=10, every=every, flush_every=flush_every)
    full = recorded(tmp_path / "full", steps=10)
    assert log.charge_steps.tolist() == sorted({*range(0, 11, every), 10})
    assert len(list((tmp_path / "run").glob("segment-*"))) in {math.ceil(10 / flush_every), 11, 4}
    for group, names in enumerate(group.channels for group in log.header.groups):
        np.testing.assert_array_equal(log.charge(group), full.charge(group)[log.charge_steps])
        for name in names:
            np.testing.assert_array_equal(log.channel(group, name), full.channel(group, name))


def test_by_default_the_charge_is_measured_every_ten_steps_at_the_end_and_when_flushed(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries, momentum=0.9)
    with Recorder(optimizer, symmetries, tmp_path / "run") as recorder:
        train(symmetries.model, optimizer, 13)
        recorder.flush()
        train(symmetries.model, optimizer, 12)
    log = RunLog.open(tmp_path / "run")
    assert log.charge_steps.tolist() == [0, 10, 13, 20, 25]
    assert max(gap(log, group) for group in range(len(log.groups))) < 1e-12


def test_by_default_the_rows_that_wait_take_up_one_percent_of_the_parameters():
    def waiting(parameters, every=1, columns=10_000, dtype="float32"):
        part = GroupColumns("scale", "w", (), 0, (0, 1000), {"direction": (0, columns)}, 0)
        header = Header((part,), dtype, every=every, nesterov=False, fresh=True)
        return rows_to_wait(header, parameters), 4 * columns + 16 * 1000 / every

    for parameters in (10**8, 10**9):
        rows, size = waiting(parameters)
        assert rows * size <= parameters / 100 < (rows + 1) * size
    rows, size = waiting(1000, every=10)
    assert rows * size <= 2**18 < (rows + 1) * size
    assert waiting(10**12)[0] == 256
    assert waiting(0, columns=10**7)[0] == 1


def test_the_log_knows_where_it_comes_from(tmp_path):
    log = recorded(tmp_path / "run", steps=1, meta={"seed": 3})
    assert log.manifest["meta"] == {"seed": 3}
    assert log.manifest["provenance"]["torch"] == torch.__version__
    assert log.manifest["provenance"]["optimizer"] == "torch.optim.sgd.SGD"
    assert set(log.manifest["provenance"]) == {"nmech", "torch", "python", "platform", "created", "optimizer"}
    assert log.groups == network().groups


def test_flushed_rows_can_be_read_while_the_run_goes_on(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1) as recorder:
        train(symmetries.model, optimizer, 3)
        assert RunLog.open(tmp_path / "run").steps == 0
        recorder.flush()
        recorder.flush()
        assert RunLog.open(tmp_path / "run").steps == 3
        train(symmetries.model, optimizer, 2)
    log = RunLog.open(tmp_path / "run")
    assert (log.steps, log.complete) == (5, True)
