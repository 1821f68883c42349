"""Exactly the symmetries that a network has are claimed: known counts, measured null spaces, and look-alikes."""

import copy
from functools import partial
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

from torch_bridge.certify import certify  # noqa: E402
from torch_bridge.discover import find_symmetries  # noqa: E402
from torch_bridge.graph import TracingError  # noqa: E402
from torch_bridge.symmetry_map import Block, NeuronSymmetries, SymmetryMap  # noqa: E402
from torch_bridge.vgg import vgg16  # noqa: E402

NO_EPS = 1e-24
"""For batch normalisation, whose eps breaks the scale symmetry that is looked for."""


def counts(model, shape, loss=F.cross_entropy):
    return find_symmetries(model, torch.empty(shape), loss=loss).counts()


def mlp(*sizes, activation=nn.ReLU, norm=True, bias=True):
    """Linear(-BatchNorm)-activation blocks, and a last Linear."""
    layers = []
    for fan_in, fan_out in pairwise(sizes[:-1]):
        layers += [nn.Linear(fan_in, fan_out, bias=bias)]
        layers += [nn.BatchNorm1d(fan_out, eps=NO_EPS)] if norm else []
        layers += [activation()]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:], bias=bias))


def convnet():
    """Every way to carry a channel: ReLU, LeakyReLU, both poolings, dropout in eval mode, flatten with 2x2 pixels."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(3, 4, 2), nn.LeakyReLU(), nn.AvgPool2d(2, stride=1), nn.Dropout2d().eval()),
        nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(inplace=True), nn.Identity(), nn.Linear(5, 3)),
    )


def norm_convnet():
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, eps=NO_EPS), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(2, 3, 2, bias=False), nn.BatchNorm2d(3, eps=NO_EPS), nn.ReLU(), nn.Flatten()),
        nn.Linear(12, 3),
    )


def separable():
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 6, 2, groups=3), nn.ReLU()),
        nn.Sequential(nn.Conv2d(6, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2)),
    )


class Fork(nn.Module):
    """One layer read by two; where their outputs are added, no channel is on its own any more."""

    def __init__(self):
        super().__init__()
        self.first, self.short, self.relu = nn.Linear(3, 4), nn.Linear(4, 2, bias=False), nn.ReLU()
        self.long = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))

    def forward(self, x):
        x = self.relu(self.first(x))
        return self.short(x) + self.long(x)


# Known counts


@pytest.mark.parametrize(
    ("batch_norm", "expected"),
    [
        (False, {"rescale": 6272, "translation": 1025}),
        (True, {"scale": 4224, "shift": 4224, "rescale": 6272, "translation": 1025}),
    ],
)
def test_the_papers_network_has_exactly_its_certified_symmetries(batch_norm, expected):
    with torch.device("meta"):
        found = find_symmetries(vgg16(batch_norm), torch.empty(2, 3, 64, 64))
    assert (found.counts(), found.blocked) == (expected, ())


def test_narrow_vggs_have_exactly_their_certified_symmetries():
    def narrow(c, *hidden, norm):
        layers = []
        for k in range(13):
            layers += [nn.Conv2d(c if k else 3, c, 3, padding=1), *([nn.BatchNorm2d(c)] if norm else []), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if k in (1, 3, 6, 9, 12) else []
        return nn.Sequential(*layers, nn.Flatten(), mlp(*hidden, norm=False))

    assert counts(narrow(4, 16, 8, 6, 5, norm=False), (2, 3, 64, 64)) == {"rescale": 66, "translation": 7}
    normed = counts(narrow(3, 12, 8, 6, 5, norm=True), (2, 3, 64, 64))
    assert normed == {"scale": 39, "shift": 39, "rescale": 53, "translation": 7}


def test_groups_come_in_the_order_of_the_network_under_names_a_reader_knows():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert [(g.kind, g.label) for g in find_symmetries(model, torch.empty(5, 2)).groups] == [
        ("scale", "0.weight"),
        ("shift", "0.bias"),
        ("rescale", "1 -> 3"),
        ("rescale", "3 -> 5"),
        ("translation", "5.weight columns"),
        ("translation", "5.bias"),
    ]


def test_labels_are_unique_within_a_kind():
    with torch.device("meta"):
        groups = find_symmetries(vgg16(batch_norm=True), torch.empty(2, 3, 64, 64)).groups
    assert len({(g.kind, g.label) for g in groups}) == len(groups)


def test_after_a_flatten_a_channel_owns_the_columns_of_all_its_pixels():
    groups = find_symmetries(convnet(), torch.empty(2, 2, 10, 10)).groups
    assert groups[1].blocks == (
        Block("1.0.weight", (4, 3, 2, 2), 0, 1),
        Block("1.0.bias", (4,), 0, 1),
        Block("2.1.weight", (5, 4, 4), 1, -1),
    )


# The null space of sampled gradients: what no claim can exceed, and what all claims together must fill


def sampled_gradients(model, shape, loss, classes):
    """Gradients at the model's θ on more random batches than there are parameters: shape (batches, parameters)."""
    parameters = list(model.parameters())
    draw = torch.Generator().manual_seed(1)
    rows = []
    for _ in range(sum(p.numel() for p in parameters) + 30):
        x = 2 * torch.randn(shape, dtype=torch.float64, generator=draw)
        output = model(x)
        y = torch.randint(classes, shape[:1], generator=draw)
        y = y if loss is F.cross_entropy else torch.randn(output.shape, dtype=torch.float64, generator=draw)
        gradient = torch.autograd.grad(loss(output, y), parameters)
        rows.append(torch.cat([g.flatten() for g in gradient]))
    return torch.stack(rows)


