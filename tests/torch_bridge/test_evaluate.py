"""A comparison says what was measured, what each law predicts, and how far apart they are."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from derive import UnsupportedError  # noqa: E402
from tests.torch_bridge.small_network import VARIANTS, discrete_law, network, recorded, sgd, train  # noqa: E402
from torch_bridge.evaluate import PREDICTIONS, Comparison, EvaluationError, evaluate  # noqa: E402
from torch_bridge.recorder import Recorder  # noqa: E402
from torch_bridge.run_folder import segment_name  # noqa: E402
from torch_bridge.run_log import RunLog, RunLogError  # noqa: E402
from torch_bridge.symmetry_map import SymmetryMap  # noqa: E402

CURVES = ("steps", "time", "measured", "magnitude", *PREDICTIONS)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("runs") / "run", steps=40, settings=VARIANTS["momentum"], meta={"name": "demo"})


@pytest.fixture(scope="module")
def comparison(log):
    return evaluate(log)


def scheduled(folder, settings, steps=40, **schedules) -> RunLog:
    """A run whose hyper-parameters are set before every step."""
    symmetries = network()
    optimizer = sgd(symmetries, **settings)

    def each(step):
        optimizer.param_groups[0].update({name: values[step] for name, values in schedules.items()})

    with Recorder(optimizer, symmetries, folder, every=1):
        train(symmetries.model, optimizer, steps, each=each)
    return RunLog.open(folder)


def same(one, other, rows=slice(None)) -> bool:
    """Whether two groups hold the same curves, to rounding, at the steps ``rows`` of the other."""
    pairs = [(getattr(one, name), getattr(other, name)[rows]) for name in CURVES]
    return all(a.shape == b.shape and np.allclose(a, b, rtol=1e-13, atol=1e-13) for a, b in pairs)


# --- each curve is what it says ---


@pytest.mark.parametrize("variant", ["plain", "momentum", "nesterov", "dampening"])
def test_exact_is_the_recurrence_written_out_in_plain_python(tmp_path, variant):
    log = recorded(tmp_path / "run", steps=30, settings=VARIANTS[variant])
    for index, group in enumerate(evaluate(log).groups):
        np.testing.assert_allclose(group.exact, discrete_law(log, index), rtol=1e-12, atol=1e-14)


def test_measured_magnitude_and_conserved_are_the_logs_own(log, comparison):
    for index, group in enumerate(comparison.groups):
        assert np.array_equal(group.measured, log.charge(index))
        assert np.array_equal(group.magnitude, log.magnitude(index))
        assert (group.conserved == log.charge(index)[0]).all()
        assert group.conserved.shape == group.measured.shape


def test_training_time_advances_by_lr_times_one_minus_dampening(tmp_path):
    rates = [0.1 / (1 + n) for n in range(20)]
    log = scheduled(tmp_path / "run", VARIANTS["dampening"], 20, lr=rates)
    assert evaluate(log).groups[0].time == pytest.approx(0.5 * np.cumsum([0, *rates]))
    plain = scheduled(tmp_path / "plain", VARIANTS["dampening that torch ignores"], 20, lr=rates)
    assert evaluate(plain).groups[0].time == pytest.approx(np.cumsum([0, *rates]))


def test_a_translation_is_predicted_to_decay_as_weight_decay_says(tmp_path):
    log = recorded(tmp_path / "run", steps=40, schedule=True)
    for group in evaluate(log).of_kind("translation"):
        expected = group.measured[0] * np.exp(-5e-3 * group.time)[:, None]
        np.testing.assert_allclose(group.predicted, expected, rtol=1e-13)


def test_a_translation_under_momentum_is_predicted_to_be_the_papers_damped_oscillator(log, comparison):
    """Q'' + 2γQ' + ω²Q = 0 with γ = (1−β)/(η(1+β)), ω² = 2λ/(η(1+β)), Q'(0) = 0; over-damped here."""
    gamma, omega2 = 0.1 / (0.1 * 1.9), 2 * 5e-3 / (0.1 * 1.9)
    root = np.sqrt(gamma**2 - omega2)
    for group in comparison.of_kind("translation"):
        t = group.time[:, None]
        shape = np.exp(-gamma * t) * (np.cosh(root * t) + gamma / root * np.sinh(root * t))
        np.testing.assert_allclose(group.predicted, group.measured[0] * shape, rtol=1e-12)


def test_a_scale_is_predicted_from_its_decay_and_the_recorded_gradients(tmp_path):
    """Q' = −2λQ + ηq with q constant over each step, solved step by step."""
    log = recorded(tmp_path / "run", steps=30)
    (group,) = evaluate(log).of_kind("scale")
    kept, q, charge = np.exp(-2 * 5e-3 * 0.1), log.channel(0, "gradient"), group.measured[0]
    for n in range(30):
        charge = kept * charge + (1 - kept) / (2 * 5e-3) * 0.1 * q[n]
    np.testing.assert_allclose(group.predicted[-1], charge, rtol=1e-13)


