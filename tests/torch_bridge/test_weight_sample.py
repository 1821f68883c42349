"""Weights kept beside a run are the weights, at the steps of the charges."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from torch_bridge.run_log import RunLogError  # noqa: E402
from torch_bridge.weight_sample import FILE, WeightSample, read_weight_sample  # noqa: E402


def trained(folder, *, steps, count, every):
    """Every weight after every step, and the model."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = [model[0].weight.detach().flatten().numpy().copy()]
    with WeightSample(optimizer, model, folder, count=count, every=every):
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(4, 2, 5, 5)).square().mean().backward()
            optimizer.step()
            seen.append(model[0].weight.detach().flatten().numpy().copy())
    return np.array(seen)


def test_the_sample_is_of_the_weights_at_every_nth_step_and_at_the_end(tmp_path):
    seen = trained(tmp_path, steps=5, count=4, every=2)
    steps, weights = read_weight_sample(tmp_path)
    assert steps.tolist() == [0, 2, 4, 5]
    assert list(weights) == ["0.weight", "2.weight"]
    places = np.linspace(0, 2 * 3 * 9 - 1, 4).round().astype(int)
    assert np.array_equal(weights["0.weight"], seen[[0, 2, 4, 5]][:, places])
    assert weights["2.weight"].shape == (4, 3)  # it has no more
    assert (np.diff(weights["0.weight"], axis=0) != 0).any()


def test_a_run_that_breaks_off_leaves_no_sample_and_no_hook(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(KeyboardInterrupt), WeightSample(optimizer, model, tmp_path, count=1) as sample:
        raise KeyboardInterrupt
    assert not (tmp_path / FILE).exists()
    model[0].weight.sum().backward()
    optimizer.step()
    assert sample._kept == [0]


def test_a_missing_and_a_damaged_sample_are_refused(tmp_path):
    with pytest.raises(RunLogError, match=r"expected a run with weights\.npz"):
        read_weight_sample(tmp_path)
    trained(tmp_path, steps=1, count=2, every=1)
    content = bytearray((tmp_path / FILE).read_bytes())
    content[len(content) // 4] ^= 1
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(RunLogError, match=r"weights\.npz: damaged"):
        read_weight_sample(tmp_path)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": 1, "every": 0}])
def test_a_sample_of_nothing_is_refused(tmp_path, wrong):
    model = nn.Sequential(nn.Conv2d(1, 1, 1))
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        WeightSample(torch.optim.SGD(model.parameters(), lr=0.1), model, tmp_path, **wrong)
