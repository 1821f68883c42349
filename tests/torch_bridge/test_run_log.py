"""A run's log holds what was written, or says which file does not."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch_bridge.run_folder as run_folder
from torch_bridge.run_header import GroupColumns, Header, Initial
from torch_bridge.run_log import RunLog, RunLogError
from torch_bridge.run_writer import RunLogWriter
from torch_bridge.symmetry_map import Block, NeuronSymmetries

BLOCK = {"parameter": "0.weight", "view": [3, 4], "axis": 0, "coefficient": 1}
HEADER = Header(
    groups=(
        GroupColumns("scale", "first", (BLOCK,), 0, (0, 3), {"breaking": (0, 3), "gradient": (3, 6)}, 0),
        GroupColumns("translation", "last", (BLOCK | {"view": [4, 3]},), 1, (3, 7), {"breaking": (6, 10)}, 1),
    ),
    dtype="float32",
    every=2,
    nesterov=False,
    fresh=True,
    provenance={"torch": "2.13"},
    meta={"seed": 3, "note": "θ", "lr": 0.1, "resumed": None, "bn": True},
)
INITIAL = Initial(np.arange(7.0), np.arange(7.0) + 1, np.linspace(0, 1, 7))


def rows(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose every number tells where it stands: forcing float32, hyper-parameters float64."""
    steps = np.arange(first, first + count)[:, None]
    return (1000 * steps + np.arange(10)).astype(np.float32), 0.1 * steps + np.arange(8.0)


def write(path: Path, counts: list[int], *, close: bool = True, header: Header = HEADER) -> RunLogWriter:
    """A log with one segment for each of ``counts``, and a charge ``step + column`` after every step."""
    writer = RunLogWriter(path, header, INITIAL)
    for first, count in zip(itertools.accumulate(counts, initial=0), counts, strict=False):
        writer.append(*rows(first, count))
        for step in range(first + 1, first + count + 1):
            writer.append_charge(step, step + np.arange(7.0), step + np.arange(7.0) + 0.5)
        writer.flush()
    if close:
        writer.close()
    return writer


def assert_holds(log: RunLog, steps: int) -> None:
    """The log holds the first ``steps`` rows, number for number."""
    forcing, hyper = rows(0, steps)
    assert log.steps == steps
    channels = [log.channel(0, "breaking"), log.channel(0, "gradient"), log.channel(1, "breaking")]
    np.testing.assert_array_equal(np.hstack(channels), forcing)
    np.testing.assert_array_equal(np.stack([*log.hyper(0).values(), *log.hyper(1).values()], axis=1), hyper)
    np.testing.assert_array_equal(log.charge_steps, np.arange(steps + 1))
    measured = np.vstack([INITIAL.charge, np.arange(1, steps + 1)[:, None] + np.arange(7.0)])
    np.testing.assert_array_equal(np.hstack([log.charge(0), log.charge(1)]), measured)
    sizes = np.vstack([INITIAL.magnitude, measured[1:] + 0.5])
    np.testing.assert_array_equal(np.hstack([log.magnitude(0), log.magnitude(1)]), sizes)


@given(st.lists(st.integers(0, 5), max_size=6))
@settings(max_examples=25, deadline=None)
def test_what_is_read_is_what_was_written_however_it_was_flushed(tmp_path_factory, counts):
    path = tmp_path_factory.mktemp("runs") / "run"
    write(path, counts)
    log = RunLog.open(path)
    assert_holds(log, sum(counts))
    assert log.complete
    assert log.manifest["steps"] == sum(counts)


def test_the_check_of_contents_notices_a_missing_row(tmp_path):
    write(tmp_path, [3])
    with pytest.raises(AssertionError):
        assert_holds(RunLog.open(tmp_path), 2)


def test_a_log_says_what_its_rows_mean(tmp_path):
    write(tmp_path, [2])
    log = RunLog.open(tmp_path)
    assert log.header == HEADER
    assert log.manifest["meta"] == HEADER.meta
    assert log.groups == (
        NeuronSymmetries("scale", "first", (Block("0.weight", (3, 4), 0),)),
        NeuronSymmetries("translation", "last", (Block("0.weight", (4, 3), 0),)),
    )
    assert (log.fresh, log.nesterov) == (True, False)
    assert list(log.hyper(0)) == ["lr", "momentum", "dampening", "weight_decay"]
    np.testing.assert_array_equal(log.initial_overlap(1), INITIAL.overlap[3:])


