r"""Text files as numbered lines: any encoding, one line in memory at a time.

Lines end at ``\n``, ``\r\n`` or ``\r`` and nowhere else: U+2028 and its like are part of a text,
and the numbers are those of an editor. Nothing is replaced or left out: a byte that the encoding
does not know is refused by its line.
"""

from __future__ import annotations

import codecs
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, cast

from gatewise.data.files import UTF16_MARKS, open_bytes, require_file
from gatewise.errors import InvalidFileError, InvalidValueError

LONGEST_LINE: Final = 1 << 24
"""Characters of a line that are held at once."""


def read_lines(
    source: str | Path,
    encoding: str = "utf-8",
    *,
    split_long: bool = False,
    longest: int = LONGEST_LINE,
) -> Iterator[tuple[int, str]]:
    """Read a file line by line.

    Args:
        source: The file; unpacked on the way if its name ends in .gz.
        encoding: Its encoding, by the name that Python knows. A byte order mark is removed, and
            that of UTF-16 is heeded where ``utf-8`` is given.
        split_long: Whether a line of more than ``longest`` characters comes in pieces, after
            a space where it has one, with a warning; else it is refused.
        longest: Characters of a line that are held at once, ≥ 1.

    Yields:
        The number of each line, counted from 1, and the line without its end. Pieces of one line
        have the same number.

    Raises:
        InvalidFileError: The file is absent, no text in this encoding, or has a NUL or too long a
            line; names the line.
        InvalidValueError: There is no such encoding.
    """
    path = require_file(source)
    require_encoding(encoding)
    with open_bytes(path) as raw:
        name = _true_encoding(raw, encoding)
        text = io.TextIOWrapper(cast("IO[bytes]", raw), encoding=name, newline=None)
        try:
            yield from _numbered(text, str(path), longest, split_long)
        except UnicodeError as error:
            raise _undecodable(path, name, error) from error


def require_encoding(encoding: str) -> None:
    """Raise InvalidValueError if Python knows no encoding of texts by this name."""
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    except (LookupError, ValueError) as error:
        raise InvalidValueError(
            "encoding", "the name of an encoding, such as 'utf-8', 'latin-1' or 'gb18030'",
            repr(encoding),
        ) from error  # fmt: skip


def _true_encoding(raw: io.BufferedIOBase, encoding: str) -> str:
    """Let a byte order mark have its say where UTF-8 is expected."""
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
        return encoding
    head = cast("io.BufferedReader", raw).peek(2)[:2]
    return "utf-16" if head in UTF16_MARKS else "utf-8-sig"


def _numbered(
    text: io.TextIOWrapper, where: str, longest: int, split_long: bool
) -> Iterator[tuple[int, str]]:
    number, rest = 1, ""
    while line := rest + text.readline(longest + 1 - len(rest)):
        whole = line.endswith("\n")
        rest = ""
        if "\0" in line:
            raise InvalidFileError(
                f"{where}, line {number}", "text", "a NUL, as in binary data",
                "If it is text, name its encoding, such as encoding='utf-16-le'.",
            )  # fmt: skip
        if not whole and len(line) > longest:
            if not split_long:
                raise InvalidFileError(
                    f"{where}, line {number}", f"at most {longest:,} characters", "more",
                    "Part the text into lines.",
                )  # fmt: skip
            line, rest = _cut(line, longest)
            warnings.warn(
                f"{where}, line {number}: more than {longest:,} characters; the line is read in "
                "pieces, as if it were several lines.",
                stacklevel=2,
            )
        yield number, line.removesuffix("\n")
        number += whole


def _cut(line: str, longest: int) -> tuple[str, str]:
    """Part a line after its last space, or where it has none, after ``longest`` characters."""
    end = line.rfind(" ", 0, longest) + 1 or longest
    return line[:end], line[end:]


def _undecodable(path: Path, encoding: str, error: UnicodeError) -> InvalidFileError:
    """Read the file once more, in blocks, to find the line of the first bad byte."""
    expected = f"text in {'UTF-8' if encoding == 'utf-8-sig' else encoding}"
    remedy = "Name the file's encoding, such as encoding='latin-1' or 'gb18030'."
    decoder = codecs.getincrementaldecoder(encoding)()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    line = 1
    with open_bytes(path) as file:
        try:
            while block := file.read(1 << 16):
                line += newlines.decode(decoder.decode(block)).count("\n")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as fault:
            sound = fault.object[: fault.start].decode(encoding, "ignore")
            line += newlines.decode(sound, final=True).count("\n")
            got = f"the byte 0x{fault.object[fault.start]:02x}"
            return InvalidFileError(f"{path}, line {line}", expected, got, remedy)
        except UnicodeError:  # UTF-16 without a mark, and the like
            pass
    return InvalidFileError(str(path), expected, str(error).rstrip("."), remedy)
