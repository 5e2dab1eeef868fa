"""Files of word vectors: word2vec (text and binary), GloVe and fastText's .vec.

gensim reads them; it is an extra. What it does not do is done here: the lines of a text file are
checked first, since gensim names none, and of a file that is larger than memory only the wanted
words are handed on. Models that can make vectors for unseen words (fastText's .bin) are not read.
"""

from __future__ import annotations

import io
import tempfile
import zlib
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from gatewise.data.files import open_bytes, require_file
from gatewise.data.text.lines import require_encoding
from gatewise.data.text.vectors import WordVectors, require_gensim
from gatewise.errors import InvalidFileError, InvalidValueError

_REMEDY: Final = "Fetch the file again, or give its true format."
_HEADER: Final = b"%20d %20d\n"


def read_vectors(
    source: str | Path,
    words: Container[str] | None = None,
    *,
    limit: int | None = None,
    encoding: str = "utf-8",
) -> WordVectors:
    """Read word vectors; which of the formats it is, the file itself tells.

    Args:
        source: A file of word2vec (text or binary), GloVe or fastText (.vec); .gz too.
        words: The words to keep, such as a vocabulary's in any case; None: all. Of a text file no
            others are ever in memory. Words with a space in them are never kept.
        limit: How many to read from the beginning, where the frequent words are; None: all.
        encoding: Of the words.

    Returns:
        The words and vectors, in the order of the file; of a word given twice, the first.

    Raises:
        InvalidFileError: The file is absent, damaged or of another format; names the line.
        InvalidStateError: gensim is not installed.
        InvalidValueError: None of ``words`` is in it.
    """
    path = require_file(source)
    require_encoding(encoding)
    with open_bytes(path) as file:
        header, binary = _kind(file.read(1 << 16))
    if binary:
        read = _read_binary(path, limit, encoding)
    else:
        read = _read_text(path, words, limit, encoding, header)
    kept = [k for k, word in enumerate(read.words) if words is None or word in words]
    if not kept:
        raise InvalidValueError(
            str(path), "vectors of the words asked for", "none", "Check its language, and its case."
        )
    vectors = WordVectors(tuple(read.words[k] for k in kept), read.matrix[kept])
    if not np.isfinite(vectors.matrix).all():
        word = vectors.words[int(np.flatnonzero(~np.isfinite(vectors.matrix).all(1))[0])]
        raise InvalidFileError(str(path), "finite numbers", f"others for {word!r}", _REMEDY)
    return vectors


def _kind(head: bytes) -> tuple[tuple[int, int] | None, bool]:
    """Tell from its first bytes what a file says of its size, and whether it is binary."""
    line, _, rest = head.partition(b"\n")
    fields = line.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        return None, False
    # Among the bytes of a few float32 there are some that no text has.
    binary = any(byte < 9 for byte in rest)
    return (int(fields[0]), int(fields[1])), binary


def _read_binary(path: Path, limit: int | None, encoding: str) -> WordVectors:
    try:
        return _by_gensim(path, limit=limit, binary=True, encoding=encoding)
    except (OSError, EOFError, ValueError, AssertionError, zlib.error) as error:
        raise InvalidFileError(
            str(path), "a whole binary file of word2vec", str(error) or "another", _REMEDY
        ) from error


def _read_text(
    path: Path,
    words: Container[str] | None,
    limit: int | None,
    encoding: str,
    header: tuple[int, int] | None,
) -> WordVectors:
    """Let gensim read the lines of the wanted words, after a check of every line."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        with wanted.open("wb") as copy:
            # A header of fixed width, filled in at the end: without one gensim leaves a file open.
            copy.write(_HEADER % (0, 0))
            numbers, width = _copy_wanted(path, copy, words, limit, encoding, header)
            copy.seek(0)
            copy.write(_HEADER % (len(numbers), width))
        if not numbers:
            return WordVectors((), np.zeros((0, 0), dtype=np.float32))
        try:
            return _by_gensim(wanted, encoding=encoding)
        except ValueError as error:
            with wanted.open("rb") as copy:
                next(copy)
                line = next(
                    number
                    for number, row in zip(numbers, copy, strict=True)
                    if not _is_numeric(row.split()[1:])
                )
            raise InvalidFileError(
                f"{path}, line {line}", "a word and numbers", str(error), _REMEDY
            ) from error


def _copy_wanted(
    path: Path,
    copy: io.BufferedIOBase,
    words: Container[str] | None,
    limit: int | None,
    encoding: str,
    header: tuple[int, int] | None,
) -> tuple[list[int], int]:
    """Check every line, copy those of the wanted words; return their numbers and the width."""
    kept: list[int] = []
    width = 0 if header is None else header[1]
    seen = 0
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            if number == 1 and header is not None:
                continue
            if seen == limit:
                return kept, width
            row = line.rstrip(b" \r\n")
            width = width or row.count(b" ")
            word = _word(row, width, f"{path}, line {number}", encoding)
            seen += 1
            if word is not None and (words is None or word in words):
                copy.write(row + b"\n")
                kept.append(number)
    if header is not None and seen != header[0]:
        raise InvalidFileError(
            str(path), f"{header[0]:,} vectors, as line 1 says", f"{seen:,}", _REMEDY
        )
    return kept, width


def _word(row: bytes, width: int, where: str, encoding: str) -> str | None:
    """Return the word of a row after a count of its numbers; None if it has a space in it."""
    spaces = row.count(b" ")
    if spaces < max(width, 1):
        got = f"{spaces} numbers: {row[:60]!r}"
        raise InvalidFileError(where, f"a word and {max(width, 1)} numbers", got, _REMEDY)
    if spaces > width:
        # GloVe's largest file has a few words with spaces: the numbers must still be numbers.
        if not _is_numeric(row.rsplit(b" ", width)[1:]):
            raise InvalidFileError(where, f"a word and {width} numbers", f"{row[:60]!r}", _REMEDY)
        if _is_numeric(row.split(b" ")[1:]):
            raise InvalidFileError(
                where, f"a word and {width} numbers", f"{spaces} numbers", _REMEDY
            )
        return None
    try:
        return row.partition(b" ")[0].decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidFileError(
            where, f"a word in {encoding}", f"{row[:60]!r}", "Name the encoding of the words."
        ) from error


def _is_numeric(fields: Sequence[bytes]) -> bool:
    """Whether all fields are numbers."""
    try:
        np.array(fields, dtype=np.float32)
    except ValueError:
        return False
    return True


def _by_gensim(path: Path, **options: Any) -> WordVectors:
    models = require_gensim("read_vectors")
    # An absolute path: gensim would take another for an address on some network.
    read = models.KeyedVectors.load_word2vec_format(str(path.absolute()), **options)
    # For each word that was given twice gensim has a place too many at the end.
    words = tuple(word for word in read.index_to_key if word is not None)
    return WordVectors(words, read.vectors[: len(words)])
