"""On real runs of stock SGD every charge of a convolutional network meets its exact discrete law to rounding."""

import shutil
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from torch import nn  # noqa: E402

from torch_bridge.data import batches, open_dataset  # noqa: E402
from torch_bridge.discover import find_symmetries  # noqa: E402
from torch_bridge.evaluate import EvaluationError, evaluate  # noqa: E402
from torch_bridge.recorder import Recorder  # noqa: E402
from torch_bridge.run_folder import read_arrays, segments, write_arrays, write_manifest  # noqa: E402
from torch_bridge.run_header import HYPER  # noqa: E402
from torch_bridge.run_log import RunLog  # noqa: E402
from torch_bridge.symmetry_map import Block, NeuronSymmetries, SymmetryMap  # noqa: E402

KINDS = ("translation", "shift", "scale", "rescale")
VARIANTS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "dampening": {"momentum": 0.9, "dampening": 0.5},
}
SCHEDULES = ("constant", "cosine")
STEPS = 200
ROUNDING, SINGLE = 1e-12, 5e-5


def network(dtype=torch.float64, eps=1e-5):
    """VGG in small: convolutions with batch norm, ReLU, two kinds of pooling, a flatten, linear layers; all have biases."""
    torch.manual_seed(0)
    first = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6, eps), nn.ReLU(), nn.MaxPool2d(2)
    second = nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8, eps), nn.ReLU(), nn.AvgPool2d(2)
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(32, 12), nn.ReLU(), nn.Linear(12, 10)).to(dtype)


def found(model):
    return find_symmetries(model, next(model.parameters()).new_zeros(2, 1, 8, 8))