def test_order_0_predicts_weight_decay_alone(tmp_path):
    log = recorded(tmp_path / "run", steps=30)
    held = evaluate(log, order=0)
    assert (held.order, held.groups[0].law.order) == (0, 0)
    for group in held.groups:
        rate = group.group.symmetry.degree * 5e-3
        np.testing.assert_allclose(group.predicted, group.measured[0] * np.exp(-rate * group.time)[:, None], rtol=1e-13)
    assert held.worst("exact") == evaluate(log).worst("exact")
    assert max(g.gap().max() for g in held.of_kind("scale")) > 3 * max(g.gap().max() for g in evaluate(log).of_kind("scale"))


def test_without_weight_decay_order_0_is_conservation(tmp_path):
    for group in evaluate(recorded(tmp_path / "run", steps=10, settings={"weight_decay": 0.0}), order=0).groups:
        np.testing.assert_allclose(group.predicted, group.conserved, rtol=1e-15)


@pytest.mark.parametrize("order", [2, -1])
def test_an_order_that_is_not_covered_is_refused(log, order):
    with pytest.raises(UnsupportedError, match=f"order: expected 0 .* or 1 .* got {order}"):
        evaluate(log, order)


# --- schedules ---


@pytest.mark.parametrize("variant", ["plain", "momentum", "nesterov", "dampening"])
def test_steps_with_learning_rate_0_are_covered(tmp_path, variant):
    """A warm-up starts there. No training time passes, so no charge moves and none is predicted to."""
    rates = [0.0] * 3 + [0.1] * 12 + [0.0] * 5 + [0.05] * 20
    held = evaluate(scheduled(tmp_path / "run", VARIANTS[variant], lr=rates))
    assert held.worst("exact") < 1e-12
    assert held.worst("predicted") < 0.1
    for group in held.groups:
        assert np.array_equal(group.predicted[3], group.predicted[0])
        assert np.array_equal(group.predicted[20], group.predicted[15])
        assert not np.array_equal(group.predicted[3], group.predicted[4])


def test_a_run_that_never_steps_predicts_and_measures_what_it_started_from(tmp_path):
    held = evaluate(scheduled(tmp_path / "run", VARIANTS["momentum"], lr=[0.0] * 40))
    assert [held.worst(name) for name in PREDICTIONS] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("weight_decay", [5e-3] * 20 + [5e-2] * 20),
        ("momentum", list(np.linspace(0.95, 0.85, 40))),
        ("dampening", [0.0] * 20 + [0.5] * 20),
    ],
)
def test_every_other_hyper_parameter_may_be_scheduled_too(tmp_path, name, values):
    held = evaluate(scheduled(tmp_path / "run", VARIANTS["momentum"], **{name: values}))
    assert held.worst("exact") < 1e-12
    assert held.worst("predicted") < 0.1


def test_a_predicted_curve_that_ignores_the_schedule_would_be_seen(tmp_path):
    rates = [0.1] * 20 + [0.01] * 20
    log = scheduled(tmp_path / "run", {}, lr=rates, weight_decay=[0.5] * 40)
    group = evaluate(log).of_kind("translation")[0]
    unscheduled = group.measured[0] * np.exp(-0.5 * 0.1 * group.steps)[:, None]
    assert np.abs(unscheduled - group.measured).max() > 10 * np.abs(group.predicted - group.measured).max()


def test_dampening_that_lets_no_gradient_through_is_refused(tmp_path):
    """With α = 1 no training time passes though θ moves: there is no continuous law."""
    log = scheduled(tmp_path / "run", VARIANTS["momentum"], dampening=[1.0] * 40)
    with pytest.raises(ValueError, match="dampening"):
        evaluate(log)


# --- which steps, which groups, which neurons ---


