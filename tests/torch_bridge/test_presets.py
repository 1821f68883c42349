"""The presets are the paper's: numbers typed here from Table 4 and the captions of Kunin et al. 2021, not from the code."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from torch_bridge.presets import DEMO, FULL_WIDTH, PAPER, PRESETS, TABLE_4, FigurePlan, Panel, Run, Sweep
from torch_bridge.train import TrainingError

PLAIN, BN = "vgg16", "vgg16-bn"
DECAYS = {0, 0.001, 0.0005, 0.0001}
ALL_MOMENTA = {0, 0.9, 0.99}

# caption: models, batch size, momenta, weight decays; η = 0.1 in all
CAPTIONS = {
    1: ({BN}, 256, {0}, {1e-4}),
    5: ({PLAIN, BN}, 256, {0}, {0, 1e-4, 1e-3}),
    6: ({PLAIN}, 256, ALL_MOMENTA, {5e-3}),
    8: ({PLAIN}, 256, {0}, DECAYS),
    9: ({BN}, 256, {0}, DECAYS),
    10: ({PLAIN}, 256, {0}, DECAYS),
    11: ({PLAIN}, 128, ALL_MOMENTA, DECAYS),
    12: ({BN}, 128, ALL_MOMENTA, DECAYS),
    13: ({PLAIN}, 128, ALL_MOMENTA, DECAYS),
    14: ({BN}, 256, {0}, {0}),
    15: ({PLAIN}, 256, {0}, {0}),
    16: ({BN}, 128, {0.9, 0.99}, {0}),
    17: ({PLAIN}, 128, {0.9, 0.99}, {0}),
}
KINDS = {5: {"translation", "scale", "rescale"}, 1: {"weights", "scale"}} | {
    number: {kind}
    for kind, numbers in {"translation": (6, 8, 11), "scale": (9, 12, 14, 16), "rescale": (10, 13, 15, 17)}.items()
    for number in numbers
}


def plan(number, preset=PAPER):
    (found,) = preset.chosen([number])
    return found


def test_the_table_is_table_4():
    rows = [(s.model, s.batch_size, set(s.lrs), set(s.momenta), set(s.weight_decays)) for s in TABLE_4]
    assert rows == [
        (PLAIN, 256, {0.1, 0.01}, {0}, DECAYS),
        (BN, 256, {0.1, 0.01}, {0}, DECAYS),
        (PLAIN, 128, {0.1}, ALL_MOMENTA, DECAYS),
        (BN, 128, {0.1}, ALL_MOMENTA, DECAYS),
    ]
    assert len({run for sweep in TABLE_4 for run in sweep.runs()}) == 8 + 8 + 12 + 12


def test_the_papers_runs_last_a_hundred_epochs_undamped_unclipped_at_full_size():
    assert (PAPER.epochs, PAPER.width, PAPER.input_size, PAPER.data) == (100, 1.0, 64, "tiny-imagenet")
    for run in PAPER.runs(table=True):
        training = PAPER.training_of(run, images=100_000)
        assert training.steps == 100 * (100_000 // run.batch_size)
        assert (training.dampening, training.nesterov, training.clip, training.cosine) == (0, False, 0, False)


def test_the_full_width_preset_trains_the_papers_network_in_twelve_runs():
    assert (FULL_WIDTH.width, FULL_WIDTH.input_size, FULL_WIDTH.classes) == (PAPER.width, PAPER.input_size, 200)
    assert len(FULL_WIDTH.runs()) == len(FULL_WIDTH.runs(table=True)) == 12


@pytest.mark.parametrize("number", CAPTIONS)
def test_a_figure_shows_the_runs_of_its_caption(number):
    runs = set(plan(number).runs())
    models, batch, momenta, decays = CAPTIONS[number]
    assert {run.model for run in runs} == models
    assert {(run.batch_size, run.lr) for run in runs} == {(batch, 0.1)}
    assert {run.momentum for run in runs} == momenta
    assert {run.weight_decay for run in runs} == decays
    assert len(runs) == len(models) * len(momenta) * len(decays)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("number", CAPTIONS)
def test_a_figure_shows_the_charges_of_its_caption_on_nets_that_have_them(number, preset):
    panels = [panel for row in plan(number, preset).panels for panel in row]
    assert {panel.kind for panel in panels} == KINDS[number]
    assert all(panel.run.model == BN for panel in panels if panel.kind == "scale")
    assert all(panel.run.model == PLAIN for panel in panels if panel.kind in ("translation", "rescale"))
    assert len(set(panels)) == len(panels)


def test_every_figure_is_in_every_preset():
    assert all([plan.number for plan in preset.figures] == list(CAPTIONS) for preset in PRESETS.values())


@pytest.mark.parametrize(("number", "panels"), [(14, 13), (15, 12), (16, 2 * 13), (17, 2 * 12)])
def test_the_figures_of_neurons_have_a_panel_for_each_convolution_or_pair(number, panels):
    assert sum(len(row) for row in plan(number).panels) == panels


def test_shared_runs_are_trained_once():
    # 2 x 4 without momentum at S = 256, 3 of Fig. 6, 2 x 12 with momentum
    assert len(PAPER.runs()) == len(set(PAPER.runs())) == 8 + 3 + 24
    assert set(PAPER.runs([5, 8, 9, 10, 14, 15])) == set(PAPER.runs([8, 9]))


def test_the_table_adds_the_runs_that_no_figure_shows():
    rest = set(PAPER.runs(table=True)) - set(PAPER.runs())
    assert {(run.lr, run.batch_size, run.momentum) for run in rest} == {(0.01, 256, 0)}
    assert len(rest) == 8


def test_the_small_figures_need_the_eighteen_runs_of_the_small_grid():
    assert set(DEMO.runs()) == set(DEMO.runs(table=True))
    assert len(DEMO.runs()) == 18


def test_clipping_keeps_the_longest_step():
    longest = {t.lr * t.clip / (1 - t.momentum) for t in (DEMO.training_of(run, 1797) for run in DEMO.runs())}
    assert max(longest) == pytest.approx(min(longest))


def test_runs_have_names_of_their_own():
    for preset in PRESETS.values():
        runs = preset.runs(table=True)
        assert len({run.name for run in runs}) == len(runs)


# --- refusals ---


@pytest.mark.parametrize("figures", [[7], [5, 18], [], [0]])
def test_figures_that_the_paper_does_not_draw_from_runs_are_refused(figures):
    with pytest.raises(TrainingError, match="figures: expected some of 1, 5, 6, 8"):
        DEMO.runs(figures)


@pytest.mark.parametrize("name", ["lrs", "momenta", "weight_decays"])
def test_a_sweep_of_nothing_is_refused(name):
    with pytest.raises(TrainingError, match=f"{name}: expected at least one value"):
        replace(TABLE_4[0], **{name: ()})


def test_what_cannot_be_drawn_or_trained_is_refused():
    run = Run(PLAIN, 8, 0.1, 0.0, 0.0)
    with pytest.raises(TrainingError, match="model: expected one of"):
        replace(run, model="resnet")
    with pytest.raises(TrainingError, match="kind: expected one of"):
        Panel(run, "rotation")
    with pytest.raises(TrainingError, match="place: expected a number for translation"):
        Panel(run, "translation", None)
    with pytest.raises(TrainingError, match="panels: expected at least one"):
        FigurePlan(5, "title", "caption", ((),))
    with pytest.raises(TrainingError, match="epochs: expected at least 1"):
        replace(PAPER, epochs=0)
    with pytest.raises(TrainingError, match="batch_size: expected 1 to 4"):
        PAPER.training_of(run, images=4)
    assert next(iter(Sweep(PLAIN, 8, (0.1,), (0.0,), (0.0,)).runs())) == run
