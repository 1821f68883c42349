"""The files of a recorded run: what they hold, and how they are written and read without ever being half there.

::

    RUN/manifest.json            what every row means: symmetries, columns, dtype, provenance; ``complete`` once closed
    RUN/initial.npz              the state at attach: charge, magnitude and momentum overlap of every neuron
    RUN/segment-000000000.npz    rows of steps 0, 1, ...; the next segment's name says where this one ends
    RUN/.lock                    who is writing

Every file is written under another name, synced, and renamed into place; the zip format adds a CRC to every array, the
manifest carries its own. :mod:`torch_bridge.run_writer` and :mod:`torch_bridge.run_log` write and read runs with it.
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from torch_bridge.run_header import Header, Initial, RunLogError, checked

SCHEMA = 3
"""Version of the layout described above; a reader takes older runs and refuses later ones.

1: one entry of ``groups`` for each symmetry group. 2: one for each of its parts; measured charges as wide as ``dtype``.
3: matrix charges, whose blocks have an ``index``.
"""

_SEGMENT = re.compile(r"segment-(\d{9,})\.npz")
_LOCK = ".lock"


# --- writing ---


def claim(folder: Path) -> None:
    """Create ``folder`` (or take an empty one) and lock it for this process.

    Raises
    ------
    RunLogError
        If it holds something, is locked by another recorder, was left by one that died, or cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / _LOCK, "x") as lock:
            json.dump(_signature(), lock)
    except FileExistsError as error:
        raise RunLogError(_why_taken(folder)) from error
    except OSError as error:
        raise RunLogError(f"path: cannot create the run folder {folder}: {error}; choose a writable place") from error
    others = sorted(entry.name for entry in folder.iterdir() if entry.name != _LOCK)
    if others:
        release(folder)
        raise RunLogError(
            f"path: expected a new or empty folder, got {folder} with {', '.join(others[:3])}"
            f"{' ...' if len(others) > 3 else ''}; record into another folder, a run is never written over"
        )


def reclaim(folder: Path) -> None:
    """Lock the folder of a run to go on with, for this process; its last writer has closed it or is dead.

    Raises
    ------
    RunLogError
        If it is locked by a recorder that lives, or may live, elsewhere.
    """
    lock = folder / _LOCK
    try:
        with open(lock, "x") as stream:
            json.dump(_signature(), stream)
        return
    except FileExistsError:
        if not _left_by_the_dead(folder):
            raise RunLogError(_why_taken(folder)) from None
    except OSError as error:
        raise RunLogError(f"path: cannot lock the run folder {folder}: {error}; choose a writable place") from error
    _write(lock, lambda stream: stream.write(json.dumps(_signature()).encode()))


def release(folder: Path) -> None:
    """Let go of a folder that was claimed."""
    (folder / _LOCK).unlink(missing_ok=True)


_TOKEN = uuid4().hex
"""Tells this process from an earlier one of the same number, as a restarted container has."""


def _signature() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "token": _TOKEN}


