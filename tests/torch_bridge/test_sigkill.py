"""A training killed at any moment: its log opens, nothing flushed is lost, and resumed it is as if nothing had happened."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.torch_bridge.small_network import network, sgd  # noqa: E402
from torch_bridge.evaluate import evaluate  # noqa: E402
from torch_bridge.recorder import Recorder  # noqa: E402
from torch_bridge.run_log import RunLog, RunLogError  # noqa: E402

STEPS, SAVE_EVERY, PAUSE = 60, 7, 0.001
CURVES = ("steps", "time", "measured", "magnitude", "exact", "unbroken", "predicted")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")


def train(folder: Path, acknowledge: int | None = None) -> None:
    """Train to ``STEPS``, from the last checkpoint if there is one; tell the steps that are flushed, one byte each time."""
    torch.manual_seed(0)
    symmetries = network()
    optimizer = sgd(symmetries, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    state = {"model": symmetries.model, "optimizer": optimizer, "schedule": schedule}
    checkpoint, run, steps = folder / "checkpoint", folder / "run", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        steps = saved.pop("steps")
        for name, values in saved.items():
            state[name].load_state_dict(values)
    if not (run / "manifest.json").exists():  # killed before it was written: nothing is recorded
        shutil.rmtree(run, ignore_errors=True)
    resume = steps if run.exists() else None
    with Recorder(optimizer, symmetries, run, every=2, flush_every=3, resume=resume) as recorder:
        while recorder.steps < STEPS:
            generator = torch.Generator().manual_seed(recorder.steps)
            x, y = torch.randn(16, 5, generator=generator).double(), torch.randint(3, (16,), generator=generator)
            optimizer.zero_grad()
            nn.functional.cross_entropy(symmetries.model(x), y).backward()
            optimizer.step()
            schedule.step()
            if recorder.steps % SAVE_EVERY == 0:
                recorder.flush()
                values = {name: part.state_dict() for name, part in state.items()}
                torch.save(values | {"steps": recorder.steps}, folder / "checkpoint.part")
                os.replace(folder / "checkpoint.part", checkpoint)
                if acknowledge is not None:
                    os.write(acknowledge, bytes([recorder.steps]))
            time.sleep(PAUSE)


def forked(folder: Path) -> tuple[int, int]:
    """The process number of a training in a child, and the end of a pipe on which it says what it has flushed."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            train(folder, tell)
            status = 0
        finally:
            os._exit(status)
    os.close(tell)
    return child, told


def killed(folder: Path, delay: float) -> tuple[bool, int]:
    """Kill a training after ``delay`` seconds: whether that was before its end, and the last step it said it flushed."""
    child, told = forked(folder)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with open(told, "rb") as stream:
        flushed = stream.read()
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status), flushed[-1] if flushed else 0


def assert_readable(run: Path, flushed: int) -> None:
    """Whatever was said to be flushed is in the log; a new recorder is told who left it."""
    log = RunLog.open(run)
    assert log.steps >= flushed
    if log.complete:  # killed between its last write and its end
        assert log.steps == STEPS
        return
    symmetries = network()
    with pytest.raises(RunLogError, match="left by process"):
        Recorder(sgd(symmetries), symmetries, run).__enter__()


def kill_and_resume(folder: Path, generator: random.Random, seconds: float, kills: int) -> int:
    """Kill a training at up to ``kills`` random moments, resuming in between, and let it end; the number of kills."""
    folder.mkdir()
    for done in range(kills):
        was_killed, flushed = killed(folder, generator.uniform(0, seconds))
        if not was_killed:
            return done
        if (folder / "run" / "manifest.json").exists():
            assert_readable(folder / "run", flushed)
        assert flushed == 0 or (folder / "checkpoint").exists()
    train(folder)
    return kills


def check(folder: Path, kills: int, seed: int) -> None:
    generator = random.Random(seed)
    (folder / "whole").mkdir()
    start = time.perf_counter()
    train(folder / "whole")
    seconds, done, trial = time.perf_counter() - start, 0, 0
    whole = evaluate(RunLog.open(folder / "whole" / "run"))
    while done < kills:
        trial += 1
        assert trial <= 3 * kills, "the moments fall outside the training"
        asked = min(4, kills - done)
        hit = kill_and_resume(folder / str(trial), generator, seconds, asked)
        done, seconds = done + hit, seconds * (1.2 if hit == asked else 0.7)  # how long a training takes here and now
        log = RunLog.open(folder / str(trial) / "run")
        assert (log.steps, log.complete) == (STEPS, True)
        for one, other in zip(evaluate(log).groups, whole.groups, strict=True):
            for name in CURVES:
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_five_kills(tmp_path):
    check(tmp_path, 5, seed=1)


@pytest.mark.slow
def test_a_hundred_kills(tmp_path):
    check(tmp_path, 100, seed=2)