def rank(matrix):
    """Numerical rank, if the spectrum has a gap; rows and columns are brought to norm 1, unless that is rounding."""
    matrix = matrix / matrix.norm(dim=1, keepdim=True)
    size = matrix.norm(dim=0)
    values = torch.linalg.svdvals(matrix / torch.where(size > 1e-12, size, 1.0))
    kept = int((values > 1e-9 * values[0]).sum())
    assert kept == len(values) or values[kept] < 1e-3 * values[kept - 1], "no gap between rank and rounding"
    return kept


def generators(symmetry_map):
    """X(θ) of every claimed symmetry: shape (symmetries, parameters)."""
    parameters = dict(symmetry_map.model.named_parameters())
    rows = []
    for group in symmetry_map.groups:
        for neuron in torch.eye(group.neurons, dtype=torch.float64):
            moved = {name: torch.zeros_like(p) for name, p in parameters.items()}
            for block in group.blocks:
                p = parameters[block.parameter].detach()
                x = torch.ones_like(p) if group.kind in ("shift", "translation") else block.coefficient * p
                moved[block.parameter] += (x.reshape(block.view) * block.spread(neuron)).reshape(p.shape)
            rows.append(torch.cat([m.flatten() for m in moved.values()]))
    return torch.stack(rows)


def in_double(build, shape):
    """A network with random parameters, drawn until every unit is on for some inputs and off for others.

    A dead unit, or one that is always on, has symmetries that no claim about all inputs can have.
    """
    for seed in range(200):
        torch.manual_seed(seed)
        model = build().double()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.8 if parameter.dim() > 1 else 0.3)
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
        if all_units_switch(model, 2 * torch.randn(100, *shape[1:], dtype=torch.float64)):
            return model
    raise AssertionError("no draw of the parameters gives units that are on and off")


def all_units_switch(model, x):
    """Whether each channel before a ReLU is positive on 5 % and negative on 5 % of samples or pixels at least."""
    fractions = []
    hooks = [
        m.register_forward_pre_hook(lambda m, args: fractions.append((args[0] > 0).double().transpose(0, 1).flatten(1)))
        for m in model.modules()
        if isinstance(m, nn.ReLU | nn.LeakyReLU)
    ]
    copy.deepcopy(model)(x)
    for hook in hooks:
        hook.remove()
    return all(((f.mean(1) > 0.05) & (f.mean(1) < 0.95)).all() for f in fractions)


NETWORKS = {
    "BN net, MSE": (partial(mlp, 2, 3, 3, 2), (24, 2), F.mse_loss, 18),
    "BN net with GELU, MSE": (partial(mlp, 2, 3, 3, 2, activation=nn.GELU), (24, 2), F.mse_loss, 12),
    "plain net, cross entropy": (partial(mlp, 3, 5, 4, 3, norm=False), (24, 3), F.cross_entropy, 9 + 4 + 1),
    "without biases": (partial(mlp, 6, 4, 3, 3, norm=False, bias=False), (24, 6), F.cross_entropy, 7 + 3),
    "convnet": (convnet, (12, 2, 10, 10), F.cross_entropy, 3 + 4 + 5 + 5 + 1),
    "BN convnet": (norm_convnet, (12, 1, 8, 8), F.cross_entropy, 5 + 2 + 5 + 12 + 1),
    "depthwise": (separable, (12, 2, 4, 4), F.mse_loss, 3 + 6 + 2),
    "fork": (Fork, (24, 3), F.mse_loss, 4 + 3),
}


