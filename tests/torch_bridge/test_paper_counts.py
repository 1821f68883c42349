"""The paper's counts, measured on its own network: which are wrong, and by how much."""

import pytest

torch = pytest.importorskip("torch")

from derive.paper.claim import Measured  # noqa: E402
from derive.paper.claims import CLAIMS  # noqa: E402
from derive.paper.judging import judge  # noqa: E402
from torch_bridge.certify import certify  # noqa: E402
from torch_bridge.paper_counts import MEASUREMENTS, broken_pairs, convolution_pairs, hidden_units  # noqa: E402
from torch_bridge.vgg import vgg16  # noqa: E402

COUNTED = [claim for claim in CLAIMS if isinstance(claim.test, Measured)]
WRONG = {
    "Sect. 7, combinations": (12751, 15745),
    "App. J, fully connected layers": (2048, 1024),
    "Table 4": (0, 3),
    "Table 5, scale, VGG-16 w/ BN": (4227, 4224),
    "Table 5, rescale, VGG-16": (8323, 6272),
    "Table 5, rescale, VGG-16 w/ BN": (8323, 6272),
    "Table 5, translation, VGG-16": (201, 1025),
    "Table 5, translation, VGG-16 w/ BN": (201, 1025),
    "Table 5, shifts, VGG-16 w/ BN": (0, 4224),
    "Table 5, totals, VGG-16": (8524, 7297),
    "App. J, rescale with batch norm": (0, 12),
}
"""Place -> what the paper has, and the certified count (null space of sampled gradients; see test_table5.py)."""


def test_the_wrong_counts_are_the_known_ones_and_all_others_are_right():
    assert {claim.test.name for claim in COUNTED} <= set(MEASUREMENTS)
    for found in judge(COUNTED, MEASUREMENTS):
        place, wrong = found.claim.place, found.outcome == "wrong"
        assert wrong is (place in WRONG), place
        assert found.difference == ("printed {}, derived {}".format(*WRONG[place]) if wrong else "")
        assert bool(found.reason) is wrong


def test_pairs_of_convolutions_are_symmetries_without_batch_norm_only():
    assert (broken_pairs(False), broken_pairs(True)) == (0, 12)


def test_with_batch_norm_a_pair_of_convolutions_moves_the_loss_by_more_than_eps_could():
    torch.manual_seed(1)
    model = vgg16(True, width=1 / 16, input_size=32, classes=5)
    batch = torch.randn(8, 3, 32, 32), torch.arange(8) % 5
    rows = certify(convolution_pairs(model), torch.nn.functional.cross_entropy, batch).rows
    assert all(row.without_eps > 1e-4 for row in rows)


def test_the_hidden_units_follow_from_the_number_of_parameters_and_from_no_other():
    assert hidden_units() == 1024
    with pytest.raises(ValueError, match="parameters: expected the number of a VGG-16"):
        hidden_units(18_067_465)