def test_forcing_keeps_its_dtype_and_the_rest_is_float64(tmp_path):
    for dtype in ("float32", "float64"):
        write(tmp_path / dtype, [2], header=replace(HEADER, dtype=dtype))
        log = RunLog.open(tmp_path / dtype)
        assert log.channel(0, "breaking").dtype == dtype
        assert {log.charge(0).dtype, log.magnitude(0).dtype, log.hyper(0)["lr"].dtype} == {np.dtype("float64")}


def test_the_last_charge_is_kept_even_without_a_row_of_its_own(tmp_path):
    writer = RunLogWriter(tmp_path, HEADER, INITIAL)
    writer.append(*rows(0, 3))
    writer.flush()
    writer.append_charge(3, np.full(7, 5.0), np.full(7, 6.0))
    writer.flush()
    writer.close()
    log = RunLog.open(tmp_path)
    assert log.steps == 3
    assert log.charge_steps.tolist() == [0, 3]
    assert (log.charge(1)[1] == 5).all()


def test_a_charge_flushed_without_a_row_is_not_lost_to_the_next_segment(tmp_path):
    writer = write(tmp_path, [2], close=False)
    writer.append_charge(3, np.full(7, 5.0), np.full(7, 6.0))
    writer.flush()
    writer.append(*rows(2, 1))
    writer.flush()
    writer.close()
    assert RunLog.open(tmp_path).charge_steps.tolist() == [0, 1, 2, 3]


def test_an_unclosed_log_opens_and_says_that_it_is_not_complete(tmp_path):
    write(tmp_path, [2, 2], close=False)
    log = RunLog.open(tmp_path)
    assert_holds(log, 4)
    assert not log.complete


def test_closing_twice_is_closing_once_and_nothing_is_appended_afterwards(tmp_path):
    writer = write(tmp_path, [2])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    writer.close()
    writer.close(complete=False)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    with pytest.raises(RunLogError, match="expected an open log"):
        writer.append(*rows(2, 1))
    with pytest.raises(RunLogError, match="expected an open log"):
        writer.append_charge(3, np.zeros(7), np.zeros(7))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_by_name_and_never_reaches_the_file(tmp_path, value):
    writer = RunLogWriter(tmp_path, HEADER, INITIAL)
    forcing, hyper = rows(0, 2)
    forcing[1, 7] = value
    with pytest.raises(RunLogError, match=r"row 1: breaking of the translation symmetry 'last', neuron 1"):
        writer.append(forcing, hyper)
    with pytest.raises(RunLogError, match=r"charge of the scale symmetry 'first', neuron 0"):
        writer.append_charge(1, np.full(7, value), np.zeros(7))
    with pytest.raises(RunLogError, match="hyper"):
        writer.append(rows(0, 2)[0], np.full((2, 8), value))
    writer.close()
    assert RunLog.open(tmp_path).steps == 0


def test_a_float64_number_too_large_for_float32_is_refused(tmp_path):
    writer = RunLogWriter(tmp_path, HEADER, INITIAL)
    with np.errstate(over="ignore"), pytest.raises(RunLogError, match="got inf"):
        writer.append(np.full((1, 10), 1e300), rows(0, 1)[1])
    writer.close()


def test_rows_of_another_width_are_refused(tmp_path):
    writer = RunLogWriter(tmp_path, HEADER, INITIAL)
    with pytest.raises(RunLogError, match=r"forcing: expected shape \(2, 10\), got \(2, 9\)"):
        writer.append(rows(0, 2)[0][:, :9], rows(0, 2)[1])
    with pytest.raises(RunLogError, match=r"hyper: expected shape \(2, 8\)"):
        writer.append(rows(0, 2)[0], rows(0, 3)[1])
    writer.close()


@pytest.mark.parametrize("meta", [{"model": object()}, {"loss": float("nan")}, {3: "x"}, {"list": [1]}])
def test_only_finite_json_scalars_are_kept_as_meta(meta):
    with pytest.raises(RunLogError, match="finite JSON scalars"):
        replace(HEADER, meta=meta)


# --- the folder ---


