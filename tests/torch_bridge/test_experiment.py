"""Runs are trained once, side by side, and resumed; every figure is drawn from their logs alone."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

from torch_bridge.evaluate import PREDICTIONS, EvaluationError, evaluate  # noqa: E402
from torch_bridge.experiment import RECORD, draw_experiment, run_experiment  # noqa: E402
from torch_bridge.paper_figures import curves_of, draw  # noqa: E402
from torch_bridge.presets import DEMO, PAPER, Panel, Preset, Run, Settings, figures_of_the_paper  # noqa: E402
from torch_bridge.run_folder import write_manifest  # noqa: E402
from torch_bridge.run_log import RunLog  # noqa: E402
from torch_bridge.train import Training, TrainingError  # noqa: E402

BATCH = 8
SETTINGS = Settings(
    plain_batch=BATCH, momentum_batch=BATCH, lr=0.05, momenta=(0.0, 0.9), decays=(0.0, 5e-3), first=5e-3,
    main=(0.0, 5e-3), strong=5e-3,
)  # fmt: skip
TINY = Preset("tiny", (), figures_of_the_paper(SETTINGS), Training(steps=4, clip=20.0, every=2), width=1 / 32, input_size=32)
NUMBERS = [1, 5, 6, *range(8, 18)]
MOVING = Run("vgg16-bn", BATCH, 0.05, 0.9, 0.005)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment") / "out"
    assert run_experiment(TINY, folder, jobs=2) == folder / "report.html"
    return folder


@pytest.fixture
def copy(out, tmp_path):
    """The folder of an experiment that was asked for Fig. 6 only, so that going on with it draws little."""
    folder = shutil.copytree(out, tmp_path / "copy")
    (folder / RECORD).write_text(json.dumps({"preset": TINY.name, "figures": [6]}))
    return folder


def stamps(folder):
    """Folder of a run -> when its files were last written."""
    return {run.name: [(folder / run.name / "manifest.json").stat().st_mtime_ns] for run in TINY.runs()}


# --- training ---


def test_every_run_is_trained_once_and_leaves_a_complete_log_under_its_name(out):
    assert len(TINY.runs()) == 8
    assert {entry.name for entry in out.iterdir() if entry.is_dir()} == {run.name for run in TINY.runs()} | {"figures"}
    for run in TINY.runs():
        log = RunLog.open(out / run.name)
        assert (log.complete, log.steps, log.charge_steps.tolist()) == (True, 4, [0, 2, 4])
        asked = {"lr": run.lr, "momentum": run.momentum, "weight_decay": run.weight_decay}
        assert {name: log.hyper(0)[name][0] for name in asked} == asked
        assert any(group.kind == "scale" for group in log.groups) == ("bn" in run.model)


def test_the_exact_law_holds_in_every_run(out):
    assert max(evaluate(RunLog.open(out / run.name)).worst("exact") for run in TINY.runs()) <= 5e-5


def test_runs_of_one_model_start_from_the_same_weights(out):
    one, other = (RunLog.open(out / replace(MOVING, momentum=beta).name) for beta in (0.0, 0.9))
    assert (one.charge(0)[0] == other.charge(0)[0]).all()
    assert (one.charge(0)[-1] != other.charge(0)[-1]).any()


def test_only_what_is_missing_or_cut_short_is_trained_and_becomes_what_it_was(copy):
    runs = TINY.runs([6])
    before, charge = stamps(copy), RunLog.open(copy / runs[0].name).charge(0)
    log = RunLog.open(copy / runs[0].name)
    write_manifest(log.path, log.header, None)  # as a killed run leaves it
    shutil.rmtree(copy / runs[1].name)
    run_experiment(TINY, copy, figures=[6], jobs=1)
    after = stamps(copy)
    assert {name for name in before if before[name] != after[name]} == {run.name for run in runs}
    assert np.array_equal(RunLog.open(copy / runs[0].name).charge(0), charge)


def test_runs_of_other_settings_are_not_gone_on_with(copy):
    longer = replace(TINY, training=replace(TINY.training, steps=5))
    with pytest.raises(TrainingError, match="out: expected runs with steps 5 to go on with, got 4 in "):
        run_experiment(longer, copy, figures=[6])
    with pytest.raises(TrainingError, match="out: expected an experiment of preset 'demo', got 'tiny'"):
        run_experiment(DEMO, copy)


def test_what_is_not_a_runs_is_never_deleted(copy):
    run = TINY.runs([6])[0]
    log = RunLog.open(copy / run.name)
    write_manifest(log.path, log.header, None)
    (log.path / "notes.txt").write_text("mine")
    with pytest.raises(TrainingError, match=r"expected a run or nothing in .*got notes\.txt"):
        run_experiment(TINY, copy, figures=[6], jobs=1)
    assert (log.path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_place_that_holds_something_else_is_refused_and_left_alone(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TrainingError, match=r"out: expected a new or empty folder.*holds something else"):
        run_experiment(TINY, tmp_path if place == "folder" else tmp_path / "file")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_papers_preset_asks_for_its_data_before_it_writes_anything(tmp_path):
    with pytest.raises(ValueError, match=r"tiny-imagenet:PATH with PATH/train/<wnid>/images"):
        run_experiment(PAPER, tmp_path / "out")
    with pytest.raises(ValueError, match=r"PATH/train/<wnid>/images.*got no folder"):
        run_experiment(replace(PAPER, data=f"tiny-imagenet:{tmp_path}"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_jobs_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="jobs: expected at least 1, got 0"):
        run_experiment(TINY, tmp_path / "out", jobs=0)


@pytest.mark.slow
def test_a_run_that_fails_fails_the_experiment_with_its_reason(tmp_path):
    wild = replace(TINY, figures=figures_of_the_paper(replace(SETTINGS, lr=1e30)))
    with pytest.raises(ValueError, match=r"lower lr|lower the learning rate"):
        run_experiment(wild, tmp_path / "out", figures=[8], jobs=1)
    assert not (tmp_path / "out" / "report.html").exists()


# --- drawing ---


def test_every_figure_is_drawn_and_shown_with_what_to_see(out):
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == page.count("data:image/png;base64,") == len(NUMBERS)
    assert sorted(file.name for file in (out / "figures").iterdir()) == [f"figure-{n:02d}.png" for n in NUMBERS]
    assert all(f"(as Fig. {n} of the paper)" in page for n in NUMBERS)
    assert "<script" not in page
    assert page.count("https://") == 0


def test_figures_are_drawn_from_the_logs_alone(copy):
    shutil.rmtree(copy / "figures")
    (copy / "report.html").unlink()
    before = stamps(copy)
    page = draw_experiment(copy, figures=[5, 9], preset=TINY)
    assert sorted(file.name for file in (copy / "figures").iterdir()) == ["figure-05.png", "figure-09.png"]
    assert page.read_text(encoding="utf-8").count("<figure>") == 2
    assert stamps(copy) == before


def test_the_lines_of_a_panel_are_the_charges_and_the_predictions_of_its_run(out):
    plan = next(plan for plan in TINY.figures if plan.number == 16)
    comparison = evaluate(RunLog.open(out / plan.panels[0][0].run.name))
    curves = {panel: curves_of(panel, comparison) for row in plan.panels for panel in row}
    kernels = [group for group in comparison.of_kind("scale") if len(group.group.blocks[0].view) == 4]
    figure = draw(plan, curves)
    for place, ax in enumerate(figure.axes[: len(curves)]):
        group = kernels[place]
        solid, dashed = ([line for line in ax.lines if line.is_dashed() == dash] for dash in (False, True))
        assert np.array_equal(solid[-1].get_ydata(), group.measured[:, -1])
        assert np.array_equal(dashed[-1].get_ydata(), group.predicted[:, -1])
        assert ax.get_title() == f"conv {place + 1}"
    plt.close(figure)


def test_a_layers_line_is_the_sum_over_its_neurons(out):
    comparison = evaluate(RunLog.open(out / MOVING.name))
    layers = curves_of(Panel(MOVING, "scale", None), comparison)
    assert layers.layers == tuple(f"conv {k}" for k in range(1, 14))
    kernels = [group for group in comparison.of_kind("scale") if len(group.group.blocks[0].view) == 4]
    for k, group in enumerate(kernels):
        assert np.array_equal(layers.measured[:, k], group.measured.sum(axis=1))
        assert layers.predicted is not None
        assert np.array_equal(layers.predicted[:, k], group.predicted.sum(axis=1))


def test_consecutive_convolutions_are_paired_and_the_classifier_left_out(out):
    plain = replace(MOVING, model="vgg16")
    pairs = curves_of(Panel(plain, "rescale", None), evaluate(RunLog.open(out / plain.name)))
    assert pairs.layers == tuple(f"conv {k}–{k + 1}" for k in range(1, 13))


def test_figure_1_has_weights_without_a_law_beside_norms_with_one(out):
    run = TINY.chosen([1])[0].panels[0][0].run
    comparison = evaluate(RunLog.open(out / run.name))
    weights, norms = (curves_of(Panel(run, kind, 4), comparison) for kind in ("weights", "scale"))
    assert weights.predicted is None
    assert norms.predicted is not None
    assert weights.where == norms.where == "conv 5"
    assert weights.measured.shape == (3, 8)
    assert (weights.measured[0] != weights.measured[-1]).any()


def test_the_errors_are_kept_as_numbers_too(out):
    rows = json.loads((out / "errors.json").read_text(encoding="utf-8"))
    assert {row["run"] for row in rows} == {run.name for run in TINY.runs()}
    expected = evaluate(RunLog.open(out / MOVING.name)).rows()
    for row, fresh in zip([row for row in rows if row["run"] == MOVING.name], expected, strict=True):
        assert {key: row[key] for key in PREDICTIONS} == {key: list(fresh[key]) for key in PREDICTIONS}


def test_a_figure_whose_run_is_missing_or_cut_short_is_refused_by_the_runs_name(copy):
    run = TINY.runs([8])[0]
    log = RunLog.open(copy / run.name)
    write_manifest(log.path, log.header, None)
    with pytest.raises(TrainingError, match=f"1 of 2 missing or cut short in .*{run.name}"):
        draw_experiment(copy, figures=[8], preset=TINY)
    shutil.rmtree(log.path)
    with pytest.raises(TrainingError, match=f"1 of 2 missing or cut short in .*{run.name}"):
        draw_experiment(copy, figures=[8], preset=TINY)


def test_a_folder_without_an_experiment_or_with_a_damaged_record_is_refused(copy, tmp_path):
    with pytest.raises(TrainingError, match=f"expected an experiment's folder with {RECORD}"):
        draw_experiment(tmp_path)
    with pytest.raises(TrainingError, match="preset: expected one of demo, full-width, paper, got 'tiny'"):
        draw_experiment(copy)
    (copy / RECORD).write_text("{")
    with pytest.raises(TrainingError, match=f"{RECORD}: damaged"):
        draw_experiment(copy)


def test_charges_that_a_run_does_not_have_are_refused(out):
    plain = replace(MOVING, model="vgg16")
    comparison = evaluate(RunLog.open(out / plain.name))
    with pytest.raises(EvaluationError, match="kind: expected scale charges of convolutions"):
        curves_of(Panel(plain, "scale", None), comparison)
    with pytest.raises(EvaluationError, match="place: expected below 12"):
        curves_of(Panel(plain, "rescale", 12), comparison)