@pytest.mark.parametrize(("build", "shape", "loss", "expected"), NETWORKS.values(), ids=NETWORKS)
def test_the_claimed_generators_are_a_basis_of_the_null_space_of_sampled_gradients(build, shape, loss, expected):
    model = in_double(build, shape)
    found = find_symmetries(model, torch.empty(shape, dtype=torch.float64), loss=loss)
    sampled, claimed = sampled_gradients(model, shape, loss, classes=3), generators(found)
    products = sampled @ claimed.T / (sampled.norm(dim=1).outer(claimed.norm(dim=1)))
    assert products.abs().max() < 1e-10
    assert len(claimed) == rank(claimed) == sampled.shape[1] - rank(sampled) == expected


def test_the_null_space_test_notices_a_false_claim():
    model = in_double(partial(mlp, 3, 4, 2, activation=nn.GELU, norm=False), (24, 3))
    false = NeuronSymmetries("rescale", "0 -> 2", (Block("0.weight", (4, 3), 0), Block("2.weight", (2, 4), 1, -1)))
    sampled = sampled_gradients(model, (24, 3), F.mse_loss, classes=2)
    assert (sampled @ generators(SymmetryMap((false,), model=model)).T).abs().max() > 1e-3


def test_in_eval_mode_a_batch_norm_net_keeps_only_its_rescale_symmetries():
    model = in_double(partial(mlp, 2, 3, 3, 2), (24, 2))
    model(torch.randn(50, 2, dtype=torch.float64))
    model.eval()
    found = find_symmetries(model, torch.empty(4, 2, dtype=torch.float64), loss=F.mse_loss)
    assert found.counts() == {"rescale": 6}
    assert (sampled_gradients(model, (24, 2), F.mse_loss, classes=2) @ generators(found).T).abs().max() < 1e-10


# The same operation, written as a module, a function or a method

FORMS = {
    "functions": lambda self, x: self.b(torch.flatten(F.max_pool2d(F.relu(self.a(x)), 2), 1)),
    "methods": lambda self, x: self.b(F.avg_pool2d(self.a(x).relu(), 2).flatten(1)),
    "view by size": lambda self, x: self.b(F.max_pool2d(torch.relu(self.a(x)), 2).view(x.size(0), -1)),
    "view by own size": lambda self, x: (lambda z: self.b(z.view(z.size(0), -1)))(F.max_pool2d(self.a(x), 2)),
    "reshape by shape": lambda self, x: self.b(F.adaptive_avg_pool2d(self.a(x), 2).reshape(x.shape[0], 4 * 3)),
    "leaky relu, dropout": lambda self, x: self.b(
        F.leaky_relu(F.dropout(F.max_pool2d(self.a(x), 2), 0.5, self.training)).flatten(1)
    ),
    "functional layers": lambda self, x: F.linear(
        F.max_pool2d(F.conv2d(x, self.a.weight, self.a.bias), 2).flatten(1), self.b.weight, bias=self.b.bias
    ),
}


