"""Two processes: under DDP one records, under FSDP2 all do; the exact law holds to rounding."""

import socket

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("torch was built without distributed training", allow_module_level=True)

from torch import nn  # noqa: E402

from tests.torch_bridge.small_network import VARIANTS, sgd  # noqa: E402
from torch_bridge.discover import find_symmetries  # noqa: E402
from torch_bridge.evaluate import evaluate  # noqa: E402
from torch_bridge.recorder import Recorder  # noqa: E402
from torch_bridge.run_log import RunLog  # noqa: E402
from torch_bridge.symmetry_map import Block, MatrixSymmetries, NeuronSymmetries, SymmetryMap  # noqa: E402

STEPS, WORLD = 30, 2


def network() -> SymmetryMap:
    """Rescale and translation, without the batch norm whose statistics would differ between processes; odd row counts."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    first = Block("0.weight", (7, 5), 0), Block("0.bias", (7,), 0), Block("2.weight", (4, 7), 1, -1)
    second = Block("2.weight", (4, 7), 0), Block("2.bias", (4,), 0), Block("4.weight", (3, 4), 1, -1)
    return SymmetryMap(
        (
            NeuronSymmetries("rescale", "0 -> 2", first),
            NeuronSymmetries("rescale", "2 -> 4", second),
            NeuronSymmetries("translation", "4.weight", (Block("4.weight", (3, 4), 1),)),
            NeuronSymmetries("translation", "4.bias", (Block("4.bias", (3, 1), 1),)),
        ),
        model=model,
    )


def train(model, optimizer, rank, world, steps=STEPS):
    """Each process takes its share of the same batches, so that the mean gradient is that of the whole batch."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x, y = torch.randn(16, 5, generator=generator).double(), torch.randint(3, (16,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rank::world]), y[rank::world]).backward()
        optimizer.step()


def settings(variant):
    return VARIANTS[variant] | {"foreach": False}


def ddp(rank, port, folder, variant):
    symmetries = network()
    model = nn.parallel.DistributedDataParallel(symmetries.model)
    optimizer = sgd(symmetries, **settings(variant))
    if rank == 0:
        with Recorder(optimizer, symmetries, folder / "run", every=1):
            train(model, optimizer, rank, WORLD)
    else:
        train(model, optimizer, rank, WORLD)


def fsdp(rank, port, folder, variant):
    from torch.distributed.fsdp import fully_shard

    symmetries = network()
    mesh = torch.distributed.init_device_mesh("cpu", (WORLD,))
    for k in (0, 2, 4):
        fully_shard(symmetries.model[k], mesh=mesh)
    fully_shard(symmetries.model, mesh=mesh)
    optimizer = sgd(symmetries, **settings(variant))
    with Recorder(optimizer, symmetries, folder / "run", every=2):
        train(symmetries.model, optimizer, rank, WORLD)


def worker(rank, port, folder, variant, job):
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=WORLD)
    try:
        job(rank, port, folder, variant)
    finally:
        torch.distributed.destroy_process_group()


def in_two_processes(job, folder, variant):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(worker, (port, folder, variant, job), nprocs=WORLD)


@pytest.fixture
def alone(tmp_path):
    def run(variant):
        symmetries = network()
        optimizer = sgd(symmetries, **settings(variant))
        with Recorder(optimizer, symmetries, tmp_path / "alone", every=1):
            train(symmetries.model, optimizer, 0, 1)
        return RunLog.open(tmp_path / "alone")

    return run


def assert_exact_and_same(log, expected):
    assert (log.steps, log.complete) == (STEPS, True)
    assert evaluate(log).worst("exact") <= 1e-12
    assert evaluate(log).worst("unbroken") <= 1e-12
    for group, columns in enumerate(expected.header.groups):
        for name in columns.channels:
            np.testing.assert_allclose(log.channel(group, name), expected.channel(group, name), rtol=1e-9, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["plain", "nesterov"])
def test_under_ddp_the_first_process_records_the_run_of_the_whole_batch(tmp_path, alone, variant):
    in_two_processes(ddp, tmp_path, variant)
    assert_exact_and_same(RunLog.open(tmp_path / "run"), alone(variant))


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["plain", "momentum", "nesterov", "dampening"])
def test_under_fsdp2_every_process_records_the_whole_run(tmp_path, alone, variant):
    in_two_processes(fsdp, tmp_path, variant)
    expected = alone(variant)
    for rank in range(WORLD):
        assert_exact_and_same(RunLog.open(tmp_path / "run" / f"rank{rank}"), expected)


def chain() -> SymmetryMap:
    """Two linear layers without an activation between them: one GL(3), whose matrix one process's rows do not make."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 3)).double()
    return find_symmetries(model, torch.zeros(16, 5, dtype=torch.float64), loss=nn.functional.mse_loss)  # no translations


def fsdp_chain(rank, port, folder, variant):
    from torch.distributed.fsdp import fully_shard

    symmetries = chain()
    mesh = torch.distributed.init_device_mesh("cpu", (WORLD,))
    for layer in (*symmetries.model, symmetries.model):
        fully_shard(layer, mesh=mesh)
    optimizer = sgd(symmetries, **settings(variant))
    train(symmetries.model, optimizer, rank, WORLD, steps=2)  # momentum buffers exist at attach
    with Recorder(optimizer, symmetries, folder / "run", every=2):
        train(symmetries.model, optimizer, rank, WORLD)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["plain", "nesterov"])
def test_under_fsdp2_the_matrices_of_gl_are_whole(tmp_path, variant):
    in_two_processes(fsdp_chain, tmp_path, variant)
    symmetries = chain()
    optimizer = sgd(symmetries, **settings(variant))
    train(symmetries.model, optimizer, 0, 1, steps=2)
    with Recorder(optimizer, symmetries, tmp_path / "alone"):
        train(symmetries.model, optimizer, 0, 1)
    expected = RunLog.open(tmp_path / "alone")
    assert any(isinstance(group, MatrixSymmetries) for group in expected.groups)
    for rank in range(WORLD):
        assert_exact_and_same(RunLog.open(tmp_path / "run" / f"rank{rank}"), expected)