def train(folder, settings, *, schedule="constant", dtype=torch.float64, eps=1e-5, symmetries=found, steps=STEPS) -> RunLog:
    """Digits in batches of 16, lr 0.1, weight decay 5e-3."""
    model = network(dtype, eps)
    optimizer = torch.optim.SGD(model.parameters(), **({"lr": 0.1, "weight_decay": 5e-3} | settings))
    length = {"constant": 10**9, "cosine": steps}[schedule]
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, length)
    stream = batches(open_dataset("digits", input_size=8, in_channels=1), 16, steps, seed=1)
    with Recorder(optimizer, symmetries(model), folder, every=1):
        for x, y in stream:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x.to(dtype)), y).backward()
            optimizer.step()
            scheduler.step()
    return RunLog.open(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The log of a variant under a schedule, trained once."""
    trained = {}

    def get(variant, schedule="constant", dtype=torch.float64):
        key = variant, schedule, dtype
        if key not in trained:
            folder = tmp_path_factory.mktemp("runs") / "run"
            trained[key] = train(folder, VARIANTS[variant], schedule=schedule, dtype=dtype)
        return trained[key]

    return get


@pytest.fixture(scope="module")
def comparison(run):
    """The same log, held against the laws once."""
    evaluated = {}

    def get(*key):
        if key not in evaluated:
            evaluated[key] = evaluate(run(*key))
        return evaluated[key]

    return get


def worst(comparison, kind, prediction):
    groups = comparison.of_kind(kind)
    assert groups
    assert all(group.compared.all() for group in groups)
    return max(float(group.gap(prediction).max()) for group in groups)


# --- the laws hold ---


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_in_float64_the_exact_law_misses_no_charge_by_more_than_rounding(comparison, kind, variant, schedule):
    held = comparison(variant, schedule)
    assert len(held.groups[0].steps) == STEPS + 1
    assert worst(held, kind, "exact") <= ROUNDING
    assert held.worst("exact") <= ROUNDING


@pytest.mark.parametrize(("variant", "schedule"), [*((v, "constant") for v in VARIANTS), ("nesterov", "cosine")])
def test_in_float32_the_exact_law_misses_no_charge_by_more_than_single_rounding(comparison, variant, schedule):
    held = comparison(variant, schedule, torch.float32)
    assert held.kinds == KINDS
    assert ROUNDING < held.worst("exact") <= SINGLE


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_meanwhile_the_charges_move_a_trillion_times_as_far(comparison, kind, variant, schedule):
    assert worst(comparison(variant, schedule), kind, "conserved") > 1e-2


def test_every_symmetry_of_the_network_was_recorded(comparison):
    counted = {kind: sum(group.group.neurons for group in comparison("plain").of_kind(kind)) for kind in KINDS}
    assert counted == {"translation": 12 + 1, "shift": 6 + 8, "scale": 6 + 8, "rescale": 6 + 8 + 12}


# --- what breaks a symmetry ---


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_the_measured_breaking_the_exact_symmetries_still_hold_and_scale_shows_batch_norms_eps(comparison, variant):
    held = comparison(variant)
    assert worst(held, "translation", "unbroken") <= ROUNDING
    assert worst(held, "rescale", "unbroken") <= ROUNDING
    assert 1e-8 < worst(held, "scale", "unbroken") < 1e-2


def test_the_breaking_of_scale_is_proportional_to_batch_norms_eps(tmp_path, comparison):
    logs = [train(tmp_path / str(eps), VARIANTS["momentum"], eps=eps, steps=50) for eps in (1e-5, 1e-6)]
    large, small = (worst(evaluate(log), "scale", "unbroken") for log in logs)
    assert large / small == pytest.approx(10, rel=0.1)


def as_if_all_were_positive(model):
    """The rescale symmetries with the sign of their readers forgotten."""
    symmetries = found(model)
    groups = [group for group in symmetries.groups if group.kind == "rescale"]
    forgotten = [replace(g, blocks=tuple(replace(block, coefficient=1) for block in g.blocks)) for g in groups]
    return SymmetryMap(tuple(forgotten), model=model)


def as_if_convolutions_had_no_batch_norm(model):
    """The paper's rescale pairs of one convolution and the next, which batch norm between them breaks."""
    writer, reader = Block("0.weight", (6, 1, 3, 3), 0), Block("4.weight", (8, 6, 3, 3), 1, -1)
    return SymmetryMap((NeuronSymmetries("rescale", "0 -> 4", (writer, reader)),), model=model)


@pytest.mark.parametrize("claim", [as_if_all_were_positive, as_if_convolutions_had_no_batch_norm])
def test_what_is_no_symmetry_is_caught_by_leaving_its_breaking_out(tmp_path, claim):
    """With the measured ⟨g, X⟩ the recurrence is algebra, true of any generator: *exact* checks the log, not the claim."""
    held = evaluate(train(tmp_path / "run", {}, symmetries=claim, steps=100))
    assert held.worst("exact") <= ROUNDING
    assert held.worst("unbroken") > 1e-2


# --- the referee rejects ---


def altered(log, folder, change) -> RunLog:
    """A copy of the log on disk, its arrays changed in place by ``change``."""
    shutil.copytree(log.path, folder)
    for file in segments(folder).values():
        arrays = {name: values.copy() for name, values in read_arrays(file)[0].items()}
        change(arrays)
        write_arrays(file, arrays)
    return RunLog.open(folder)


def relabelled(log, folder, **header) -> RunLog:
    """A copy of the log on disk with another header."""
    shutil.copytree(log.path, folder)
    write_manifest(folder, replace(log.header, **header), log.steps)
    return RunLog.open(folder)


def column(log, kind, channel, neuron=0):
    group = next(g for g in log.header.groups if g.kind == kind)
    return group.channels[channel][0] + neuron


def test_a_copy_that_is_not_altered_is_accepted(tmp_path, run):
    copy = altered(run("nesterov"), tmp_path / "copy", lambda arrays: None)
    assert evaluate(copy).worst("exact") <= ROUNDING
    assert evaluate(relabelled(copy, tmp_path / "again")).worst("exact") <= ROUNDING


@pytest.mark.parametrize(
    ("variant", "kind", "channel"),
    [
        ("plain", "scale", "gradient"),
        ("plain", "rescale", "gradient"),
        ("plain", "scale", "breaking"),
        ("momentum", "scale", "direction"),
        ("momentum", "rescale", "direction"),
        ("dampening", "rescale", "direction"),
        ("nesterov", "scale", "direction"),
        ("nesterov", "rescale", "overlap"),
    ],
)
def test_a_forcing_of_one_neuron_that_is_off_by_a_thousandth_is_rejected(tmp_path, run, variant, kind, channel):
    log = run(variant)

    def change(arrays):
        arrays["forcing"][:, column(log, kind, channel)] *= 1.001

    assert evaluate(altered(log, tmp_path / "copy", change)).worst("exact") > 1e3 * ROUNDING


@pytest.mark.parametrize("name", HYPER)
def test_a_hyper_parameter_that_is_off_by_a_thousandth_is_rejected(tmp_path, run, name):
    def change(arrays):
        arrays["hyper"][:, HYPER.index(name)] *= 1.001

    assert evaluate(altered(run("dampening"), tmp_path / "copy", change)).worst("exact") > 1e3 * ROUNDING


@pytest.mark.parametrize("array", ["forcing", "charge"])
def test_two_rows_or_two_neurons_that_changed_places_are_rejected(tmp_path, run, array):
    log = run("momentum")
    first = column(log, "scale", "direction") if array == "forcing" else log.header.groups[0].charge[0]

    def swap_neurons(arrays):
        arrays[array][:, [first, first + 1]] = arrays[array][:, [first + 1, first]]

    def swap_rows(arrays):
        arrays[array][[10, 11]] = arrays[array][[11, 10]]

    for name, swap in {"neurons": swap_neurons, "rows": swap_rows}.items():
        assert evaluate(altered(log, tmp_path / name, swap)).worst("exact") > 1e3 * ROUNDING


@pytest.mark.parametrize("variant", ["momentum", "nesterov"])
def test_a_run_with_momentum_is_rejected_by_the_law_without(tmp_path, run, variant):
    def forget(arrays):
        arrays["hyper"][:, HYPER.index("momentum")] = 0

    assert evaluate(altered(run(variant), tmp_path / "copy", forget)).worst("exact") > 1e-2


def test_a_run_with_nesterov_is_rejected_by_the_classical_law(tmp_path, run):
    assert evaluate(relabelled(run("nesterov"), tmp_path / "copy", nesterov=False)).worst("exact") > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_torchs_first_step_is_undamped_and_a_start_from_zero_velocity_is_rejected(tmp_path, run, kind):
    log = run("dampening")
    assert log.fresh
    damped = evaluate(relabelled(log, tmp_path / "copy", fresh=False))
    assert worst(damped, kind, "exact") > 1e-6


def test_without_dampening_both_starts_are_one(tmp_path, run):
    assert evaluate(relabelled(run("momentum"), tmp_path / "copy", fresh=False)).worst("exact") <= ROUNDING


def test_a_translation_read_as_a_scale_is_refused_for_its_missing_forcing(tmp_path, run):
    log = run("plain")
    groups = tuple(replace(g, kind="scale") if g.kind == "translation" else g for g in log.header.groups)
    with pytest.raises(
        EvaluationError, match=r"expected the channels \['gradient'\] of a scale symmetry, got \['breaking'\]"
    ):
        evaluate(relabelled(log, tmp_path / "copy", groups=groups))


def test_a_scale_read_as_a_translation_is_rejected(tmp_path, run):
    log = run("plain")
    groups = tuple(replace(g, kind="translation") if g.kind == "scale" else g for g in log.header.groups)
    assert evaluate(relabelled(log, tmp_path / "copy", groups=groups)).worst("exact") > 1e-2
