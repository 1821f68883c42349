"""A grid of runs is trained side by side, evaluated, and shown on one page."""

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from torch_bridge.evaluate import PREDICTIONS, evaluate  # noqa: E402
from torch_bridge.experiment import DEMO, Grid, run_grid, run_name  # noqa: E402
from torch_bridge.run_log import RunLog  # noqa: E402
from torch_bridge.train import Training, TrainingError  # noqa: E402

TINY = Grid(
    momenta=(0.0, 0.9), weight_decays=(0.0, 5e-3), training=Training(steps=4, batch_size=8, lr=0.05, every=2), width=1 / 64
)
NAMES = {
    f"vgg16{norm}_momentum-{beta}_decay-{decay}" for norm in ("", "-bn") for beta in ("0", "0.9") for decay in ("0", "0.005")
}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment") / "out"
    assert run_grid(TINY, folder, jobs=2) == folder / "report.html"
    return folder


def test_every_run_of_the_grid_leaves_a_complete_log_under_its_name(out):
    assert {entry.name for entry in out.iterdir() if entry.is_dir()} == NAMES
    for name in NAMES:
        log = RunLog.open(out / name)
        assert (log.complete, log.steps, log.charge_steps.tolist()) == (True, 4, [0, 2, 4])
        assert run_name("bn" in name, log.hyper(0)["momentum"][0], log.hyper(0)["weight_decay"][0]) == name
        assert any(group.kind == "scale" for group in log.groups) == ("bn" in name)


def test_the_exact_law_holds_in_every_run(out):
    assert max(evaluate(RunLog.open(out / name)).worst("exact") for name in NAMES) <= 5e-5


def test_the_report_has_the_figures_and_a_row_for_each_kind_of_each_run(out):
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == page.count("data:image/png;base64,") == 3
    for name in NAMES:
        assert page.count(f"<td>{name}</td>") == (4 if "bn" in name else 2)
    assert "<script" not in page
    assert page.count("https://") == 0


def test_the_errors_are_kept_as_numbers_too(out):
    rows = json.loads((out / "errors.json").read_text(encoding="utf-8"))
    assert {row["run"] for row in rows} == NAMES
    name = "vgg16-bn_momentum-0.9_decay-0.005"
    expected = evaluate(RunLog.open(out / name)).rows()
    for row, fresh in zip([row for row in rows if row["run"] == name], expected, strict=True):
        assert {key: row[key] for key in PREDICTIONS} == {key: list(fresh[key]) for key in PREDICTIONS}


def test_runs_of_one_model_start_from_the_same_weights(out):
    one, other = (RunLog.open(out / f"vgg16_momentum-{beta}_decay-0.005") for beta in ("0", "0.9"))
    assert (one.charge(0)[0] == other.charge(0)[0]).all()
    assert (one.charge(0)[-1] != other.charge(0)[-1]).any()


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(TrainingError, match=r"out: expected a new or empty folder, got .*holds something"):
        run_grid(TINY, tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(TrainingError, match="out: expected a new or empty folder, got "):
        run_grid(TINY, tmp_path / "out")


@pytest.mark.slow
def test_a_run_that_fails_fails_the_experiment_with_its_reason(tmp_path):
    wild = replace(TINY, momenta=(0.0,), weight_decays=(0.0,), training=replace(TINY.training, lr=1e30))
    with pytest.raises(ValueError, match=r"lower lr|lower the learning rate"):
        run_grid(wild, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("empty", [{"momenta": ()}, {"weight_decays": ()}])
def test_a_grid_without_runs_is_refused(empty):
    with pytest.raises(TrainingError, match="expected at least one of each"):
        Grid(**empty)


def test_the_demo_is_the_papers_grid_in_small():
    runs = DEMO.runs()
    assert len(runs) == len(set(runs)) == 18
    assert {training.momentum for _, training in runs} == {0.0, 0.9, 0.99}
    assert {batch_norm for batch_norm, _ in runs} == {False, True}


def test_runs_have_names_of_their_own():
    assert len({run_name(norm, training.momentum, training.weight_decay) for norm, training in DEMO.runs()}) == 18