def _owner(folder: Path) -> tuple[int, str, str] | None:
    """Process, host and token that hold the lock, if it says."""
    try:
        owner = json.loads((folder / _LOCK).read_text())
        return int(owner["pid"]), str(owner["host"]), str(owner.get("token"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _left_by_the_dead(folder: Path) -> bool:
    """Whether the lock is that of a process of this machine that is no more."""
    owner = _owner(folder)
    if owner is None or owner[1] != socket.gethostname():
        return False
    return owner[2] != _TOKEN if owner[0] == os.getpid() else not _alive(owner[0])


def _why_taken(folder: Path) -> str:
    if not folder.is_dir():
        return f"path: expected a folder, got the file {folder}; record into another place"
    owner = _owner(folder)
    if owner is None:
        return f"path: {folder} is being claimed, or was left, by a recorder that gave no name in {_LOCK}. " + _REMEDY
    pid, host, _ = owner
    if _left_by_the_dead(folder):
        return f"path: {folder} was left by process {pid}, which is dead; RunLog.open reads what it wrote. " + _REMEDY
    return f"path: {folder} is being recorded into by process {pid} on {host}; give each recorder a folder of its own"


_REMEDY = "Record into another folder, go on with Recorder(..., resume=step), or delete this one if it is not needed"


def _alive(pid: int) -> bool:
    if os.name == "nt":  # there os.kill(pid, 0) does not ask, it kills
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def segment_name(first: int) -> str:
    """File name of the segment whose first row is step ``first``."""
    return f"segment-{first:09d}.npz"


def write_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an uncompressed npz, two-dimensional arrays column-major.

    One symmetry group's columns are then one contiguous piece of the file, and are read without the rest.
    """
    stored: dict[str, Any] = {name: np.asfortranarray(values) for name, values in arrays.items()}
    _write(file, lambda stream: np.savez(stream, **stored))


def write_manifest(folder: Path, header: Header, steps: int | None) -> None:
    """Write ``manifest.json``; ``steps`` is the total of a complete run, None for one under way."""
    manifest = {"schema": SCHEMA, "complete": steps is not None, "steps": steps, **asdict(header)}
    text = json.dumps({**manifest, "checksum": _checksum(manifest)}, indent=1, allow_nan=False)
    _write(folder / "manifest.json", lambda stream: stream.write(text.encode()))


def _checksum(manifest: Mapping[str, Any]) -> int:
    plain = {key: value for key, value in manifest.items() if key != "checksum"}
    return zlib.crc32(json.dumps(plain, sort_keys=True).encode())


def _write(file: Path, write: Callable[[IO[bytes]], Any]) -> None:
    part = file.with_name(file.name + ".part")
    try:
        with open(part, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, file)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise RunLogError(f"{file}: cannot be written: {error}; what was flushed before is readable") from error


# --- reading ---


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run.

    Raises
    ------
    RunLogError
        If there is none, it is of a later schema, or it is damaged.
    """
    file = folder / "manifest.json"
    try:
        manifest = json.loads(file.read_bytes())
        schema = int(manifest["schema"])
    except FileNotFoundError as error:
        raise RunLogError(f"path: expected a run folder with manifest.json, got {folder} without; check the path, "
                          "or record again if its recorder was killed before the first write") from error  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunLogError(f"{file}: damaged or not a manifest ({error}); restore it from a copy") from error
    if schema > SCHEMA:
        raise RunLogError(f"{file}: expected schema {SCHEMA} or older, got {schema}; update nmech to read it")
    if manifest.get("checksum") != _checksum(manifest):
        raise RunLogError(f"{file}: its text does not match its checksum; restore it from a copy, edits are not kept")
    return manifest


def read_initial(folder: Path, header: Header) -> Initial:
    """The state at attach.

    Raises
    ------
    RunLogError
        If ``initial.npz`` is missing or damaged.
    """
    try:
        arrays = read_arrays(folder / "initial.npz")[0]
        return Initial(**{k: checked(header, k, v, (header.neurons,)) for k, v in arrays.items()})
    except (RunLogError, TypeError) as error:
        raise RunLogError(f"{folder / 'initial.npz'}: missing or damaged ({error}); restore it from a copy, "
                          "the run cannot be read without its initial state") from error  # fmt: skip


def segments(folder: Path) -> dict[int, Path]:
    """First step -> file, in the order of the steps."""
    found = ((_SEGMENT.fullmatch(file.name), file) for file in folder.iterdir())
    return dict(sorted((int(match[1]), file) for match, file in found if match))


def read_arrays(file: Path) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """Arrays of an npz, and the byte of the file where the data of each begin.

    Raises
    ------
    RunLogError
        If the file is missing or damaged: every checksum is verified.
    """
    arrays, offsets = {}, {}
    try:
        with zipfile.ZipFile(file) as archive, open(file, "rb") as stream:
            for info in archive.infolist():
                name, data = info.filename.removesuffix(".npy"), io.BytesIO(archive.read(info))
                arrays[name] = np.lib.format.read_array(data, allow_pickle=False)
                offsets[name] = _member_start(stream, info) + len(data.getbuffer()) - arrays[name].nbytes
    except Exception as error:  # a flipped bit can raise nearly anything out of zipfile and the npy header's parser
        raise RunLogError(f"{type(error).__name__}: {error}") from error
    return arrays, offsets


def _member_start(stream: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Byte where a stored member's data begin: behind its local header (30 bytes, the name, the extra field)."""
    stream.seek(info.header_offset + 26)
    name, extra = struct.unpack("<HH", stream.read(4))
    return info.header_offset + 30 + name + extra