@pytest.mark.parametrize("variant", ["plain", "momentum", "nesterov"])
def test_measuring_less_often_changes_no_prediction(tmp_path, variant):
    often, seldom = (recorded(tmp_path / f"{n}", steps=40, settings=VARIANTS[variant], every=n) for n in (1, 7))
    for one, other in zip(evaluate(seldom).groups, evaluate(often).groups, strict=True):
        assert one.steps.tolist() == [0, 7, 14, 21, 28, 35, 40]
        assert same(one, other, one.steps)
        assert not same(one, other, one.steps - (one.steps > 0))


@pytest.mark.parametrize("variant", ["plain", "momentum"])
def test_groups_side_by_side_give_what_each_gives_alone(tmp_path, variant):
    together = evaluate(recorded(tmp_path / "all", steps=30, settings=VARIANTS[variant])).groups
    for index, expected in enumerate(together):
        symmetries = network()
        only = SymmetryMap(symmetries.groups[index : index + 1], model=symmetries.model)
        optimizer = sgd(symmetries, **VARIANTS[variant])
        with Recorder(optimizer, only, tmp_path / f"{index}", every=1):
            train(symmetries.model, optimizer, 30)
        (alone,) = evaluate(RunLog.open(tmp_path / f"{index}")).groups
        assert alone.group == expected.group
        assert same(alone, expected)


def test_groups_come_in_the_order_of_the_log_and_differ(comparison, log):
    assert [group.group for group in comparison.groups] == list(log.groups)
    first, second = comparison.of_kind("translation")
    assert not same(first, second)


def test_parameter_groups_keep_their_own_time_and_hyper_parameters(tmp_path):
    symmetries = network()
    first, *rest = list(symmetries.model)
    parts = [{"params": first.parameters(), "lr": 0.02}, {"params": torch.nn.Sequential(*rest).parameters()}]
    optimizer = torch.optim.SGD(parts, lr=0.1, weight_decay=5e-3)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 30)
    held = evaluate(RunLog.open(tmp_path / "run"))
    assert held.worst("exact") < 1e-12
    ends = {group.group.label: group.time[-1] for group in held.groups}
    assert ends == pytest.approx({"0 -> 1": 0.6, "0.bias": 0.6, "3 -> 5": 3.0, "5.weight": 3.0, "5.bias": 3.0})


def test_biases_before_batch_norm_that_start_at_exactly_0_are_not_compared(tmp_path):
    """They have no gradient: what they hold later is rounding noise, which no law is about."""
    symmetries = network()
    with torch.no_grad():
        symmetries.model[0].bias[:4] = 0
    optimizer = sgd(symmetries)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 30)
    held = evaluate(RunLog.open(tmp_path / "run"))
    (shift,) = held.of_kind("shift")
    assert shift.compared.tolist() == [False] * 4 + [True] * 2
    assert shift.gap("exact").shape == (31, 2)
    assert shift.measured.shape == (31, 6)
    row = next(row for row in held.rows() if row["kind"] == "shift")
    assert (row["charges"], row["compared"]) == (6, 2)
    assert held.worst("exact") < 1e-12


def test_a_kind_of_which_no_neuron_is_compared_has_no_gap(tmp_path):
    symmetries = network()
    torch.nn.init.zeros_(symmetries.model[0].bias)
    optimizer = sgd(symmetries)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 5)
    held = evaluate(RunLog.open(tmp_path / "run"))
    row = next(row for row in held.rows() if row["kind"] == "shift")
    assert row["compared"] == 0
    assert np.isnan(row["exact"]).all()
    assert "–" in held.table()
    assert "nan" not in held.table()
    assert 0 < held.worst("exact") < 1e-12


def test_a_charge_that_starts_at_exactly_0_and_moves_is_compared(tmp_path):
    """The last bias: its sum stays what it was, but its entries grow."""
    symmetries = network()
    torch.nn.init.zeros_(symmetries.model[5].bias)
    optimizer = sgd(symmetries, **VARIANTS["momentum"])
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 30)
    bias = evaluate(RunLog.open(tmp_path / "run")).of_kind("translation")[1]
    assert (bias.group.label, bias.compared.tolist()) == ("5.bias", [True])
    assert bias.magnitude[0] == 0 < bias.magnitude[-1]
    assert bias.gap("exact").max() < 1e-12


