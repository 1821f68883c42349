"""The whole symmetric k × k charge of every GL(k) is recorded, and meets its law entry by entry."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.torch_bridge.architectures import GPT, Attention, Llama, LoRA, mlp, token_loss  # noqa: E402
from tests.torch_bridge.small_network import VARIANTS as ALL_VARIANTS  # noqa: E402
from torch_bridge import pair_products  # noqa: E402
from torch_bridge.discover import find_symmetries  # noqa: E402
from torch_bridge.evaluate import evaluate  # noqa: E402
from torch_bridge.recorder import Recorder, RecordingError  # noqa: E402
from torch_bridge.run_header import PREDICTIONS  # noqa: E402
from torch_bridge.run_log import RunLog  # noqa: E402
from torch_bridge.symmetry_map import MatrixBlock, MatrixSymmetries, NeuronSymmetries, SymmetryMap  # noqa: E402
from torch_bridge.upper_triangle import entries, matrices  # noqa: E402

GL = "general linear"
VARIANTS = {name: ALL_VARIANTS[name] for name in ("plain", "momentum", "nesterov", "dampening")}
NETWORKS = {
    "linear chain": (lambda: mlp(4, 3, 5, 2, activation=nn.Identity), (16, 4), nn.functional.mse_loss),
    "LoRA": (LoRA, (16, 4), nn.functional.mse_loss),
    "attention": (Attention, (6, 3, 4), nn.functional.mse_loss),
    "grouped queries": (Llama, (8, 3), token_loss),
    "GPT": (GPT, (8, 3), token_loss),
}


def found_in(name, dtype=torch.float64):
    torch.manual_seed(0)
    build, shape, loss = NETWORKS[name]
    model = build().to(dtype)
    return find_symmetries(model, torch.zeros(shape, dtype=torch.long if loss is token_loss else dtype), loss=loss)


def train(symmetries, name, optimizer, steps, *, schedule=None):
    _, shape, loss = NETWORKS[name]
    model, draw = symmetries.model, torch.Generator().manual_seed(1)
    dtype = next(model.parameters()).dtype
    for _ in range(steps):
        tokens = loss is token_loss
        x = torch.randint(5, shape, generator=draw) if tokens else torch.randn(shape, generator=draw, dtype=dtype)
        out = model(x)
        y = torch.randint(5, shape, generator=draw) if tokens else torch.randn(out.shape, generator=draw, dtype=dtype)
        optimizer.zero_grad()
        loss(out, y).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()


def run(path, name, settings=None, *, symmetries=None, steps=40, dtype=torch.float64, lr=0.05, **options):
    symmetries = symmetries or found_in(name, dtype)
    trained = [p for p in symmetries.model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, **({"lr": lr, "weight_decay": 5e-3} | (settings or {})))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2 * steps)
    with Recorder(optimizer, symmetries, path, **options):
        train(symmetries, name, optimizer, steps, schedule=schedule)
    return RunLog.open(path)


def held_matrices(log):
    return evaluate(log).of_kind(GL)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_entry_meets_its_exact_law_to_rounding_under_a_schedule(tmp_path, name, variant):
    held = held_matrices(run(tmp_path / "run", name, VARIANTS[variant]))
    assert held
    assert max(g.gap("exact").max() for g in held) <= 1e-12
    assert max(g.gap("unbroken").max() for g in held) <= 1e-12
    assert min(g.gap("conserved").max(axis=0).min() for g in held) > 1e-6  # every entry moves


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_continuous_law_predicts_every_entry_and_the_better_the_smaller_the_steps(tmp_path, variant):
    def worst(steps, order):
        log = run(tmp_path / f"{steps} {order}", "LoRA", VARIANTS[variant], steps=steps, lr=2 / steps)
        return max(g.gap("predicted").max() for g in evaluate(log, order).of_kind(GL))

    coarse, fine = (worst(steps, order=1) for steps in (100, 200))
    assert 0 < fine < 0.7 * coarse
    assert coarse < 0.7 * worst(100, order=0)


def test_the_recorded_matrix_is_w1_w1t_minus_w2t_w2(tmp_path):
    symmetries = found_in("linear chain")
    log = run(tmp_path / "run", "linear chain", symmetries=symmetries)
    first, second, third = symmetries.model[0], symmetries.model[2], symmetries.model[4]
    expected = [
        w.weight @ w.weight.T + torch.outer(w.bias, w.bias) - v.weight.T @ v.weight
        for w, v in ((first, second), (second, third))
    ]
    for group, matrix in zip(held_matrices(log), expected, strict=True):
        whole = group.group.matrices(group.measured[-1])
        np.testing.assert_allclose(whole, matrix.detach().numpy()[None], rtol=0, atol=1e-14)


def test_the_diagonal_is_that_of_the_rescalings(tmp_path):
    held = evaluate(run(tmp_path / "run", "LoRA"))
    (matrix,), (rescale,) = held.of_kind(GL), held.of_kind("rescale")
    for name in ("measured", "magnitude", *PREDICTIONS):
        whole = matrix.group.matrices(getattr(matrix, name))
        np.testing.assert_allclose(whole[:, 0].diagonal(axis1=1, axis2=2), getattr(rescale, name), rtol=0, atol=1e-13)


def test_each_head_has_a_matrix_of_its_own_of_its_own_weights(tmp_path):
    symmetries = found_in("attention")
    log = run(tmp_path / "run", "attention", symmetries=symmetries)
    attention, queries = symmetries.model, held_matrices(log)[0]
    assert queries.group.entries.tolist() == [[h, i, j] for h in (0, 1) for i, j in ((0, 0), (0, 1), (1, 1))]
    for head in (0, 1):
        own = slice(2 * head, 2 * head + 2)
        q, k = (torch.cat([m.weight[own], m.bias[own, None]], 1) for m in (attention.q, attention.k))
        whole = queries.group.matrices(queries.measured[-1])[head]
        assert min(np.abs(sign * (q @ q.T - k @ k.T).detach().numpy() - whole).max() for sign in (1, -1)) < 1e-14


def test_grouped_queries_add_the_queries_of_all_heads_that_share_a_key(tmp_path):
    symmetries = found_in("grouped queries")
    log = run(tmp_path / "run", "grouped queries", symmetries=symmetries)
    model, held = symmetries.model, held_matrices(log)
    (values,) = [g for g in held if {b.parameter for b in g.group.blocks} == {"v.weight", "o.weight"}]
    outputs = model.o.weight.detach().reshape(4, 2, 2).movedim(1, 0)  # one block of columns a head
    expected = (model.v.weight @ model.v.weight.T).detach() - sum(o.T @ o for o in outputs)
    assert values.group.spaces == 1
    np.testing.assert_allclose(values.group.matrices(values.measured[-1])[0], expected.numpy(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameter_groups_that_divide_a_matrix_each_meet_their_law(tmp_path, variant):
    symmetries = found_in("linear chain")
    weights, biases = ([p for p in symmetries.model.parameters() if (p.ndim > 1) == big] for big in (True, False))
    groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0, "lr": 0.02}]
    optimizer = torch.optim.SGD(groups, **({"lr": 0.05, "weight_decay": 5e-3} | VARIANTS[variant]))
    train(symmetries, "linear chain", optimizer, 3)
    with Recorder(optimizer, symmetries, tmp_path / "run"):
        train(symmetries, "linear chain", optimizer, 40)
    held = held_matrices(RunLog.open(tmp_path / "run"))
    assert max(g.gap("exact").max() for g in held) <= 1e-12
    assert max(g.gap("unbroken").max() for g in held) <= 1e-12
    assert held[0].weights[1] == pytest.approx(2.5)


@pytest.mark.parametrize("variant", ["plain", "nesterov"])
def test_the_drives_alone_suffice_for_the_exact_law_of_a_true_symmetry(tmp_path, variant):
    log = run(tmp_path / "run", "attention", VARIANTS[variant], forcing="drive")
    assert max(g.gap("exact").max() for g in held_matrices(log)) <= 1e-12


@pytest.mark.parametrize("variant", VARIANTS)
def test_online_predictions_are_those_of_the_replay(tmp_path, variant):
    settings = {"every": 3, "flush_every": 8}
    replayed, online = (
        held_matrices(run(tmp_path / str(order), "LoRA", VARIANTS[variant], online=order, **settings)) for order in (None, 1)
    )
    for one, other in zip(replayed, online, strict=True):
        for name in PREDICTIONS:
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-13)


def test_a_run_in_float32_keeps_the_law_to_its_rounding(tmp_path):
    held = evaluate(run(tmp_path / "run", "GPT", VARIANTS["momentum"], dtype=torch.float32))
    assert held.ok
    assert 1e-9 < max(g.gap("exact").max() for g in held.of_kind(GL)) < 1e-5


def test_a_run_is_resumed_with_its_matrices_and_other_parameters_are_refused(tmp_path):
    symmetries = found_in("LoRA")
    optimizer = torch.optim.SGD([p for p in symmetries.model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
    with Recorder(optimizer, symmetries, tmp_path / "run"):
        train(symmetries, "LoRA", optimizer, 10)
    with Recorder(optimizer, symmetries, tmp_path / "run", resume=10):
        train(symmetries, "LoRA", optimizer, 10)
    log = RunLog.open(tmp_path / "run")
    assert log.steps == 20
    assert max(g.gap("exact").max() for g in held_matrices(log)) <= 1e-12
    with torch.no_grad():  # a rotation of one factor's rows: every diagonal of the whole could stay
        symmetries.model.a.weight[0] += symmetries.model.a.weight[1]
    with pytest.raises(RecordingError, match="resume: expected the parameters of step 20"):
        Recorder(optimizer, symmetries, tmp_path / "run", resume=20).__enter__()


# What is no symmetry, and records that are wrong


def mixed_heads(symmetries):
    """A false claim: GL(2) on a channel of one head and a channel of the other."""
    queries = symmetries.matrices[0]
    blocks = tuple(replace(block, index=(((0, 2),), ((1, 3),))) for block in queries.blocks)
    return SymmetryMap((), matrices=(MatrixSymmetries("heads mixed", blocks),), model=symmetries.model)


def test_a_false_claim_shows_as_a_gap_off_the_diagonal_and_the_record_is_still_right(tmp_path):
    symmetries = mixed_heads(found_in("attention"))
    (held,) = held_matrices(run(tmp_path / "run", "attention", symmetries=symmetries))
    diagonal = held.group.entries[:, 1] == held.group.entries[:, 2]
    assert held.gap("exact").max() <= 1e-12
    assert held.gap("unbroken")[:, diagonal].max() <= 1e-12
    assert held.gap("unbroken")[:, ~diagonal].max(axis=0).min() > 1e-6


def test_a_false_claim_recorded_with_its_drive_alone_misses_the_exact_law(tmp_path):
    symmetries = mixed_heads(found_in("attention"))
    log = run(tmp_path / "run", "attention", symmetries=symmetries, forcing="drive")
    assert evaluate(log).worst("exact") > 1e-6
    assert not evaluate(log).ok


def test_products_of_one_side_only_would_be_seen(tmp_path, monkeypatch):
    """⟨g_i, θ_j⟩ alone, not made symmetric, is not the breaking of entry (i, j)."""
    whole = pair_products._products

    def one_sided(use, seen, pairs):
        for index, products in whole(use, seen, pairs):
            left, right = (use.rows(seen[k].detach()) for k in pair_products.PAIRS[index])
            space, row, column = entries(len(left), left.shape[1]).T
            yield index, (left @ right.mT)[space, row, column] + 0 * products

    monkeypatch.setattr(pair_products, "_products", one_sided)
    held = evaluate(run(tmp_path / "run", "LoRA"))
    assert max(g.gap("exact").max() for g in held.of_kind("rescale")) <= 1e-12
    assert min(g.gap("exact").max() for g in held.of_kind(GL)) > 1e-4
    assert not held.ok


# Names, files, figures


def test_a_column_is_named_by_space_and_entry(tmp_path):
    log = run(tmp_path / "run", "attention", steps=2)
    index = next(k for k, columns in enumerate(log.header.groups) if columns.kind == GL)
    start, _ = log.header.groups[index].charge
    assert log.header.owner("charge", start + 4).endswith("space 1, entry (0, 1)")
    column = log.header.groups[index].channels["breaking"][0] + 5
    assert log.header.owner("forcing", column).startswith("breaking of the general linear symmetry")
    assert log.header.owner("forcing", column).endswith("space 1, entry (1, 1)")
    assert isinstance(log.groups[index], MatrixSymmetries)
    assert all(isinstance(block, MatrixBlock) for block in log.groups[index].blocks)
    assert log.groups[index] in found_in("attention").matrices


def test_the_labelled_arrays_have_space_row_and_column(tmp_path):
    pytest.importorskip("xarray")
    log = run(tmp_path / "run", "attention", steps=4)
    index = next(k for k, columns in enumerate(log.header.groups) if columns.kind == GL)
    node = log.to_xarray()[f"g{index}"]
    chosen = (node["space"] == 1) & (node["row"] == 0) & (node["column"] == 1)
    np.testing.assert_array_equal(node["charge"].values[:, chosen.values][:, 0], log.charge(index)[:, 4])


def test_the_map_without_its_matrices_records_the_rescalings_alone(tmp_path):
    symmetries = found_in("LoRA")
    log = run(tmp_path / "run", "LoRA", symmetries=replace(symmetries, matrices=()))
    assert {group.kind for group in log.groups} == {"rescale"}
    assert log.header.neurons == 2


def test_table_plots_and_report_show_the_matrices(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    held = evaluate(run(tmp_path / "run", "attention"))
    (line,) = [line for line in held.table().splitlines() if line.startswith(GL)]
    assert line.removeprefix(GL).split()[:2] == ["12", "12"]
    axes = held.plot(GL, neurons=6)
    assert len(axes.lines) == 12
    assert axes.get_ylabel() == r"entries of $W_1W_1^\top - W_2^\top W_2$"
    page = held.report(tmp_path / "run.html").read_text(encoding="utf-8")
    assert "General linear charges" in page
    matplotlib.pyplot.close("all")


def test_numbers_of_another_matrix_are_refused():
    with pytest.raises(ValueError, match="values: expected 6 numbers along the last axis"):
        matrices(np.zeros((4, 5)), 2, 2)


def test_a_neurons_symmetry_is_no_general_linear_one():
    with pytest.raises(ValueError, match="kind: expected one of"):
        NeuronSymmetries(GL, "w", ())