class TwoLayers(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.a, self.b, self._forward = nn.Conv2d(2, 3, 3), nn.Linear(12, 2), forward

    def forward(self, x):
        return self._forward(self, x)


@pytest.mark.parametrize("forward", FORMS.values(), ids=FORMS)
def test_functions_and_methods_count_as_their_modules_do(forward):
    found = find_symmetries(TwoLayers(forward), torch.empty(2, 2, 6, 6))
    blocks = (Block("a.weight", (3, 2, 3, 3), 0), Block("a.bias", (3,), 0), Block("b.weight", (2, 3, 4), 1, -1))
    assert found.groups[0].blocks == blocks
    assert found.counts() == {"rescale": 3, "translation": 13}


# Look-alikes


class Between(nn.Module):
    """Linear, something, Linear: 4 rescale symmetries if the something carries each of the 4 channels."""

    def __init__(self, between):
        super().__init__()
        self.first, self.last, self.between = nn.Linear(4, 4), nn.Linear(4, 4), between

    def forward(self, x):
        return self.last(self.between(self.first(x)))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return x + self.inner(x)


class ClippedReLU(nn.ReLU):
    def forward(self, input):
        return super().forward(input).clamp(max=1.0)


LOOK_ALIKES = {
    "GELU": nn.GELU(),
    "SiLU": nn.SiLU(),
    "ELU": nn.ELU(),
    "Sigmoid": nn.Sigmoid(),
    "Tanh": nn.Tanh(),
    "ReLU6": nn.ReLU6(),
    "AlphaDropout": nn.AlphaDropout(),
    "ReLU and GELU": nn.Sequential(nn.ReLU(), nn.GELU()),
    "subclass of ReLU": ClippedReLU(),
    "functional gelu": F.gelu,
    "functional sigmoid": torch.sigmoid,
    "functional relu6": F.relu6,
    "method tanh": lambda x: x.tanh(),
    "in place tanh": lambda x: x.tanh_(),
    "in place tanh of a part": lambda x: (x[:, :2].tanh_(), x)[1],
    "offset": lambda x: F.relu(x) + 1,
    "clamp": lambda x: x.clamp(0, 1),
    "norm": lambda x: F.normalize(F.relu(x)),
    "written into": lambda x: F.relu(x).copy_(x.exp()),
    "no gradient": lambda x: F.relu(x) + F.relu(x).detach(),
}


@pytest.mark.parametrize("between", LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_what_is_not_known_to_carry_a_channel_blocks_the_claim_and_says_so(between):
    found = find_symmetries(Between(between), torch.empty(6, 4), loss=F.mse_loss)
    assert (found.groups, found.matrices) == ((), ())
    assert any(sentence.startswith("first (Linear): ") for sentence in found.blocked)


FEWER = {
    "Softmax": (nn.Softmax(dim=1), {"translation": 5}),
    "LayerNorm": (nn.LayerNorm(4, eps=NO_EPS), {"scale": 1, "translation": 5, "rescale": 4}),
    "residual": (Residual(), {"rescale": 4, "mixing": 12}),
    "pooling over channels": (nn.MaxPool1d(3, stride=1, padding=1), {"rescale": 1}),
    "permutation": (lambda x: F.relu(x.flip(1)), {"rescale": 4}),
    "flatten of the batch": (lambda x: F.relu(x.reshape(-1).reshape(-1, 4)), {"rescale": 4}),
    "transpose": (lambda x: F.relu(x.t().reshape(-1, 4)), {"rescale": 1}),
    "a square": (lambda x: x * F.relu(x), {"rescale": 4}),
    "channels apart": (lambda x: torch.cat([F.relu(x[:, :1]), x[:, 1:2], F.gelu(x[:, 2:])], 1), {"rescale": 2}),
}
"""What leaves some symmetries of ReLU's four, or gives others."""


@pytest.mark.parametrize(("between", "expected"), FEWER.values(), ids=FEWER)
def test_what_carries_channels_otherwise_is_claimed_for_what_it_is_and_certified(between, expected):
    torch.manual_seed(0)
    model = Between(between).double()
    found = find_symmetries(model, torch.empty(6, 4, dtype=torch.float64), loss=F.mse_loss)
    assert found.counts() == expected
    assert certify(found, F.mse_loss, (torch.randn(6, 4), torch.randn(6, 4))).ok


def test_the_look_alikes_are_blocked_by_what_they_are_not_by_their_surroundings():
    assert counts(Between(nn.ReLU()), (6, 4), F.mse_loss) == {"rescale": 4}


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Linear(4, 4)), (6, 2, 4, 4)),
        (nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Conv1d(4, 4, 1)), (6, 4, 2)),
    ],
    ids=["linear after convolution", "convolution after linear"],
)
def test_a_layer_that_reads_along_another_axis_of_the_same_length_leaves_one_common_scale(model, shape):
    found = find_symmetries(model.double(), torch.empty(shape, dtype=torch.float64), loss=F.mse_loss)
    assert found.counts() == {"rescale": 1}
    assert certify(found, lambda z, y: z.square().mean(), (torch.randn(shape), None)).ok