def test_a_neuron_that_never_holds_anything_is_not_compared(tmp_path):
    symmetries = network()
    rescale = symmetries.groups[1]
    with torch.no_grad():
        for block in rescale.blocks:
            symmetries.model.get_parameter(block.parameter).select(block.axis, 0).zero_()
    optimizer = sgd(symmetries)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 10)
    held = evaluate(RunLog.open(tmp_path / "run"))
    assert held.of_kind("rescale")[0].compared.tolist() == [False, True, True, True]
    assert held.worst("exact") < 1e-12


# --- the numbers of merit ---


def scale(group):
    """The largest sum of the charge's absolute terms up to each time."""
    return np.array([group.magnitude[: n + 1].max(axis=0) for n in range(len(group.steps))])


@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_gap_is_the_distance_relative_to_the_largest_sum_of_absolute_terms_so_far(comparison, name):
    for group in comparison.groups:
        assert np.array_equal(group.gap(name), np.abs(getattr(group, name) - group.measured) / scale(group))


def test_the_gap_is_that_of_the_continuous_law_unless_told_otherwise(comparison):
    assert np.array_equal(comparison.groups[0].gap(), comparison.groups[0].gap("predicted"))
    assert comparison.worst() == comparison.worst("predicted")


def test_worst_is_the_largest_gap_anywhere(comparison):
    for name in PREDICTIONS:
        assert comparison.worst(name) == max(group.gap(name).max() for group in comparison.groups)
    assert 0 < comparison.worst("exact") < 1e-12 < comparison.worst("predicted") < 1e-2 < comparison.worst("conserved")


def test_one_wrong_number_in_one_neuron_is_the_worst(comparison):
    altered = off_by(comparison, 3)
    assert altered.worst("exact") == pytest.approx(3)
    assert next(row for row in altered.rows() if row["kind"] == "translation")["exact"][1] == pytest.approx(3)


@pytest.mark.parametrize("place", [0, 2])
def test_a_prediction_that_is_not_a_number_is_never_hidden_by_the_others(comparison, place):
    groups = list(comparison.groups)
    predicted = groups[place].predicted.copy()
    predicted[5, 0] = np.nan
    groups[place] = replace(groups[place], predicted=predicted)
    assert np.isnan(replace(comparison, groups=tuple(groups)).worst())


@pytest.mark.parametrize("name", ["nonsense", "measured", ""])
def test_an_unknown_prediction_is_refused_with_the_known_ones(comparison, name):
    with pytest.raises(EvaluationError, match=f"prediction: expected one of .*exact.*conserved.* got '{name}'"):
        comparison.worst(name)
    with pytest.raises(EvaluationError, match="prediction: expected one of"):
        comparison.groups[0].gap(name)


def test_kinds_are_listed_as_they_occur_and_found_again(comparison):
    assert comparison.kinds == ("translation", "shift", "scale", "rescale")
    assert [len(comparison.of_kind(kind)) for kind in comparison.kinds] == [2, 1, 1, 1]
    assert comparison.of_kind("nonsense") == ()
    assert replace(comparison, groups=comparison.groups[:1]).kinds == ("scale",)


def test_a_row_holds_median_and_worst_over_all_neurons_of_its_kind(comparison):
    rows = {row["kind"]: row for row in comparison.rows()}
    assert {kind: row["charges"] for kind, row in rows.items()} == {"translation": 5, "shift": 6, "scale": 6, "rescale": 4}
    gaps = np.concatenate([g.gap("predicted").max(axis=0) for g in comparison.of_kind("translation")])
    assert rows["translation"]["predicted"] == (np.median(gaps), gaps.max())
    assert gaps.max() > np.median(gaps)


def test_the_table_shows_the_worst_gaps_of_the_rows(comparison):
    head, *lines = comparison.table().splitlines()
    assert head.split() == ["kind", "charges", "compared", *PREDICTIONS]
    for line, row in zip(lines, comparison.rows(), strict=True):
        kind, charges, compared, *gaps = line.split()
        assert (kind, int(charges), int(compared)) == (row["kind"], row["charges"], row["compared"])
        assert gaps == [f"{row[name][1]:.1e}" for name in PREDICTIONS]
    assert len({len(line) for line in (head, *lines)}) == 1


def test_path_order_and_meta_are_kept(comparison, log):
    assert (comparison.path, comparison.order, dict(comparison.meta)) == (log.path, 1, {"name": "demo"})


