"""Sums along rows and down columns are those of the products, whatever the chunks, the layout and the precision."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch_bridge.neuron_sums as neuron_sums  # noqa: E402
from torch_bridge.neuron_sums import matrix_sums  # noqa: E402

SHAPES = [(1, 1), (7, 5), (12, 3, 3, 3), (40, 30)]


@pytest.mark.parametrize("chunk", [1, 64, 2**18])
@pytest.mark.parametrize("shape", SHAPES)
def test_in_integers_both_sums_are_exact(monkeypatch, shape, chunk):
    monkeypatch.setattr(neuron_sums, "CHUNK", chunk)
    a, b = (torch.randint(-9, 9, shape, generator=torch.Generator().manual_seed(k)).float() for k in (1, 2))
    product = (a * b).reshape(shape[0], -1)
    rows, columns = matrix_sums(a, b, shape[0], rows=True, columns=True)
    assert torch.equal(rows, product.sum(1).double())
    assert torch.equal(columns, product.sum(0).double())
    assert matrix_sums(a, b, shape[0], rows=False, columns=False) == (None, None)


def test_a_tensor_in_another_memory_format_is_summed_in_its_own_shape():
    a = torch.arange(2 * 3 * 2 * 2, dtype=torch.float64).reshape(2, 3, 2, 2)
    strided = a.to(memory_format=torch.channels_last)
    for got, expected in zip(*(matrix_sums(x, x, 2, rows=True, columns=True) for x in (strided, a)), strict=True):
        assert torch.equal(got, expected)


def test_float32_is_summed_to_a_millionth_and_precisely_if_asked():
    a = torch.randn(64, 4608, generator=torch.Generator().manual_seed(0))
    for exact, *sums in zip(
        ((a.double() ** 2).sum(1), (a.double() ** 2).sum(0)),
        *(matrix_sums(a, a, 64, rows=True, columns=True, precise=precise) for precise in (False, True)),
        strict=True,
    ):
        rough, precise = (float((got / exact - 1).abs().max()) for got in sums)
        assert 1e-9 < rough < 5e-6
        assert precise < 1e-14


def test_on_another_device_the_same_is_done_with_its_own_tensors(monkeypatch):
    """The branch that accelerators take, run on a CPU."""
    a, b = (torch.randn(6, 10, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in (1, 2))
    here = matrix_sums(a, b, 6, rows=True, columns=True)
    there = neuron_sums._at_once(a, b, True, True, precise=True)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)
