"""Sums along rows and down columns are those of the products, whatever the tiles, the layout and the precision."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch_bridge.neuron_sums as neuron_sums  # noqa: E402
from torch_bridge.neuron_sums import Product, matrix_sums  # noqa: E402

SHAPES = [(1, 1), (7, 5), (12, 3, 3, 3), (300, 30), (3, 20_000)]


def both(a, b, leading, **options):
    """Row sums and column sums of one product."""
    return matrix_sums([a, b], [Product(0, 1, rows=True, columns=True)], leading, **options)[0]


@pytest.mark.parametrize("precise", [False, True])
@pytest.mark.parametrize("tile", [1, 64, 2**18])
@pytest.mark.parametrize("shape", SHAPES)
def test_in_integers_both_sums_are_exact(monkeypatch, shape, tile, precise):
    if math.prod(shape) > 1000 * tile:
        pytest.skip("a loop over too many tiles")
    monkeypatch.setattr(neuron_sums, "_SMALL", 0)
    monkeypatch.setattr(neuron_sums, "TILE", tile)
    monkeypatch.setattr(neuron_sums, "PRECISE_TILE", tile)
    neuron_sums._tiles.cache_clear()
    a, b = (torch.randint(-9, 9, shape, generator=torch.Generator().manual_seed(k)).float() for k in (1, 2))
    for second in (b, None):
        product = (a if second is None else a * b).reshape(shape[0], -1).double()
        rows, columns = both(a, second, shape[0], precise=precise)
        assert torch.equal(rows, product.sum(1))
        assert torch.equal(columns, product.sum(0))


@pytest.mark.parametrize("small", [0, 100], ids=["in tiles", "at once"])
def test_each_of_several_products_is_summed_along_what_it_asks_for(monkeypatch, small):
    monkeypatch.setattr(neuron_sums, "_SMALL", small)
    a, b = (torch.randint(-9, 9, (5, 6), generator=torch.Generator().manual_seed(k)).double() for k in (1, 2))
    asked = [Product(0, 2, True, False), Product(0, 0, False, True), Product(2, 3, False, False), Product(2, 3, True, True)]
    (rows, _), (_, columns), nothing, (plain, down) = found = matrix_sums([a, None, b, None], asked, 5)
    assert torch.equal(rows, (a * b).sum(1))
    assert torch.equal(columns, (a * a).sum(0))
    assert nothing == (None, None)
    assert torch.equal(plain, b.sum(1))
    assert torch.equal(down, b.sum(0))
    assert [sums is None for pair in found[:2] for sums in pair] == [False, True, True, False]


def test_a_tensor_in_another_memory_format_is_summed_in_its_own_shape():
    a = torch.arange(2 * 3 * 2 * 2, dtype=torch.float64).reshape(2, 3, 2, 2)
    strided = a.to(memory_format=torch.channels_last)
    for got, expected in zip(*(both(x, x, 2) for x in (strided, a)), strict=True):
        assert torch.equal(got, expected)


def test_nothing_is_written_into_the_tensors():
    a = torch.randn(6, 7)
    before = a.clone()
    both(a, a, 6, precise=True)
    assert torch.equal(a, before)


WIDE = torch.randn(64, 25_088, generator=torch.Generator().manual_seed(0))
TALL = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("a", [torch.randn(64, 4608, generator=torch.Generator().manual_seed(0)), WIDE, TALL])
def test_float32_is_summed_to_a_millionth_and_precisely_if_asked(a):
    product = a.double() ** 2
    for exact, *sums in zip(
        (product.sum(1), product.sum(0)), *(both(a, a, len(a), precise=precise) for precise in (False, True)), strict=True
    ):
        rough, precise = (float((got / exact - 1).abs().max()) for got in sums)
        assert 1e-9 < rough < 2e-6
        assert precise < 1e-14


@pytest.mark.parametrize("a", [WIDE, TALL])
def test_where_the_terms_cancel_float32_loses_no_more_than_their_size_says(a):
    """Each row and column holds a number and its opposite, far apart: the exact sums are 0."""
    a = torch.cat([torch.cat([a, -a]), torch.cat([-a, a])], 1)
    b = torch.ones_like(a)
    for got, size in zip(both(a, b, len(a)), (a.abs().sum(1), a.abs().sum(0)), strict=True):
        assert float((got.abs() / size).max()) < 1e-6


def test_equal_numbers_whose_roundings_all_go_one_way_stay_within_the_bound_of_a_tile():
    """0.1 has a rounding error of its own; what sums add to it is below 256 roundings of 2⁻²⁴, the height of a tile."""
    a = torch.full((4096, 4608), 0.1)
    for got, count in zip(both(a, a, 4096), (4608, 4096), strict=True):
        relative = float((got / (count * float(a[0, 0]) ** 2) - 1).abs().max())
        assert relative < 256 * 2**-24


def test_a_number_that_is_not_finite_stays_in_its_row_and_column():
    a = torch.ones(300, 9000)
    a[17, 8500] = math.inf
    a[18, 3] = 3e38
    rows, columns = both(a, a, 300)
    assert [index for index, x in enumerate(rows.tolist()) if not math.isfinite(x)] == [17, 18]
    assert [index for index, x in enumerate(columns.tolist()) if not math.isfinite(x)] == [3, 8500]


def test_on_another_device_the_same_is_done_with_its_own_tensors():
    """The branch that accelerators take, run on a CPU."""
    a, b = (torch.randn(60, 100, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in (1, 2))
    here = both(a, b, 60)
    there = neuron_sums._at_once(a, b, Product(0, 1, rows=True, columns=True), precise=True)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)
