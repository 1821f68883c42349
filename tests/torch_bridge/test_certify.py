"""A certificate says holds of what holds, and refutes each of a dozen maps that are one slip away from right."""

import copy
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from hypothesis import assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from torch_bridge.certify import CertificationError, Measured, certify  # noqa: E402
from torch_bridge.discover import find_symmetries  # noqa: E402
from torch_bridge.symmetry_map import Block, NeuronSymmetries, SymmetryMap  # noqa: E402
from torch_bridge.vgg import vgg16  # noqa: E402

NO_EPS = 1e-24


def batch(*shape, classes=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draw), torch.randint(classes, shape[:1], generator=draw)


def net(activation=nn.ReLU, eps=1e-5):
    """4 inputs, 5 normalised hidden units, 6 plain ones, 3 logits; gains, offsets and biases are random too."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, eps=eps), activation(), nn.Linear(5, 6), activation())
    model.append(nn.Linear(6, 3))
    for parameter in (p for p in model.parameters() if p.dim() == 1):
        nn.init.normal_(parameter, 0.5, 0.5)
    return model


def certificate(model, **changes):
    x, y = batch(32, 4)
    return certify(find_symmetries(model, x), F.cross_entropy, (x, y), **changes)


def broken(certificate):
    return {(row.group.kind, row.group.label) for row in certificate.failures}


# What holds


@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_symmetry_of_a_narrow_vgg_holds_to_rounding_when_batch_norm_has_no_eps(batch_norm):
    torch.manual_seed(0)
    model = vgg16(batch_norm, width=1 / 16, input_size=32, classes=3)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.eps = NO_EPS
    x, y = batch(8, 3, 32, 32)
    measured = certify(find_symmetries(model, x), F.cross_entropy, (x, y))
    assert measured.ok, str(measured)


def test_all_four_kinds_hold_to_rounding():
    measured = certificate(net(eps=NO_EPS))
    assert {row.group.kind for row in measured.rows} == {"translation", "shift", "scale", "rescale"}
    assert max(max(row.worst_gradient, row.worst_loss_change) for row in measured.rows) < 1e-12


def test_a_rescaling_across_dropout_holds_for_its_mask():
    torch.manual_seed(0)
    x, y = batch(32, 4)
    model = nn.Sequential(nn.Linear(4, 50), nn.ReLU(), nn.Dropout(), nn.Linear(50, 3))
    measured = certify(find_symmetries(model, x), F.cross_entropy, (x, y))
    assert [row.group.kind for row in measured.rows] == ["rescale", "translation", "translation"]
    assert measured.ok
    assert certify(find_symmetries(model, x), F.cross_entropy, (x, y), seed=1) != measured, "dropout was not active"


CARRIERS = [nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Dropout, nn.GELU, nn.Tanh, nn.ReLU6, nn.Softplus]


@st.composite
def networks(draw):
    """Stacks of linear layers, batch normalisations in either mode, activations of both sorts; some weights tied."""
    torch.manual_seed(draw(st.integers(0, 99)))
    width, layers = 4, []
    for _ in range(draw(st.integers(1, 4))):
        layers.append(nn.Linear(width, width, bias=draw(st.booleans())))
        if draw(st.booleans()):
            norm = nn.BatchNorm1d(width, eps=NO_EPS, affine=draw(st.booleans()))
            layers.append(norm.train(draw(st.booleans())))
        layers += [carrier() for carrier in draw(st.lists(st.sampled_from(CARRIERS), max_size=2))]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    if draw(st.booleans()):
        linear[0].weight = linear[-1].weight
    return nn.Sequential(*layers)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(networks())
def test_no_claim_about_a_random_network_is_refuted_by_measurement(model):
    x, y = batch(16, 4, classes=4)
    found = find_symmetries(model, x)
    try:
        measured = certify(found, F.cross_entropy, (x, y))
    except CertificationError as dead:
        assume("gradient other than 0" not in str(dead))
        raise
    assert measured.ok, f"{model}\n{measured}"


# What batch normalisation's eps breaks, and by how much


def test_eps_breaks_scale_by_eps_over_variance_and_nothing_else():
    measured = certificate(net())
    assert broken(measured) == {("scale", "0.weight")}
    assert not measured.ok
    assert 1e-7 < measured.failures[0].broken_by < 1e-3


def test_the_measured_violation_of_scale_is_exactly_what_eps_predicts():
    model = net().double()
    x, y = batch(32, 4)
    x = x.double()
    weight, norm = model[0].weight, model[1]
    variance = model[0](x).var(0, unbiased=False)
    g_weight, g_gain, *_ = torch.autograd.grad(F.cross_entropy(model(x), y), [weight, norm.weight, *model.parameters()])
    predicted = norm.eps / (variance + norm.eps) * norm.weight * g_gain
    assert torch.allclose((g_weight * weight).sum(1), predicted, rtol=1e-8)
    relative = predicted.abs() / (g_weight.norm(dim=1) * weight.norm(dim=1))
    assert certificate(model).rows[0].worst_gradient == pytest.approx(relative.max().item(), rel=1e-8)


def test_a_larger_tolerance_accepts_what_eps_breaks():
    assert certificate(net(), tolerance=1e-3).ok


def test_the_scale_claimed_in_train_mode_is_refuted_in_eval_mode():
    model = net(eps=NO_EPS)
    x, y = batch(32, 4)
    found = find_symmetries(model, x)
    model(x)
    model.eval()
    measured = certify(found, F.cross_entropy, (x, y))
    assert broken(measured) == {("scale", "0.weight"), ("shift", "0.bias")}
    assert all(row.broken_by > 1e-2 for row in measured.failures)


# Wrong maps: each is one slip away from the right one


def right_map():
    model = net(eps=NO_EPS)
    return find_symmetries(model, torch.empty(32, 4))


def with_blocks(symmetry_map, k, change):
    """The map with the blocks of its ``k``-th group changed."""
    groups = list(symmetry_map.groups)
    groups[k] = replace(groups[k], blocks=tuple(change(list(groups[k].blocks))))
    return replace(symmetry_map, groups=tuple(groups))


SLIPS = {
    "coefficient of the reader flipped": (3, lambda b: [b[0], b[1], replace(b[2], coefficient=1)]),
    "coefficient of the bias flipped": (3, lambda b: [b[0], replace(b[1], coefficient=-1), b[2]]),
    "bias forgotten": (3, lambda b: [b[0], b[2]]),
    "reader forgotten": (3, lambda b: b[:2]),
    "writer forgotten": (3, lambda b: b[2:]),
    "offset of the normalisation forgotten": (2, lambda b: [b[0], b[2]]),
    "linear layer instead of the normalisation's gain": (2, lambda b: [Block("0.weight", (5, 4), 0), *b[1:]]),
    "scale along the inputs": (0, lambda b: [Block("0.weight", (5, 4), 1)]),
    "scale of a layer without normalisation": (0, lambda b: [Block("3.weight", (6, 5), 0)]),
    "shift of another bias": (1, lambda b: [Block("3.bias", (6,), 0)]),
    "translation of rows": (4, lambda b: [Block("5.weight", (3, 6), 0)]),
    "translation of single biases": (5, lambda b: [Block("5.bias", (3,), 0)]),
}


@pytest.mark.parametrize(("k", "change"), SLIPS.values(), ids=SLIPS)
def test_a_wrong_map_is_refuted_by_gradient_and_by_loss_where_it_is_wrong(k, change):
    wrong = with_blocks(right_map(), k, change)
    measured = certify(wrong, F.cross_entropy, batch(32, 4))
    assert [row.holds for row in measured.rows] == [i != k for i in range(6)], str(measured)
    assert measured.rows[k].worst_gradient > 1e-3
    assert measured.rows[k].worst_loss_change > 1e-5


def test_the_map_that_the_slips_start_from_is_right():
    assert certify(right_map(), F.cross_entropy, batch(32, 4)).ok


def test_neurons_read_in_another_order_than_they_are_written_are_refuted():
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    x, y = batch(32, 1, 2, 2)
    transposed = with_blocks(find_symmetries(model, x), 0, lambda b: [*b[:2], Block("3.weight", (3, 4, 4), 2, -1)])
    assert len(certify(transposed, F.cross_entropy, (x, y)).failures) == 1


def test_gelu_does_not_have_the_symmetries_of_relu():
    claimed_for_relu = find_symmetries(net(), torch.empty(32, 4))
    gelu = replace(claimed_for_relu, model=net(nn.GELU))
    assert {kind for kind, _ in broken(certify(gelu, F.cross_entropy, batch(32, 4), tolerance=1e-3))} == {"rescale"}


def test_another_loss_does_not_have_the_translations_of_cross_entropy():
    x, _ = batch(32, 4)
    measured = certify(right_map(), F.mse_loss, (x, torch.ones(32, 3)))
    assert {kind for kind, _ in broken(measured)} == {"translation"}


def test_the_papers_pairs_of_convolutions_are_no_rescale_symmetry_across_batch_norm():
    model = net(eps=NO_EPS)
    pair = (Block("0.weight", (5, 4), 0), Block("0.bias", (5,), 0), Block("3.weight", (6, 5), 1, -1))
    claimed = SymmetryMap((NeuronSymmetries("rescale", "0 -> 3", pair),), model=model)
    assert certify(claimed, F.cross_entropy, batch(32, 4)).failures[0].broken_by > 1e-2


@pytest.mark.parametrize(("gradient", "change", "by"), [(0.5, 0.0, 0.5), (0.0, 0.25, 0.25), (1e-10, 1e-10, 0.0)])
def test_either_measurement_alone_refutes(gradient, change, by):
    row = Measured(right_map().groups[0], gradient, change, tolerance=1e-10)
    assert (row.broken_by, row.holds) == (by, by == 0.0)


def test_a_loss_that_a_symmetry_makes_infinite_or_nan_refutes_it():
    factor = iter([1.0, float("nan"), *[1.0] * 4, float("inf"), 1.0, float("nan"), float("inf")])
    measured = certify(right_map(), lambda z, y: F.cross_entropy(z, y) * next(factor), batch(32, 4))
    assert [row.worst_loss_change for row in measured.failures] == [float("inf")] * 2


def test_one_bad_neuron_among_good_ones_is_enough_to_refute_a_group():
    class OneGELU(nn.Module):
        def forward(self, x):
            return torch.cat([F.relu(x[:, :-1]), F.gelu(x[:, -1:])], dim=1)

    model = net()
    claimed = find_symmetries(model, torch.empty(32, 4))
    model[4] = OneGELU()
    assert broken(certify(claimed, F.cross_entropy, batch(32, 4), tolerance=1e-4)) == {("rescale", "3 -> 5")}


# What measuring leaves alone


def test_a_group_is_put_back_before_the_next_is_moved():
    wrong = with_blocks(right_map(), 3, lambda b: b[:2])
    groups = (wrong.groups[3], wrong.groups[5], wrong.groups[4])
    measured = certify(replace(wrong, groups=groups), F.cross_entropy, batch(32, 4))
    assert [row.holds for row in measured.rows] == [False, True, True]


def test_the_model_its_buffers_its_gradients_and_the_random_state_are_untouched():
    model = nn.Sequential(*net(), nn.Dropout(0.1))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    certificate(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.dtype == torch.float32 for p in model.parameters())
    assert model.training


def test_a_loss_module_with_weights_is_taken_to_float64_as_a_copy():
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    assert certify(right_map(), loss, batch(32, 4)).ok
    assert loss.weight.dtype == torch.float32


def test_the_same_seed_gives_the_same_certificate():
    assert certificate(net()) == certificate(net())
    assert certificate(net()) != certificate(net(), seed=1)


# Edges


def test_a_dead_unit_and_a_unit_of_weight_zero_hold():
    model = net(eps=NO_EPS)
    with torch.no_grad():
        model[3].bias[0] = -1e3
        model[3].weight[1], model[3].bias[1], model[5].weight[:, 1] = 0, 0, 0
    assert certificate(model).ok


def test_frozen_parameters_of_a_hand_made_map_can_be_measured():
    found = right_map()
    found.model.requires_grad_(False)
    assert certify(found, F.cross_entropy, batch(32, 4)).ok


def test_a_map_without_claims_is_certified_vacuously_and_says_so():
    measured = certify(SymmetryMap((), model=net()), F.cross_entropy, batch(32, 4))
    assert measured.ok
    assert str(measured).endswith("0 of 0 groups hold\n0 of 0 generators are independent")


def test_the_table_has_a_line_for_each_group_and_names_the_size_of_a_violation():
    lines = str(certificate(net())).splitlines()
    assert len(lines) == 1 + 6 + 2
    assert lines[1].startswith("scale")
    assert "broken by" in lines[1]
    assert all(line.endswith("holds") for line in lines[2:7])
    assert lines[7:] == ["5 of 6 groups hold", "28 of 28 generators are independent"]


def test_the_map_certifies_itself():
    assert right_map().certify(F.cross_entropy, batch(32, 4)).ok


X, Y = batch(32, 4)


@pytest.mark.parametrize(
    ("loss", "data", "message"),
    [
        (F.cross_entropy, (X * float("nan"), Y), "loss_fn: expected a finite loss, got nan"),
        (lambda z, y: F.cross_entropy(z, y) / 0, (X, Y), "loss_fn: expected a finite loss, got inf"),
        (lambda z, y: F.cross_entropy(z, y, reduction="none"), (X, Y), r"loss_fn: expected one number, got \(32,\)"),
        (lambda z, y: 1.0, (X, Y), "loss_fn: expected one number, got float"),
        (lambda z, y: z.sum().detach(), (X, Y), "loss_fn: expected a loss that depends on the model's parameters"),
        (lambda z, y: 0 * z.sum(), (X, Y), "batch: expected a finite gradient other than 0, got norm 0.0"),
        (lambda z, y: (0 * z.sum()).abs().sqrt(), (X, Y), "batch: expected a finite gradient other than 0, got norm nan"),
    ],
)
def test_a_loss_on_which_nothing_can_be_measured_is_refused(loss, data, message):
    with pytest.raises(CertificationError, match=message):
        certify(right_map(), loss, data)


def test_a_map_without_its_model_is_refused():
    with pytest.raises(CertificationError, match="symmetry_map: expected a map with its model, got none"):
        certify(SymmetryMap(()), F.cross_entropy, (X, Y))


def test_no_trials_are_refused():
    with pytest.raises(ValueError, match=r"trials: expected at least 1 .* got 0"):
        certificate(net(), trials=0)
