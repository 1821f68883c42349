"""A log as labelled arrays holds the log's own numbers, and so does the zarr store written from them."""

import numpy as np
import pytest

pytest.importorskip("torch")
xarray = pytest.importorskip("xarray")

from tests.torch_bridge.small_network import recorded  # noqa: E402
from torch_bridge.run_log import RunLog, RunLogError  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(params=[None, 1], ids=["forcing", "online"])
def log(tmp_path, request) -> RunLog:
    settings = {"momentum": 0.9}
    return recorded(
        tmp_path / "run", steps=20, every=3, online=request.param, settings=settings, meta={"seed": 3, "note": None}
    )


def assert_holds(tree, log):
    assert tree.attrs["seed"] == 3
    assert list(tree.children) == [f"g{k}" for k in range(len(log.groups))]
    for index, (group, columns) in enumerate(zip(log.groups, log.header.groups, strict=True)):
        node = tree[f"g{index}"]
        assert (node.attrs["kind"], node.attrs["label"]) == (group.kind, group.label)
        assert node["charge"].dims == ("charge_step", "neuron")
        np.testing.assert_array_equal(node["charge"].sel(charge_step=6), log.charge(index)[2])
        np.testing.assert_array_equal(node["lr"], log.hyper(index)["lr"])
        for name in columns.channels if log.header.order is None else ():
            assert node[name].dims == ("step", "neuron")
            np.testing.assert_array_equal(node[name], log.channel(index, name))
        for name in log.header.predictions:
            np.testing.assert_array_equal(node[name], log.predictions(1)[index][name])


def test_the_tree_holds_the_logs_numbers_under_their_names(log):
    assert_holds(log.to_xarray(), log)


def test_a_zarr_store_holds_them_too_and_is_never_written_over(tmp_path, log):
    pytest.importorskip("zarr")
    log.to_zarr(tmp_path / "store")
    assert_holds(xarray.open_datatree(tmp_path / "store", engine="zarr"), log)
    with pytest.raises(RunLogError, match="never written over"):
        log.to_zarr(tmp_path / "store")


def test_without_xarray_it_says_what_to_install(log, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(RunLogError, match=r"pip install 'nmech\[xarray\]'"):
        log.to_xarray()
