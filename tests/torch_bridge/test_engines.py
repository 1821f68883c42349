"""Tasks are each done once, on whatever engine; an engine that is not there says so."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch_bridge.engines import EngineError, Place, check_engine, require_one_process, run_tasks  # noqa: E402

ROOT = Path(__file__).parents[2]
LAUNCHED = {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "0"}


def note(folder_and_number):
    """A task that leaves a file, and fails if it is there."""
    folder, number = folder_and_number
    if number < 0:
        raise ValueError(f"task {number} fails")
    with open(folder / str(number), "x") as file:
        file.write("done")


def test_the_shares_of_all_processes_are_all_tasks_each_once():
    shares = [Place(rank, 3, rank).share(range(8)) for rank in range(3)]
    assert sorted(task for share in shares for task in share) == list(range(8))
    assert max(map(len, shares)) - min(map(len, shares)) == 1


def test_a_process_of_torchrun_has_a_gpu_of_its_own():
    assert Place(rank=5, world=8, local=1).device("cuda") == "cuda:1"
    assert Place(rank=5, world=8, local=1).device("cpu") == "cpu"


def test_the_engine_is_that_which_started_the_process(monkeypatch):
    assert (check_engine(None), check_engine("dask:tcp://there:8786")) == ("processes", "dask:tcp://there:8786")
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    assert (check_engine(None), check_engine("torchrun")) == ("torchrun", "torchrun")
    with pytest.raises(EngineError, match="expected torchrun, got processes; leave --engine out"):
        check_engine("processes")


@pytest.mark.parametrize("name", ["slurm", "processes:4", "dasky"])
def test_an_engine_that_does_not_exist_is_refused(name):
    with pytest.raises(EngineError, match="engine: expected one of processes, dask, torchrun or dask:ADDRESS"):
        check_engine(name)


def test_torchrun_without_torchrun_is_refused_with_how_to_start_it():
    with pytest.raises(EngineError, match=r"torchrun --nproc-per-node N -m nmech experiment"):
        check_engine("torchrun")


def test_a_single_run_is_refused_under_torchrun_and_told_what_is_not(monkeypatch):
    require_one_process()
    for name, value in (LAUNCHED | {"WORLD_SIZE": "1", "RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    require_one_process()
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(EngineError, match="expected one process to train one run, got 3 of torchrun; nmech experiment"):
        require_one_process()


def test_processes_do_every_task_once(tmp_path):
    run_tasks(note, [(tmp_path, k) for k in range(4)], engine="processes", jobs=2, title="tasks")
    assert sorted(file.name for file in tmp_path.iterdir()) == list("0123")


def test_a_task_that_fails_ends_the_others_with_its_reason(tmp_path):
    with pytest.raises(ValueError, match="task -1 fails"):
        run_tasks(note, [(tmp_path, -1), *((tmp_path, k) for k in range(200))], engine="processes", jobs=1, title="tasks")
    assert len(list(tmp_path.iterdir())) < 200


def test_dask_does_every_task_once(tmp_path):
    pytest.importorskip("dask.distributed")
    run_tasks(note, [(tmp_path, k) for k in range(4)], engine="dask", jobs=2, title="tasks")
    assert sorted(file.name for file in tmp_path.iterdir()) == list("0123")


def test_a_task_that_fails_on_dask_ends_it_with_its_reason(tmp_path):
    pytest.importorskip("dask.distributed")
    with pytest.raises(ValueError, match="task -1 fails"):
        run_tasks(note, [(tmp_path, -1), (tmp_path, 1)], engine="dask", jobs=1, title="tasks")


def test_a_dask_scheduler_that_runs_already_is_used_by_its_address(tmp_path):
    distributed = pytest.importorskip("dask.distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        engine = check_engine(f"dask:{cluster.scheduler_address}")
        run_tasks(note, [(tmp_path, k) for k in range(3)], engine=engine, jobs=1, title="tasks")
        with distributed.Client(cluster) as client:
            assert len(client.scheduler_info()["workers"]) == 1  # no cluster of its own, and this one goes on
    assert sorted(file.name for file in tmp_path.iterdir()) == list("012")


@pytest.mark.slow
def test_an_experiment_on_dask_records_what_one_on_processes_does(tmp_path):
    pytest.importorskip("dask.distributed")
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    from torch_bridge.experiment import PRESETS, run_experiment
    from torch_bridge.run_log import RunLog

    demo = PRESETS["demo"]
    short = replace(demo, epochs=None, training=replace(demo.training, steps=3))
    for engine in ("processes", "dask"):
        run_experiment(short, tmp_path / engine, figures=(5,), engine=engine, jobs=2)
    logs = {engine: sorted((tmp_path / engine).glob("*/manifest.json")) for engine in ("processes", "dask")}
    assert len(logs["dask"]) == len(logs["processes"]) == 6
    for one, other in zip(logs["dask"], logs["processes"], strict=True):
        first, second = (RunLog.open(file.parent) for file in (one, other))
        assert first.complete
        assert all((first.charge(g) == second.charge(g)).all() for g in range(len(first.groups)))


def test_without_dask_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(EngineError, match=r"dask is not installed.*sweep"):
        run_tasks(note, [(tmp_path, 1)], engine="dask", jobs=1, title="tasks")


WORKER = """
import sys
from pathlib import Path
from torch_bridge.engines import Place, check_engine, run_tasks, together

def note(number):
    with open(Path(sys.argv[1]) / str(number), "x") as file:
        file.write(str(Place.here().rank))

engine = check_engine(None)
with together(engine) as wait:
    wait()
    run_tasks(note, range(5), engine=engine, jobs=1, title="tasks")
    wait()
    assert len(list(Path(sys.argv[1]).iterdir())) == 5
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed training")
def test_under_torchrun_two_processes_divide_the_tasks_and_wait_for_each_other(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "done").mkdir()
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([sys.executable, *command, str(tmp_path / "worker.py"), str(tmp_path / "done")], check=True, timeout=120,
                   env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True)  # fmt: skip
    done = {file.name: file.read_text() for file in (tmp_path / "done").iterdir()}
    assert done == {"0": "0", "1": "1", "2": "0", "3": "1", "4": "0"}