def test_a_look_at_a_channels_shape_does_not_read_it_but_one_at_its_values_does():
    class Looking(Between):
        def forward(self, x):
            hidden = self.first(x)
            return self.last(hidden) * self.between(hidden)

    assert counts(Looking(lambda x: x.shape[1]), (6, 4), F.mse_loss) == {"rescale": 4, "mixing": 12}
    (squared,) = find_symmetries(Looking(lambda x: x.mT.sum()), torch.empty(6, 4), loss=F.mse_loss).groups
    assert [(block.parameter, block.coefficient) for block in squared.blocks] == [
        ("first.weight", 1),
        ("first.bias", 1),
        ("last.weight", -2),
        ("last.bias", -1),
    ]


@pytest.mark.parametrize(("bias", "expected"), [(lambda b: 2 * b, 3), (lambda b: b + 1, 0), (torch.tanh, 0)])
def test_a_layer_with_a_computed_bias_scales_if_the_bias_does(bias, expected):
    def forward(self, x):
        return self.b(F.max_pool2d(F.conv2d(x, self.a.weight, bias=bias(self.a.bias)), 2).flatten(1))

    model = TwoLayers(forward)
    found = find_symmetries(model, torch.empty(2, 2, 6, 6), loss=F.mse_loss)
    assert sum(found.counts().values()) == expected
    assert certify(found, lambda z, y: z.square().sum(), (torch.randn(2, 2, 6, 6), None)).ok


def test_one_reader_of_two_that_is_not_linear_blocks_the_claim():
    found = find_symmetries(TwoLayers(lambda self, x: (F.relu(self.a(x)), F.gelu(self.a(x)))), torch.empty(2, 2, 6, 6))
    assert found.groups == ()


def test_a_channel_that_also_leaves_the_network_is_not_claimed():
    class Leaking(Between):
        def forward(self, x):
            hidden = self.between(self.first(x))
            return self.last(hidden), hidden

    found = find_symmetries(Leaking(nn.ReLU()), torch.empty(6, 4))
    assert found.groups == ()
    assert "first (Linear): its output leaves the network" in found.blocked


class Twice(nn.Module):
    """first, then ``last`` a number of times, then first's transpose if tied: ReLU after each."""

    def __init__(self, times=1, tied=False):
        super().__init__()
        self.first, self.last, self.times, self.tied = nn.Linear(4, 4), nn.Linear(4, 4), times, tied

    def forward(self, x):
        x = F.relu(self.first(x))
        for _ in range(self.times):
            x = F.relu(self.last(x))
        return F.linear(x, self.first.weight.t()) if self.tied else x


def test_a_module_called_twice_is_claimed_only_where_both_calls_let_it_move_alike():
    found = find_symmetries(Twice(times=2), torch.empty(6, 4), loss=F.mse_loss)
    assert found.groups == ()


def claims_that_hold(model, shape, **options):
    """The symmetries of the model in float64, after certifying them."""
    torch.manual_seed(0)
    model, loss = model.double(), options.get("loss", F.mse_loss)
    x = torch.randn(shape).double()
    found = find_symmetries(model, x, **({"loss": loss} | options))
    y = torch.randn_like(model(x)) if loss is F.mse_loss else torch.arange(len(x)) % model(x).shape[1]
    measured = certify(found, loss, (x, y))
    assert measured.ok, str(measured)
    assert measured.independent == measured.claimed
    return found


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Identity])
def test_an_autoencoder_with_tied_weights_has_no_charge(activation):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.activation = nn.Parameter(torch.randn(2, 4)), activation()

        def forward(self, x):
            return self.activation(x @ self.w.T) @ self.w

    assert claims_that_hold(Tied(), (6, 4)).counts() == {}


def test_a_layer_between_tied_weights_can_take_back_what_both_do():
    found = claims_that_hold(Twice(tied=True), (6, 4))
    (group,) = found.groups
    assert (group.kind, group.neurons) == ("rescale", 4)
    coefficients = [(b.parameter, b.axis, b.coefficient) for b in group.blocks]
    up, down = (
        [("first.weight", 0, 1), ("first.bias", 0, 1)],
        [("last.weight", 1, -1), ("last.weight", 0, -1), ("last.bias", 0, -1)],
    )
    assert sorted(coefficients) == sorted([*up, *down])


class Siamese(nn.Module):
    """One encoder for two inputs, whose codes are compared; or for a part of one of them only."""

    def __init__(self, alike=True):
        super().__init__()
        self.encoder, self.head, self.alike = mlp(3, 4, 2, norm=False), nn.Linear(2, 2), alike

    def forward(self, x):
        y = self.encoder(x.flip(0))
        return self.head(self.encoder(x) - (y if self.alike else F.gelu(y)))


