"""The paper's Table 5 is reproduced by its rule, and each difference from the certified counts is accounted for."""

import pytest

torch = pytest.importorskip("torch")

from torch_bridge.certify import certify  # noqa: E402
from torch_bridge.discover import find_symmetries  # noqa: E402
from torch_bridge.symmetry_map import Block, NeuronSymmetries, SymmetryMap  # noqa: E402
from torch_bridge.table5 import compare_with_table_5  # noqa: E402
from torch_bridge.vgg import vgg16  # noqa: E402

PAPER = {
    False: {"rescale": 8323, "translation": 201},
    True: {"scale": 4227, "shift": 0, "rescale": 8323, "translation": 201},
}
CERTIFIED = {
    False: {"rescale": 6272, "translation": 1025},
    True: {"scale": 4224, "shift": 4224, "rescale": 6272, "translation": 1025},
}
TOTAL = {False: 7297, True: 15745}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_rule_of_the_paper_gives_its_table_and_tracing_gives_the_certified_counts(batch_norm):
    with torch.device("meta"):
        model = vgg16(batch_norm)
        rows = compare_with_table_5(model, find_symmetries(model, torch.empty(2, 3, 64, 64)).counts())
    assert {row.kind: row.paper for row in rows} == PAPER[batch_norm]
    assert {row.kind: row.certified for row in rows} == CERTIFIED[batch_norm]
    assert sum(row.certified for row in rows) == TOTAL[batch_norm]


@pytest.mark.parametrize("input_size", [32, 64])
def test_the_differences_are_the_numbers_that_the_reasons_name(input_size):
    with torch.device("meta"):
        model = vgg16(True, input_size=input_size, classes=10)
        found = find_symmetries(model, torch.empty(2, 3, input_size, input_size))
    rows = {row.kind: row.paper - row.certified for row in compare_with_table_5(model, found.counts())}
    flat = 512 * (input_size // 32) ** 2
    assert rows == {"scale": 3, "shift": -4224, "rescale": 3 + flat, "translation": 10 - 1024}


def test_what_the_paper_counts_in_addition_is_refuted_by_measurement():
    """A single class's weights moved; one input of the first linear layer rescaled without the channel's other pixels."""
    torch.manual_seed(0)
    model = vgg16(False, width=1 / 16, input_size=64, classes=4)
    out, hidden = model.classifier[-1].weight.shape
    first = tuple(model.classifier[0].weight.shape)
    single_class = NeuronSymmetries("translation", "classes", (Block("classifier.4.weight", (out, hidden), 0),))
    owners = tuple(0 if k == 0 else -1 for k in range(first[1]))
    writer = Block("features.28.weight", tuple(model.features[28].weight.shape), 0, 1, (0, *[-1] * 31))
    pixel = NeuronSymmetries("rescale", "one pixel", (writer, Block("classifier.0.weight", first, 1, -1, owners)))
    claimed = SymmetryMap((single_class, pixel), model=model)
    x, y = torch.randn(4, 3, 64, 64), torch.arange(4)
    assert len(certify(claimed, torch.nn.functional.cross_entropy, (x, y)).failures) == 2


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_papers_network_is_certified_whole(batch_norm):
    torch.manual_seed(0)
    model = vgg16(batch_norm)
    x, y = torch.randn(4, 3, 64, 64), torch.randint(200, (4,))
    measured = certify(find_symmetries(model, x), torch.nn.functional.cross_entropy, (x, y))
    assert measured.ok_but_for_eps, str(measured)
    assert measured.independent == measured.claimed == TOTAL[batch_norm]
