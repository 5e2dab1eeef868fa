"""Keras' own files, read without Keras: a zip archive of a JSON text and an HDF5 file.

Nothing in a file is executed, and no other file is opened for it: links out of it, arrays that
another file holds and compression filters, which are loaded as libraries, are refused. Memory is
bounded by what the file has on the disk, not by what it says of itself: a member of the archive
may take a hundred times the bytes that it has there (or a MiB), a text no more than 8 MiB, and all
arrays together what model.weights.h5 has. How it names things was read from
``keras/src/saving/saving_lib.py``.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from gatewise.convert._keras_parts import KINDS, RECURRENT, Described, Store
from gatewise.errors import GatewiseError, InvalidFileError, InvalidStateError

_CONFIG: Final = "config.json"
_METADATA: Final = "metadata.json"
_WEIGHTS: Final = "model.weights.h5"
_TEXT_LIMIT: Final = 1 << 23  # bytes, each of which may become 20 of objects; a layer has 2000
_EXPANSION: Final = 100  # times its size in the archive; Keras does not compress
_EXPANSION_FLOOR: Final = 1 << 20
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED: Final = "The file is damaged, or was written by something else."
_FAULTS: Final = (
    *(OSError, EOFError, LookupError, OverflowError, RuntimeError, TypeError, ValueError),
    *(struct.error, zlib.error, zipfile.BadZipFile),
)
"""What zipfile and h5py raise for files that are none."""


@contextmanager
def open_keras_file(path: Path) -> Iterator[tuple[Any, Store]]:
    """Give the configuration in a ``.keras`` file, and the store of its weights.

    Raises:
        InvalidFileError: The file is missing, damaged, or none of Keras 3.
        InvalidStateError: There is no h5py.
    """
    h5py = _h5py()
    where = str(path)
    if not path.is_file():
        raise InvalidFileError(where, "a file of Keras", "no file")
    try:
        with zipfile.ZipFile(path) as archive:
            size = path.stat().st_size
            metadata = _json(archive, _METADATA, where, size)
            described = _json(archive, _CONFIG, where, size)
            weights = _member(archive, _WEIGHTS, where, size)
    except GatewiseError:
        raise
    except _FAULTS as error:
        raise InvalidFileError(
            where,
            "a .keras file, which is a zip archive",
            f"something else, {error}",
            "The file is damaged, or of another format: model.save('model.keras') writes this one.",
        ) from error
    version = str(metadata.get("keras_version"))
    if version.split(".")[0] != "3":
        remedy = "Load it with the Keras that wrote it, and save it with Keras 3."
        raise InvalidFileError(where, "a file of Keras 3", f"one of {version[:20]}", remedy)
    try:
        opened = h5py.File(io.BytesIO(weights), "r")
    except _FAULTS as error:
        raise InvalidFileError(f"{where}: {_WEIGHTS}", "HDF5", str(error), _DAMAGED) from error
    with opened as root:
        yield described, _FileStore(_Arrays(root, where, len(weights)), ())


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise InvalidStateError(
            "from_keras", "the package h5py", "none", "Run pip install 'gatewise[keras]'."
        ) from error
    return h5py


def _json(archive: zipfile.ZipFile, name: str, where: str, size: int) -> dict[str, Any]:
    text = _member(archive, name, where, size, _TEXT_LIMIT)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"{where}: {name}", "JSON", str(error), _DAMAGED) from error
    if not isinstance(value, dict):
        raise InvalidFileError(f"{where}: {name}", "an object", type(value).__name__, _DAMAGED)
    return value


def _member(
    archive: zipfile.ZipFile, name: str, where: str, size: int, limit: int | None = None
) -> bytes:
    """Return a member of an archive of some size, which must not be much larger than it is there.

    Raises:
        InvalidFileError: There is none, it is larger, or it is compressed by a rare method.
    """
    if name not in archive.namelist():
        held = ", ".join(sorted(archive.namelist())[:9]) or "nothing"
        raise InvalidFileError(where, f"an archive with {name}", f"one with {held}", _DAMAGED)
    about = archive.getinfo(name)
    if about.compress_type not in _METHODS:
        got = f"method {about.compress_type}"
        raise InvalidFileError(f"{where}: {name}", "stored or deflated bytes", got, _DAMAGED)
    # The archive may say anything of its entries.
    most = max(_EXPANSION_FLOOR, _EXPANSION * min(about.compress_size, size))
    most = most if limit is None else min(most, limit)
    if about.file_size > most:
        got = str(about.file_size)
        raise InvalidFileError(f"{where}: {name}", f"at most {most} bytes", got, _DAMAGED)
    return archive.read(name)


class _Arrays:
    """The arrays of an HDF5 file, which together are no larger than the file."""

    def __init__(self, root: Any, where: str, size: int) -> None:
        self._root = root
        self._where = where
        self._left = size

    def read(self, path: Sequence[str]) -> list[Tensor]:
        """Return the arrays 0, 1, … of a group; none where there is no such group."""
        where = f"{self._where}: {_WEIGHTS}: {'/'.join(path)}"
        try:
            group = self._root
            for name in path:
                group = self._child(group, name, where)
                if group is None:
                    return []
            return [self._array(group, str(n), where) for n in range(len(group))]
        except GatewiseError:
            raise
        except (AttributeError, *_FAULTS) as error:
            raise InvalidFileError(where, "arrays", f"something else, {error}", _DAMAGED) from error

    def _child(self, group: Any, name: str, where: str) -> Any:
        """Return what a group holds under a name, which must be in the same file."""
        link = group.get(name, getlink=True)
        if link is None:
            return None
        if type(link).__name__ != "HardLink":
            got = f"a {type(link).__name__} out of it"
            raise InvalidFileError(where, "arrays in this file", got)
        return group[name]

    def _array(self, group: Any, name: str, where: str) -> Tensor:
        array = self._child(group, name, where)
        if array is None:
            raise InvalidFileError(where, f"an array {name}", "none", _DAMAGED)
        if array.is_virtual or array.external:
            raise InvalidFileError(where, "numbers in this file", "numbers of another file")
        if array.id.get_create_plist().get_nfilters():
            remedy = "Save the model with Keras again."
            raise InvalidFileError(where, "arrays as Keras stores them", "compressed ones", remedy)
        wanted = array.size * array.dtype.itemsize
        held = min(array.id.get_storage_size(), self._left)
        if wanted > held:
            got = f"{wanted} bytes where {held} are stored"
            raise InvalidFileError(where, "arrays of the file's size", got, _DAMAGED)
        self._left -= wanted
        if array.dtype.kind == "f" and array.dtype.itemsize in (2, 4, 8):
            value = np.asarray(array[()])
            return torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
        if array.attrs.get("dtype") == "bfloat16" and array.dtype.itemsize == 2:
            bits = np.ascontiguousarray(array[()]).view(np.int16)
            return torch.from_numpy(bits.copy()).view(torch.bfloat16)
        raise InvalidFileError(where, "floating-point numbers", str(array.dtype), _DAMAGED)


class _FileStore:
    """The group of a layer."""

    def __init__(self, arrays: _Arrays, path: tuple[str, ...]) -> None:
        self._arrays = arrays
        self._path = path

    def weights(self, kind: str) -> Sequence[Tensor]:
        """Return the arrays of a layer; a recurrent one has them in its cell."""
        cell = ("cell",) if kind in RECURRENT else ()
        return self._arrays.read((*self._path, *cell, "vars"))

    def trained(self) -> Sequence[bool]:
        """Return nothing: a file says it of layers alone, in their options."""
        return ()

    def direction(self, name: str) -> Store:
        """Return the group of a direction."""
        return _FileStore(self._arrays, (*self._path, name))

    def layers(self, described: Sequence[Described]) -> Sequence[Store]:
        """Return the groups of layers: called by their kinds, and counted from the second on."""
        seen: Counter[str] = Counter()
        stores = []
        for row in described:
            name = KINDS.get(str(row.get("class_name")), "")
            number = f"_{seen[name]}" if seen[name] else ""
            seen[name] += 1
            stores.append(_FileStore(self._arrays, (*self._path, "layers", name + number)))
        return stores