@pytest.mark.parametrize(("alike", "counts"), [(True, {"rescale": 6, "shift": 2}), (False, {"rescale": 4})])
def test_an_encoder_that_is_used_twice_moves_as_both_uses_allow(alike, counts):
    """Its output scales if both codes may; its last bias cancels in their difference. What is tied is not said to mix."""
    assert claims_that_hold(Siamese(alike), (6, 3)).counts() == counts


def test_a_square_of_one_matrix_moves_in_both_of_its_roles():
    class Squared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.w, self.last = nn.Linear(3, 3), nn.Parameter(torch.randn(3, 3)), nn.Linear(3, 2)

        def forward(self, x):
            return self.last(torch.relu(self.first(x) @ (self.w @ self.w)))

    assert claims_that_hold(Squared(), (5, 3)).counts() == {"rescale": 4}


def test_a_parameter_shared_by_two_modules_is_claimed_as_far_as_both_allow():
    """Halve the weight that two layers share: what goes in has to be doubled twice."""
    model = mlp(4, 4, 4, 4, norm=False)
    model[2].weight = model[4].weight
    found = claims_that_hold(model, (6, 4), loss=F.cross_entropy)
    assert [(g.kind, g.label) for g in found.groups] == [("rescale", "0, 2 -> 2"), ("translation", "4.bias")]
    assert {b.parameter: b.coefficient for b in found.groups[0].blocks} == {
        "0.weight": 2, "0.bias": 2, "2.weight": -1, "2.bias": 1
    }  # fmt: skip


def test_a_shared_batch_norm_does_not_lend_its_gain_to_two_layers():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model.insert(4, model[1])
    model[1].eps = NO_EPS
    found = claims_that_hold(model, (6, 4), loss=F.cross_entropy)
    assert found.counts() == {"scale": 8, "shift": 8, "translation": 5, "rescale": 4}
    (shared,) = [g for g in found.groups if g.kind == "rescale"]
    assert {b.parameter for b in shared.blocks if b.coefficient < 0} == {"3.weight", "6.weight"}


def test_frozen_parameters_are_not_claimed_but_their_neighbours_are():
    model = mlp(3, 4, 5, 2)
    model[0].weight.requires_grad_(False)
    model[6].bias.requires_grad_(False)
    found = find_symmetries(model, torch.empty(6, 3))
    labels = [(g.kind, g.label) for g in found.groups]
    assert ("shift", "0.bias") in labels
    assert ("scale", "0.weight") not in labels
    assert ("translation", "6.weight columns") in labels
    assert "6.bias: 6.bias is frozen (requires_grad is False)" in found.blocked


def test_a_layer_whose_weight_is_computed_in_an_unknown_way_is_unknown_as_writer_and_as_reader():
    model = mlp(3, 4, 4, 2, norm=False).apply(_wrapping(parametrizations.spectral_norm, 4))
    found = find_symmetries(model, torch.empty(6, 3), loss=F.mse_loss)
    assert found.groups == ()
    assert any("not known to be homogeneous" in sentence for sentence in found.blocked)


def _wrapping(wrap, width):
    return lambda module: wrap(module) if getattr(module, "in_features", 0) == width else None


def test_a_hook_or_a_patched_forward_makes_a_layer_unknown():
    for alter in (
        lambda layer: layer.register_forward_hook(lambda module, args, output: output.tanh()),
        lambda layer: layer.register_forward_pre_hook(lambda module, args: args[0].tanh()),
        lambda layer: setattr(layer, "forward", lambda x: x.tanh()),
    ):
        model = mlp(3, 4, 2, norm=False)
        alter(model[1])
        assert find_symmetries(model, torch.empty(6, 3), loss=F.mse_loss).groups == ()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_grouped_convolution_is_read_channel_by_channel(groups):
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1, groups=groups))
    assert counts(model, (6, 2, 3, 3), F.mse_loss) == {"rescale": 4}


# Batch normalisation


def test_in_eval_mode_there_is_no_scale_and_no_shift():
    found = find_symmetries(mlp(3, 4, 2).eval(), torch.empty(6, 3))
    assert found.counts() == {"rescale": 4, "translation": 5}
    (why,) = found.blocked
    assert why == "0 (Linear): 1 (BatchNorm1d) uses stored statistics, being in eval mode; call model.train()"


