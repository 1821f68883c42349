"""One call trains, records what it trained, and says in one sentence what is wrong when it cannot."""

import json
from dataclasses import asdict
from math import cos, pi

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from torch_bridge.data import ImageSet, batches  # noqa: E402
from torch_bridge.evaluate import evaluate  # noqa: E402
from torch_bridge.run_log import RunLog, RunLogError  # noqa: E402
from torch_bridge.train import Training, TrainingError, train  # noqa: E402


def images(count=40) -> ImageSet:
    """Random 4x4 images of three classes."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(count, 1, 4, 4, generator=generator)
    labels = torch.randint(3, (count,), generator=generator).tolist()
    return ImageSet("random", list(zip(pictures, labels, strict=True)), 3)


def model() -> nn.Sequential:
    torch.manual_seed(0)
    convolution = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*convolution, nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 3))


def run(folder, network=None, **settings) -> RunLog:
    training = Training(**({"steps": 12, "batch_size": 8} | settings))
    return train(network or model(), images(), training, folder, progress=False)


# --- what is trained ---


def test_every_step_is_recorded_and_the_log_is_returned_complete(tmp_path):
    log = run(tmp_path / "run", every=5)
    assert (log.steps, log.complete, log.path) == (12, True, tmp_path / "run")
    assert log.charge_steps.tolist() == [0, 5, 10, 12]
    assert log.fresh


def test_every_symmetry_of_the_model_is_recorded(tmp_path):
    log = run(tmp_path / "run")
    assert [group.kind for group in log.groups] == ["scale", "shift", "rescale", "rescale", "translation", "translation"]


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0.05, "weight_decay": 1e-2},
        {"momentum": 0.9, "dampening": 0.3},
        {"momentum": 0.8, "nesterov": True, "weight_decay": 1e-3},
    ],
)
def test_the_update_is_the_stock_optimizers_on_the_seeds_batches(tmp_path, settings):
    ours, theirs = model(), model()
    log = run(tmp_path / "run", ours, seed=3, **settings)
    optimizer = torch.optim.SGD(theirs.parameters(), **({"lr": 0.1} | settings))
    for x, y in batches(images(), 8, 12, 3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(theirs(x), y).backward()
        optimizer.step()
    for mine, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, expected)
    assert log.nesterov == settings.get("nesterov", False)
    assert evaluate(log).worst("exact") < 5e-5


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path):
    one, again, other = (run(tmp_path / name, seed=seed) for name, seed in {"a": 1, "b": 1, "c": 2}.items())
    assert np.array_equal(one.charge(0), again.charge(0))
    assert not np.array_equal(one.charge(0), other.charge(0))


def test_a_model_left_in_eval_mode_is_trained_in_train_mode(tmp_path):
    network = model().eval()
    assert any(group.kind == "scale" for group in run(tmp_path / "run", network).groups)
    assert network.training


def test_the_learning_rate_is_constant_unless_told_otherwise(tmp_path):
    assert (run(tmp_path / "run", lr=0.07).hyper(0)["lr"] == 0.07).all()


def test_cosine_decreases_the_learning_rate_along_a_half_cosine(tmp_path):
    log = run(tmp_path / "run", lr=0.2, cosine=True)
    expected = [0.2 * (1 + cos(pi * n / 12)) / 2 for n in range(12)]
    assert log.hyper(0)["lr"] == pytest.approx(expected)


def first_step(folder, clip):
    """Length of the first update at lr 1 without decay: the norm of the gradient that was used."""
    moved, start = model(), model()
    run(folder, moved, steps=1, lr=1.0, clip=clip)
    after, before = (nn.utils.parameters_to_vector(m.parameters()).detach().double() for m in (moved, start))
    return float((after - before).norm())


def test_clip_bounds_the_gradient_that_is_used_and_spares_a_smaller_one(tmp_path):
    free, bound, loose = (first_step(tmp_path / f"{clip}", clip) for clip in (0.0, 0.01, 1e9))
    assert free == loose > 0.1
    assert bound == pytest.approx(0.01, rel=1e-3)


def test_the_laws_hold_for_the_clipped_gradient(tmp_path):
    log = run(tmp_path / "run", clip=0.05, momentum=0.9, weight_decay=5e-3, steps=30)
    assert evaluate(log).worst("exact") < 5e-5
    assert np.abs(log.channel(0, "gradient")).max() <= 0.05**2


def test_meta_and_the_trainings_own_numbers_are_kept_on_disk(tmp_path):
    training = Training(steps=3, batch_size=8, lr=0.03, cosine=True)
    train(model(), images(), training, tmp_path / "run", meta={"model": "small", "width": 0.5}, progress=False)
    meta = json.loads((tmp_path / "run" / "manifest.json").read_text())["meta"]
    assert meta == {**asdict(training), "model": "small", "width": 0.5}
    assert dict(evaluate(RunLog.open(tmp_path / "run")).meta) == meta


def test_a_progress_bar_is_shown_unless_told_otherwise(tmp_path, capsys):
    training = Training(steps=2, batch_size=8)
    train(model(), images(), training, tmp_path / "quiet", progress=False)
    assert capsys.readouterr() == ("", "")
    train(model(), images(), training, tmp_path / "run")
    shown = capsys.readouterr()
    assert "training" in shown.err
    assert shown.out == ""


# --- what goes wrong ---


def test_a_loss_that_is_not_finite_is_an_error_that_leaves_a_readable_log(tmp_path):
    with pytest.raises(TrainingError, match=r"loss: expected a finite loss, got (nan|inf) at step \d+; lower lr"):
        run(tmp_path / "run", lr=1e15, steps=50)
    log = RunLog.open(tmp_path / "run")
    assert not log.complete
    assert 0 < log.steps < 50
    assert np.isfinite(log.charge(0)).all()
    assert len(evaluate(log).groups[0].steps) == len(log.charge_steps)


def test_numbers_too_large_for_a_law_are_an_error_too(tmp_path):
    """The squares of the weights overflow before the loss does: the recorder sees it first."""
    with pytest.raises(ValueError, match=r"step \d+: expected finite numbers|expected a finite loss"):
        run(tmp_path / "run", lr=1e30, steps=50, weight_decay=1.0)
    assert RunLog.open(tmp_path / "run").steps < 50


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "meta"])
def test_a_device_that_cannot_be_used_is_refused_before_anything_is_written(tmp_path, device):
    with pytest.raises(TrainingError, match=f"device: expected one that torch can use here, got '{device}'"):
        run(tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("every", 0),
        ("steps", -3),
        ("steps", 2.5),
        ("every", True),
        ("clip", -1.0),
        ("clip", float("nan")),
        ("clip", float("inf")),
    ],
)
def test_an_argument_that_describes_no_training_is_refused_by_name(name, value):
    with pytest.raises(TrainingError, match=f"{name}: expected .* got {value}"):
        Training(**{name: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "learning rate"),
        ({"momentum": -0.5}, "momentum"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"nesterov": True}, "Nesterov momentum requires a momentum and zero dampening"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "Nesterov"),
        ({"batch_size": 41}, "batch_size: expected 1 to 40"),
        ({"lr": float("nan")}, "lr: expected a finite number, got nan"),
        ({"lr": float("inf")}, "lr: expected a finite number, got inf"),
    ],
)
def test_what_torch_or_the_data_cannot_do_is_an_error_before_the_first_step(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_not_written_over(tmp_path):
    run(tmp_path / "run", seed=1)
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    with pytest.raises(RunLogError, match="expected a new or empty folder"):
        run(tmp_path / "run", seed=2)
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before


def test_labels_beyond_the_models_classes_are_an_error_with_the_remedy(tmp_path):
    with pytest.raises(ValueError, match="classes"):
        train(model(), ImageSet("random", [(x, 7) for x, _ in images().images], 8), Training(steps=1, batch_size=8),
              tmp_path / "run", progress=False)  # fmt: skip
