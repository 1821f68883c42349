"""Independent tasks side by side: on this machine's processes, on a Dask cluster, or on the processes of ``torchrun``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from typing import Any, TypeVar

import torch
from tqdm.auto import tqdm

Task = TypeVar("Task")

ENGINES = ("processes", "dask", "torchrun")
"""Names of the engines. ``dask`` may be followed by a scheduler's address, as in ``dask:tcp://10.0.0.1:8786``."""

_DAYS = 365
"""How long the first process of torchrun waits for the others to finish their runs."""


class EngineError(ValueError):
    """An engine that does not exist, is not installed, or is not the one that this process was started by."""


@dataclass(frozen=True)
class Place:
    """A process of ``torchrun``: its number, how many there are, and its number on its machine.

    >>> Place(rank=1, world=2, local=1).share("abcde")
    ['b', 'd']
    """

    rank: int
    world: int
    local: int

    @staticmethod
    def here(environment: os._Environ[str] | dict[str, str] = os.environ) -> Place | None:
        """The place of this process, or None if it was not started by torchrun.

        >>> Place.here({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0"})
        Place(rank=1, world=2, local=0)
        >>> Place.here({}) is None
        True
        """
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        return Place(*(int(environment[name]) for name in names)) if all(n in environment for n in names) else None

    def share(self, tasks: Sequence[Task]) -> list[Task]:
        """Every ``world``-th task from ``rank`` on."""
        return list(tasks[self.rank :: self.world])

    def device(self, name: str) -> str:
        """``cuda`` as this process's own GPU; any other device as it is."""
        return f"cuda:{self.local}" if name == "cuda" else name


def check_engine(name: str | None) -> str:
    """The engine to use: ``name``, or if None what this process was started by.

    Raises
    ------
    EngineError
        If there is none of this name, or torchrun runs this process and another was asked for, or the other way round.
    """
    launched = Place.here() is not None
    chosen = name or ("torchrun" if launched else "processes")
    if chosen.partition(":")[0] not in ENGINES or (":" in chosen and not chosen.startswith("dask:")):
        raise EngineError(f"engine: expected one of {', '.join(ENGINES)} or dask:ADDRESS, got {name!r}")
    if launched != (chosen == "torchrun"):
        remedy = "leave --engine out" if launched else "start it as  torchrun --nproc-per-node N -m nmech experiment ..."
        raise EngineError(f"engine: expected {'torchrun' if launched else 'a process of torchrun'}, got {chosen}; {remedy}")
    return chosen


def require_one_process() -> None:
    """Refuse several processes of torchrun where one run is to be trained: each would record it into the same folder.

    Raises
    ------
    EngineError
        If this process is one of several.
    """
    place = Place.here()
    if place is not None and place.world > 1:
        raise EngineError(f"engine: expected one process to train one run, got {place.world} of torchrun; nmech experiment "
                          "divides its runs among them, and a Recorder on the first of them records a DDP loop of your own"
                          )  # fmt: skip


def run_tasks(work: Callable[[Task], Any], tasks: Sequence[Task], *, engine: str, jobs: int, title: str) -> None:
    """``work(task)`` for all tasks, ``jobs`` at a time; under torchrun this process's share of them, one by one.

    The first task that fails ends it, with its exception: those that have not begun are then left out.
    """
    place = Place.here() if engine == "torchrun" else None
    if place is not None:
        for task in tqdm(place.share(tasks), desc=f"{title}, process {place.rank}", position=place.rank):
            work(task)
        return
    if not tasks:
        return
    with _executor(engine, min(jobs, len(tasks))) as executor:
        futures = [executor.submit(work, task) for task in tasks]
        try:
            for future in tqdm(as_completed(futures), total=len(futures), desc=title):
                future.result()
        except BaseException:
            for future in futures:  # Dask's executor cannot cancel on shutdown
                future.cancel()
            executor.shutdown(wait=False)
            raise


@contextmanager
def _executor(engine: str, jobs: int) -> Iterator[Executor]:
    name, _, address = engine.partition(":")
    if name == "processes":
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            yield pool
        return
    try:
        from dask.distributed import Client  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as missing:
        raise EngineError("engine: dask is not installed; in a clone: pip install '.[torch,plot,sweep]'") from missing
    local = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
    with Client(address) if address else Client(**local) as client, client.get_executor(retries=0) as executor:
        yield executor


@contextmanager
def together(engine: str) -> Iterator[Callable[[], None]]:
    """A function that waits until all processes of torchrun have called it; it does nothing with another engine."""
    if engine != "torchrun":
        yield lambda: None
        return
    torch.distributed.init_process_group("gloo", timeout=timedelta(days=_DAYS))
    try:
        yield _wait_for_all
    finally:
        torch.distributed.destroy_process_group()


def _wait_for_all() -> None:
    torch.distributed.barrier()
