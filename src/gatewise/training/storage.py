"""Files and directories that are written whole or not at all, and read back with clear errors.

New content goes to a temporary name in the same directory, reaches the disk, and only then takes
the final name: a kill, a crash or a full disk at any moment leaves the former content in place.
Tensors are safetensors files that carry a checksum; everything else is JSON. Nothing is a pickle.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from gatewise.errors import InvalidFileError

_CHECKSUM = "checksum"


def atomic_write_json(path: Path, obj: object) -> None:
    """Write ``obj`` as JSON, whole or not at all.

    Args:
        path: The file; a former one is replaced in one step.
        obj: What ``json`` can hold. Non-finite floats become ``NaN`` and ``Infinity``.

    Raises:
        InvalidFileError: The file cannot be written; a former one is untouched.
    """
    _atomic_write(path, json.dumps(obj, indent=2).encode() + b"\n")


def atomic_write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors as a safetensors file with a checksum, whole or not at all.

    Args:
        path: The file; a former one is replaced in one step.
        tensors: Tensors of any shape and device; those that share memory are written apart.
        metadata: Texts to keep with them, under any key but ``checksum``.

    Raises:
        InvalidFileError: The file cannot be written; a former one is untouched.
    """
    # clone: safetensors refuses tensors that share memory, as tied weights do.
    held = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    texts = dict(metadata or {})
    texts[_CHECKSUM] = _checksum(held, texts)
    _atomic_write(path, safetensors.torch.save(held, texts))


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        InvalidFileError: The file is missing, unreadable, or no JSON.
    """
    with _reading(path):
        content = Path(path).read_bytes()
    try:
        return json.loads(content)
    except ValueError as error:  # bad JSON and bad UTF-8 alike
        raise InvalidFileError(
            str(path),
            "a whole JSON file",
            f"{len(content)} bytes that are not ({error})",
            "Restore the file from a copy, or delete it and make it anew.",
        ) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors (on the CPU) and the metadata of a safetensors file.

    Raises:
        InvalidFileError: The file is missing, unreadable, truncated or altered.
    """
    with _reading(path):
        content = Path(path).read_bytes()
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (safetensors.SafetensorError, ValueError) as error:
        raise _damaged(path, f"{len(content)} bytes that are not ({error})") from error
    metadata: dict[str, str] = header.get("__metadata__", {})
    checksum = metadata.pop(_CHECKSUM, None)
    # Files of other programs carry no checksum and are taken as they are.
    if checksum is not None and checksum != _checksum(tensors, metadata):
        raise _damaged(path, "content that does not match its own checksum")
    return tensors, metadata


def replace_directory(final: Path, write: Callable[[Path], None]) -> None:
    """Write a whole directory, then put it in the place of a former one.

    The former directory is renamed aside, the new one renamed in, and what the former one held
    beyond the new one (a user's own files) is moved over before the rest of it is deleted.
    After a kill between those steps the next call finishes the work.

    Args:
        final: The directory to make or replace; its parents are made.
        write: Fills the empty directory that it is given.

    Raises:
        InvalidFileError: It cannot be written; a former directory is untouched.
    """
    final = Path(os.path.realpath(final))  # a link to a directory stays a link
    fresh, aside = _temporary(final, "tmp"), _temporary(final, "old")
    try:
        with _writing(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            _sweep(final)
            fresh.mkdir()
            write(fresh)
            _sync_tree(fresh)
            if final.exists():
                final.rename(aside)
            try:
                fresh.rename(final)
            except OSError:
                if aside.exists():
                    aside.rename(final)
                raise
            _sync(final.parent)
            if aside.exists():
                _retire(aside, final)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _atomic_write(path: Path, content: bytes) -> None:
    """Write bytes under a temporary name, sync, rename, sync the directory."""
    path = Path(os.path.realpath(path))
    temporary = _temporary(path, "tmp")
    try:
        with _writing(path, f"{len(content):,} bytes of room and leave to write"):
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(path)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """CRC-32 over names, types, shapes, values and texts: finds damage, not malice."""
    crc = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        # bytes: NumPy has no bfloat16
        values = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
        crc = zlib.crc32(values.data, crc)
    for key in sorted(metadata):
        crc = zlib.crc32(f"{key} {metadata[key]}".encode(), crc)
    return f"{crc:08x}"


@contextmanager
def _writing(path: Path, expected: str = "room and leave to write") -> Iterator[None]:
    """Turn the operating system's errors into one that names the file and the remedy."""
    try:
        yield
    except InvalidFileError:
        raise
    except OSError as error:
        raise InvalidFileError(
            str(path),
            expected,
            f"'{error.strerror or error}'",
            "What was there before is untouched: free some space or choose another place, "
            "then try again.",
        ) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into one that names the file and the remedy."""
    try:
        yield
    except OSError as error:
        directory = Path(os.path.realpath(path)).parent
        kept = (
            [] if directory.exists() else sorted(directory.parent.glob(f".{directory.name}.*.old"))
        )
        remedy = (
            f"The former directory is kept as '{kept[-1]}': rename it to '{directory.name}'."
            if kept
            else "Check the path."
        )
        raise InvalidFileError(
            str(path), "a readable file", f"'{error.strerror or error}'", remedy
        ) from error


def _damaged(path: Path, got: str) -> InvalidFileError:
    """The error for a safetensors file that is not what was written."""
    remedy = "Restore the file from a copy, or delete it and make it anew."
    return InvalidFileError(str(path), "a whole safetensors file", got, remedy)


def _temporary(path: Path, ending: str) -> Path:
    """A name beside ``path`` that tells which process it belongs to."""
    return path.with_name(f".{path.name}.{os.getpid()}.{ending}")


def _sweep(path: Path) -> None:
    """Finish or remove what killed processes have left beside ``path``."""
    for aside in _left_over(path, "old"):
        if path.exists():
            _retire(aside, path)
        else:
            aside.rename(path)
    for temporary in _left_over(path, "tmp"):
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def _left_over(path: Path, ending: str) -> list[Path]:
    """Temporaries of ``path`` whose process is gone, or whose number is now ours."""
    found = []
    for entry in path.parent.iterdir():
        if entry.name.startswith(f".{path.name}.") and entry.name.endswith(f".{ending}"):
            pid = entry.name[len(path.name) + 2 : -len(ending) - 1]
            if pid.isdecimal() and (int(pid) == os.getpid() or not _alive(int(pid))):
                found.append(entry)
    return found


def _alive(pid: int) -> bool:
    """Whether a process of this number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True


def _retire(aside: Path, final: Path) -> None:
    """Move what only the former directory holds into the new one, then delete the former."""
    for entry in aside.iterdir():
        if not os.path.lexists(final / entry.name):
            entry.rename(final / entry.name)
    shutil.rmtree(aside)


def _sync_tree(directory: Path) -> None:
    """Bring every file and directory under ``directory`` to the disk."""
    for root, _, names in os.walk(directory):
        for name in names:
            _sync(Path(root, name))
        _sync(Path(root))


def _sync(path: Path) -> None:
    """Bring one file or directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