def test_without_stored_statistics_the_batchs_are_used_in_eval_mode_too():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False)).eval()
    assert counts(model, (6, 3), F.mse_loss) == {"scale": 4, "shift": 4}


def test_without_gain_and_offset_nothing_writes_a_channel_that_could_be_rescaled():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, affine=False), nn.ReLU(), nn.Linear(4, 2))
    assert counts(model, (6, 3), F.mse_loss) == {"scale": 4, "shift": 4}


def test_a_layer_without_bias_has_no_shift():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    assert counts(model, (6, 3, 5, 5), F.mse_loss) == {"scale": 4}


SEPARATED = {
    "ReLU": (nn.ReLU(), {"scale": 4}),
    "nothing": (nn.Identity(), {"scale": 4, "shift": 4}),
    "max-pooling": (nn.MaxPool1d(2), {"scale": 4, "shift": 4}),
    "its own mean": (lambda x: x + x.mean(), {"scale": 1, "translation": 1}),
    "its own mean, unused": (lambda x: (x, x.sum())[0], {"scale": 4, "shift": 4}),
    "GELU": (nn.GELU(), {}),
}


@pytest.mark.parametrize(("between", "expected"), SEPARATED.values(), ids=SEPARATED)
def test_what_stands_before_a_batch_norm_decides_what_it_takes_away(between, expected):
    class Separated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.between = nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4, eps=NO_EPS), between

        def forward(self, x):
            return self.norm(self.between(self.conv(x)))

    found = find_symmetries(Separated(), torch.empty(6, 3, 9), loss=F.mse_loss)
    assert found.counts() == expected
    assert certify(found, lambda z, y: z.square().sum() + z.pow(3).sum(), (torch.randn(6, 3, 9), None)).ok


def test_an_offset_after_a_batch_norm_can_be_traded_for_the_bias_that_goes_around_it():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)

        def forward(self, x):
            x = self.layer(x)
            return self.norm(x) + x

    found = find_symmetries(Shared(), torch.empty(6, 3), loss=F.mse_loss)
    assert [(b.parameter, b.coefficient) for g in found.groups for b in g.blocks] == [("layer.bias", 1), ("norm.bias", -1)]
    assert certify(found, lambda z, y: z.square().sum(), (torch.randn(6, 3), None)).ok


def test_a_batch_norm_along_another_axis_than_the_channels_takes_away_what_they_have_in_common():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(5, eps=NO_EPS))
    found = find_symmetries(model, torch.empty(6, 5, 3), loss=F.mse_loss)
    assert found.counts() == {"scale": 1, "translation": 1}
    assert certify(found, lambda z, y: z.square().sum() + z.pow(3).sum(), (torch.randn(6, 5, 3), None)).ok


# The loss


def weighted():
    return nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]), label_smoothing=0.1)


@pytest.mark.parametrize("loss", [F.cross_entropy, weighted(), F.multi_margin_loss], ids=["plain", "weighted", "margin"])
def test_a_loss_that_ignores_a_constant_gives_translations(loss):
    assert counts(nn.Linear(4, 3), (6, 4), loss) == {"translation": 5}


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (F.mse_loss, "cannot be measured on logits and class indices"),
        (F.binary_cross_entropy_with_logits, "cannot be measured on logits and class indices"),
        (None, "cannot be measured on logits and class indices"),
        (F.nll_loss, "the loss nll_loss changes by"),
        (lambda z, y: F.cross_entropy(z, y) + 1e-6 * z.square().mean(), "the loss <lambda> changes by"),
        (lambda z, y: F.cross_entropy(z - z.mean(), y) + z.mean() ** 2, "the loss <lambda> changes by"),
        (lambda z, y: F.cross_entropy(z, y) * float("nan"), "the loss <lambda> changes by"),
        (lambda z, y: F.mse_loss(z, 0.1 / 3 + 0.9 * F.one_hot(y, 3).to(z)), "the loss <lambda> changes by"),
    ],
)
def test_any_other_loss_gives_none_and_says_why(loss, why):
    found = find_symmetries(nn.Linear(4, 3), torch.empty(6, 4), loss=loss)
    assert found.groups == ()
    assert len(found.blocked) == 1
    assert why in found.blocked[0]


