"""A file to read: that it is there, unpacked where it is gzipped, and what mark it begins with.

What stands in it is the business of the readers: ``reading`` for tables, ``text`` for texts.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gatewise.errors import InvalidFileError

UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def require_file(source: str | Path) -> Path:
    """Return the path of a file that is there.

    Args:
        source: A path; ``~`` is the home directory.

    Returns:
        The path.

    Raises:
        InvalidFileError: It is absent, forbidden, or a directory.
    """
    path = Path(source).expanduser()
    try:
        path.stat()
    except (OSError, ValueError) as error:  # absent, forbidden, or no path at all
        got = getattr(error, "strerror", None) or str(error)
        raise InvalidFileError(str(path), "a file", got, "Check the path.") from error
    if path.is_dir():
        raise InvalidFileError(str(path), "a file", "a directory", "Give one file in it.")
    return path


@contextmanager
def open_bytes(path: Path) -> Iterator[io.BufferedIOBase]:
    """Open a file as a stream of bytes, unpacked on the way if its name ends in .gz.

    Args:
        path: The file.

    Yields:
        The stream; faults of reading inside the block are turned into ours.

    Raises:
        InvalidFileError: It cannot be read, or is no whole gzip file.
    """
    packed = path.suffix.lower() == ".gz"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            yield file
    except InvalidFileError:
        raise
    except (OSError, EOFError, zlib.error) as error:
        kind = "a whole gzip file" if packed else "a readable file"
        raise InvalidFileError(str(path), kind, str(error), "Fetch the file again.") from error
