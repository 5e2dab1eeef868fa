"""A text as one long row of token numbers on disk, for corpora that are larger than memory.

The file is NumPy's .npy of int32. It is written once, a text in memory at a time, and then mapped:
the system keeps in memory what is read at the moment.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from gatewise.data.text.records import Text
from gatewise.data.text.tokenizing import Tokenizer
from gatewise.data.text.vocabulary import Vocabulary
from gatewise.errors import InvalidFileError, InvalidStateError

_BLOCK = 1 << 20


def token_numbers(
    texts: Iterable[Text], tokenizer: Tokenizer, vocabulary: Vocabulary, end: str | None
) -> Iterator[Int32[np.ndarray, "_"]]:
    """Turn texts into numbers, one at a time.

    Args:
        texts: The texts, in order.
        tokenizer: Parts them.
        vocabulary: Numbers the tokens.
        end: The token after each text, such as ``<eos>`` or a line end; None: none.

    Yields:
        The numbers of each text.

    Raises:
        InvalidValueError: A token is not in a vocabulary without unknown; names the place.
    """
    after = [] if end is None else [end]
    for text in texts:
        place = text.place
        yield vocabulary.encode(tokenizer.split(text.text) + after, lambda _, at=place: at)


def write_tokens(path: Path, rows: Iterable[Int32[np.ndarray, "_"]]) -> int:
    """Write numbers one after another into a file that is whole or not there.

    Args:
        path: The file to write, by custom ending in .npy.
        rows: The numbers, in any portions; one portion is in memory at a time.

    Returns:
        How many there are.

    Raises:
        InvalidFileError: There is none, or the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            # NumPy leaves room in the header for a length that is known only later.
            np.lib.format.write_array_header_1_0(file, _header(0))
            count = 0
            for row in rows:
                file.write(row.astype("<i4", copy=False).tobytes())
                count += len(row)
            file.seek(0)
            np.lib.format.write_array_header_1_0(file, _header(count))
            file.flush()
            os.fsync(file.fileno())
        if not count:
            raise InvalidFileError(str(path), "at least one token", "none", "Give a text.")
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, InvalidFileError):
            raise
        raise InvalidFileError(
            str(path), "room and leave to write", f"'{error.strerror or error}'",
            "Free some space or choose another place, then try again.",
        ) from error  # fmt: skip
    finally:
        temporary.unlink(missing_ok=True)
    return count


def open_tokens(path: Path, vocabulary: Vocabulary) -> Int32[np.ndarray, "N"]:
    """Map the numbers of a file, which stays on disk.

    Args:
        path: What ``write_tokens`` wrote.
        vocabulary: The vocabulary that it was written with.

    Returns:
        The N numbers, to read only.

    Raises:
        InvalidFileError: It is no such file, or cut off.
        InvalidStateError: It holds numbers that the vocabulary has not.
    """
    try:
        numbers = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidFileError(
            str(path), "a file of token numbers", str(error).splitlines()[0], "Write it anew."
        ) from error
    if numbers.dtype != np.int32 or numbers.ndim != 1:
        got = f"{numbers.dtype} of the shape {numbers.shape}"
        raise InvalidFileError(str(path), "a row of int32", got, "Write it anew.")
    for start in range(0, len(numbers), _BLOCK):
        block = numbers[start : start + _BLOCK]
        if int(block.min()) < 0 or int(block.max()) >= len(vocabulary):
            raise InvalidStateError(
                str(path), f"numbers of the {len(vocabulary):,} tokens of its vocabulary",
                f"{block.min()} to {block.max()}", "Write it anew with this vocabulary.",
            )  # fmt: skip
    return numbers


def _header(count: int) -> dict[str, object]:
    return {"descr": "<i4", "fortran_order": False, "shape": (count,)}