def test_an_average_over_the_batch_that_hides_a_constant_does_not_count_as_invariance():
    def blind_to_common_constants(logits, y):
        return F.mse_loss(logits - logits.mean(), F.one_hot(y, logits.shape[1]).to(logits))

    assert counts(nn.Linear(4, 3), (6, 4), blind_to_common_constants) == {}


@pytest.mark.parametrize("classes", [7, 8])
def test_a_regression_loss_is_not_fooled_by_a_square_batch(classes):
    assert counts(nn.Linear(4, classes), (classes, 4), F.mse_loss) == {}


def test_a_single_logit_has_no_translation():
    found = find_symmetries(nn.Sequential(nn.Linear(4, 1)), torch.empty(6, 4), loss=F.cross_entropy)
    assert found.blocked == ("0 (Linear): it gives a single logit, which no constant can be added to",)


@pytest.mark.parametrize("last", [nn.Softmax(dim=0), nn.BatchNorm1d(3, affine=False), nn.ReLU()])
def test_logits_that_do_not_come_straight_from_a_linear_layer_have_no_translation(last):
    assert "translation" not in counts(nn.Sequential(nn.Linear(4, 3), last), (6, 4))


def test_an_output_of_two_axes_from_a_convolution_is_no_batch_of_logits():
    assert counts(nn.Conv1d(3, 4, 2), (3, 6)) == {}


def test_logits_of_a_sequence_have_their_classes_along_another_axis():
    assert counts(nn.Linear(4, 3), (6, 5, 4)) == {"shift": 3}, "the bias is the same for all 5 classes"


def test_measuring_the_loss_keeps_it_as_it_was():
    loss = weighted()
    find_symmetries(nn.Linear(4, 3), torch.empty(6, 4), loss=loss)
    assert loss.weight.dtype == torch.float32


# What discovery leaves alone, and what it cannot read


def test_neither_the_model_nor_the_random_state_is_touched():
    model = nn.Sequential(mlp(3, 4, 2), nn.Dropout())
    before, attributes, state = copy.deepcopy(model.state_dict()), vars(model).keys(), torch.get_rng_state()
    found = find_symmetries(model, torch.randn(6, 3, generator=torch.Generator().manual_seed(0)))
    after = model.state_dict()
    assert found.model is model
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert vars(model).keys() == attributes
    assert torch.equal(torch.get_rng_state(), state)


def test_a_buffer_that_forward_writes_to_is_not_written_to():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls.add_(1)
            return self.layer(x + torch.ones(3))

    model = Counting()
    assert counts(model, (6, 3)) == {"translation": 4}
    assert model.calls == 0


def test_several_inputs_are_given_as_a_tuple():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(3, 2), mlp(2, 4, 2, norm=False)

        def forward(self, a, b):
            return self.left(a) * self.right(b)

    found = find_symmetries(Sum(), (torch.empty(6, 3), torch.empty(6, 2)))
    assert found.counts() == {"rescale": 4 + 2}, "hidden units, and either factor of each product"


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Hidden(nn.Module):
    """Reads its parameters behind the tracer's back."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        (weight, _) = list(self.layer.parameters())
        return self.layer(x) @ (2 * weight)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            Branching(),
            "model, example_input: expected a network that torch.export traces .* got Branching: .*; .* move branches",
        ),
    ],
)
def test_a_network_that_cannot_be_traced_is_refused_with_a_remedy(model, message):
    with pytest.raises(TracingError, match=message):
        find_symmetries(model, torch.empty(6, 4))


def test_a_hook_on_the_whole_model_is_traced_too():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model.register_forward_hook(lambda module, args, output: output.tanh())
    assert counts(model, (6, 3)) == {"rescale": 4}


def test_parameters_that_are_read_behind_the_modules_back_are_seen():
    assert counts(Hidden(), (6, 4), F.mse_loss) == {}


@pytest.mark.parametrize("shape", [(6, 5), (1, 3)], ids=["wrong features", "one sample for a batch norm"])
def test_an_input_that_the_network_cannot_take_is_refused_with_its_shape(shape):
    with pytest.raises(TracingError, match=rf"example_input: .* on inputs of \({shape[0]}, {shape[1]}\)"):
        find_symmetries(mlp(3, 4, 2), torch.empty(shape))


def test_tracing_errors_are_value_errors():
    assert issubclass(TracingError, ValueError)