def test_a_folder_that_holds_something_is_never_written_into(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunLogError, match=r"expected a new or empty folder, got .* with notes\.txt"):
        RunLogWriter(tmp_path, HEADER, INITIAL)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_finished_run_is_never_written_over(tmp_path):
    write(tmp_path, [2])
    with pytest.raises(RunLogError, match="record into another folder"):
        RunLogWriter(tmp_path, HEADER, INITIAL)
    assert_holds(RunLog.open(tmp_path), 2)


def test_two_recorders_cannot_share_a_folder(tmp_path):
    first = RunLogWriter(tmp_path, HEADER, INITIAL)
    with pytest.raises(RunLogError, match=f"being recorded into by process {os.getpid()}"):
        RunLogWriter(tmp_path, HEADER, INITIAL)
    first.append(*rows(0, 1))
    first.close()
    assert RunLog.open(tmp_path).steps == 1


def test_a_lock_without_a_name_is_reported(tmp_path):
    (tmp_path / ".lock").touch()
    with pytest.raises(RunLogError, match="gave no name"):
        RunLogWriter(tmp_path, HEADER, INITIAL)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunLogError, match="cannot create the run folder"):
        RunLogWriter(tmp_path / "file" / "run", HEADER, INITIAL)
    with pytest.raises(RunLogError, match="expected a folder, got the file"):
        RunLogWriter(tmp_path / "file", HEADER, INITIAL)


def test_a_path_without_a_run_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunLogError, match=r"expected a run folder with manifest\.json"):
            RunLog.open(path)


# --- damage ---

SECOND = "segment-000000003.npz"


def test_a_log_of_the_first_schema_is_read_as_it_was_meant(tmp_path):
    """It knew no parts, stored charges in float64 and held the forcing always."""
    write(tmp_path, [3])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for name in ("measured", "order"):
        del manifest[name]
    for group in manifest["groups"]:
        del group["symmetry"]
    manifest["schema"] = 1
    manifest["checksum"] = run_folder._checksum(manifest)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    log = RunLog.open(tmp_path)
    assert_holds(log, 3)
    assert [held for _, held in log.symmetries] == [(0,), (1,)]


def test_a_log_of_a_later_schema_asks_for_an_update(tmp_path):
    write(tmp_path, [2])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"schema": run_folder.SCHEMA + 1}))
    with pytest.raises(RunLogError, match=f"got {run_folder.SCHEMA + 1}; update nmech"):
        RunLog.open(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "x"}', "\xff"])
def test_what_is_no_manifest_is_reported(tmp_path, text):
    write(tmp_path, [2])
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(RunLogError, match="not a manifest"):
        RunLog.open(tmp_path)


def test_an_altered_manifest_does_not_match_its_checksum(tmp_path):
    write(tmp_path, [2])
    text = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(text.replace('"coefficient": 1', '"coefficient": -1', 1))
    with pytest.raises(RunLogError, match="checksum"):
        RunLog.open(tmp_path)


@pytest.mark.parametrize("name", ["segment-000000000.npz", SECOND, "segment-000000005.npz"])
def test_a_missing_segment_is_named_and_the_rows_before_it_are_recovered(tmp_path, name):
    write(tmp_path, [3, 2, 4])
    (tmp_path / name).unlink()
    before = int(name[8:17])
    with pytest.raises(RunLogError, match=rf"{name} is missing.*the {before} steps before it.*recover=True"):
        RunLog.open(tmp_path)
    log = RunLog.open(tmp_path, recover=True)
    assert_holds(log, before)
    assert not log.complete


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, -1])
def test_a_truncated_segment_is_named_and_the_rows_before_it_are_recovered(tmp_path, kept):
    write(tmp_path, [3, 2, 4])
    whole = (tmp_path / SECOND).read_bytes()
    (tmp_path / SECOND).write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(RunLogError, match=f"{SECOND} is damaged.*recover=True"):
        RunLog.open(tmp_path)
    assert_holds(RunLog.open(tmp_path, recover=True), 3)


def test_a_flipped_bit_is_either_found_or_harmless(tmp_path):
    write(tmp_path, [3, 2])
    whole = (tmp_path / SECOND).read_bytes()
    generator, found = random.Random(0), []
    for place in generator.sample(range(8 * len(whole)), 250):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        (tmp_path / SECOND).write_bytes(flipped)
        try:
            assert_holds(RunLog.open(tmp_path), 5)
        except RunLogError as error:
            found.append(str(error))
    assert len(found) > 150
    assert all(SECOND in message for message in found)