def test_plotting_a_kind_that_did_not_occur_is_refused(comparison):
    pytest.importorskip("matplotlib").use("Agg")
    with pytest.raises(EvaluationError, match=r"kind.*: expected .*translation.* got 'nonsense'"):
        comparison.plot("nonsense")
    for place in (-1, 2):
        with pytest.raises(EvaluationError, match=rf"place: expected .* got .*{place}"):
            comparison.plot("translation", place)


# --- the verdict ---


def off_by(comparison, distance):
    """The same comparison with one number of one neuron's exact prediction that much off."""
    group = comparison.groups[2]
    exact = group.exact.copy()
    exact[17, 1] += distance * scale(group)[17, 1]
    return replace(comparison, groups=(*comparison.groups[:2], replace(group, exact=exact), *comparison.groups[3:]))


def test_a_run_whose_exact_law_holds_to_rounding_is_ok_and_says_so(comparison):
    assert comparison.ok
    assert "holds" in comparison.verdict()
    assert f"{comparison.worst('exact'):.1e}" in comparison.verdict()


@pytest.mark.parametrize("distance", [1e-11, 1e-3, np.nan])
def test_a_run_that_misses_its_exact_law_anywhere_is_not_ok_and_says_so(comparison, distance):
    wrong = off_by(comparison, distance)
    assert not wrong.ok
    assert "MISSED" in wrong.verdict()


def test_a_float32_run_is_allowed_float32s_rounding_and_no_more(tmp_path):
    held = evaluate(recorded(tmp_path / "run", steps=20, dtype=torch.float32, settings=VARIANTS["momentum"]))
    assert held.ok
    assert held.worst("exact") > 1e-12
    assert off_by(held, 1e-5).ok
    assert not off_by(held, 1e-4).ok


def test_the_verdict_says_by_how_much_each_symmetry_is_broken(comparison):
    for row in comparison.rows():
        assert f"{row['kind']} {row['unbroken'][1]:.1e}" in comparison.verdict()


# --- logs that are short or damaged ---


def test_a_path_is_no_log(tmp_path):
    with pytest.raises(EvaluationError, match=r"log: expected a RunLog, got .*RunLog.open"):
        evaluate(str(tmp_path))


def test_a_log_without_a_step_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match=r"log: expected at least one recorded step, got none in .*run"):
        evaluate(recorded(tmp_path / "run", steps=0))


def test_a_log_of_one_step_is_enough(tmp_path):
    held = evaluate(recorded(tmp_path / "run", steps=1, settings=VARIANTS["dampening"]))
    assert held.groups[0].steps.tolist() == [0, 1]
    assert held.worst("exact") < 1e-12


@pytest.fixture
def damaged(tmp_path):
    """A run of three segments of 20 steps, the second with one flipped bit."""
    recorded(tmp_path / "run", steps=60, settings=VARIANTS["momentum"], flush_every=20)
    file = tmp_path / "run" / segment_name(20)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return tmp_path / "run"


def test_a_damaged_log_is_evaluated_up_to_the_damage_when_asked_to(tmp_path, damaged):
    with pytest.raises(RunLogError, match="recover=True"):
        RunLog.open(damaged)
    log = RunLog.open(damaged, recover=True)
    held, whole = evaluate(log), evaluate(recorded(tmp_path / "whole", steps=60, settings=VARIANTS["momentum"]))
    assert not log.complete
    assert held.groups[0].steps.tolist() == list(range(21))
    for one, other in zip(held.groups, whole.groups, strict=True):
        assert same(one, other, slice(21))


def test_a_log_damaged_from_the_start_is_refused_even_then(damaged):
    (damaged / segment_name(0)).write_bytes(b"")
    with pytest.raises(EvaluationError, match="at least one recorded step"):
        evaluate(RunLog.open(damaged, recover=True))


def test_a_run_that_was_cut_short_is_evaluated_as_far_as_it_went(tmp_path):
    symmetries = network()
    optimizer = sgd(symmetries)

    def stop(step):
        if step == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 30, each=stop)
    held = evaluate(RunLog.open(tmp_path / "run"))
    assert held.groups[0].steps[-1] == 12
    assert held.worst("exact") < 1e-12


def test_a_comparison_of_nothing_has_no_kinds_and_no_gap(tmp_path):
    nothing = Comparison(tmp_path, 1, "float64", {}, ())
    assert (nothing.kinds, nothing.rows(), nothing.ok) == ((), [], False)
    assert np.isnan(nothing.worst())