@pytest.mark.parametrize("name", ["forcing", "hyper", "charge", "magnitude", "charge_steps"])
@pytest.mark.parametrize("change", [lambda a: a[:-1], lambda a: a.astype("complex128"), lambda a: a * np.nan])
def test_a_whole_file_with_wrong_contents_is_refused(tmp_path, name, change):
    write(tmp_path, [3])
    file = tmp_path / run_folder.segment_name(0)
    arrays, _ = run_folder.read_arrays(file)
    run_folder.write_arrays(file, arrays | {name: change(arrays[name])})
    with pytest.raises(RunLogError, match="is damaged"):
        RunLog.open(tmp_path)


@pytest.mark.parametrize("steps", [[1, 2, 4], [0, 2, 3], [2, 1, 3], [1, 1, 2]])
def test_charges_at_steps_that_cannot_be_are_refused(tmp_path, steps):
    write(tmp_path, [3])
    file = tmp_path / run_folder.segment_name(0)
    arrays, _ = run_folder.read_arrays(file)
    run_folder.write_arrays(file, arrays | {"charge_steps": np.array(steps)})
    with pytest.raises(RunLogError, match="charge_steps"):
        RunLog.open(tmp_path)


def test_pickled_objects_are_not_loaded(tmp_path):
    write(tmp_path, [3])
    np.savez(tmp_path / run_folder.segment_name(0), forcing=np.array([{}], dtype=object))
    with pytest.raises(RunLogError, match="allow_pickle=False"):
        RunLog.open(tmp_path)


def test_a_damaged_initial_state_is_named(tmp_path):
    write(tmp_path, [3])
    file = tmp_path / "initial.npz"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(RunLogError, match=r"initial\.npz"):
        RunLog.open(tmp_path, recover=True)


def test_an_unknown_channel_or_group_is_answered_with_the_known_ones(tmp_path):
    write(tmp_path, [3])
    log = RunLog.open(tmp_path)
    with pytest.raises(RunLogError, match=r"\['breaking', 'gradient'\]"):
        log.channel(0, "overlap")
    for group in (-1, 2):
        with pytest.raises(RunLogError, match="0 <= group < 2"):
            log.charge(group)


# --- crashes ---

WRITE_UNTIL_KILLED = """
import sys
import numpy as np
from importlib.util import module_from_spec, spec_from_file_location
# By file, not through the package: a process that only writes logs needs no torch.
def load(name, file):
    spec = spec_from_file_location(name, file)
    sys.modules[name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
folder, path = sys.argv[1:]
header = load("torch_bridge.run_header", folder + "/run_header.py")
load("torch_bridge.run_folder", folder + "/run_folder.py")
load("torch_bridge.run_log", folder + "/run_log.py")
log = load("torch_bridge.run_writer", folder + "/run_writer.py")
assert "torch" not in sys.modules
N = 300
group = header.GroupColumns("scale", "all", (), 0, (0, N), {"breaking": (0, N)}, 0)
columns = header.Header((group,), "float32", 1, False, True)
writer = log.RunLogWriter(path, columns, header.Initial(*np.zeros((3, N))))
while True:
    writer.append(np.full((5, N), writer.steps), np.zeros((5, 4)))
    writer.append_charge(writer.steps + 5, np.full(N, writer.steps), np.ones(N))
    writer.flush()
    print(writer.steps, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the platform has no SIGKILL")
def test_no_flushed_row_is_lost_to_sigkill(tmp_path):
    generator = random.Random(1)
    source = str(Path(run_folder.__file__).parent)
    for trial in range(10):
        path = tmp_path / str(trial)
        command = [sys.executable, "-c", WRITE_UNTIL_KILLED, source, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(generator.uniform(0, 0.1))
            process.kill()
            acknowledged = [int(line) for line in (first + process.stdout.read()).splitlines()]
        assert process.returncode == -signal.SIGKILL
        log = RunLog.open(path)
        assert not log.complete
        assert 0 < acknowledged[-1] <= log.steps <= acknowledged[-1] + 5
        assert log.charge_steps[-1] == log.steps
        np.testing.assert_array_equal(log.channel(0, "breaking")[:, 7], np.arange(log.steps) // 5 * 5)
        with pytest.raises(RunLogError, match=f"left by process {process.pid}, which is dead"):
            RunLogWriter(path, HEADER, INITIAL)
