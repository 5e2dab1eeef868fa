"""Lines of text files: every encoding and line end, faults with their line, long lines."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewise.data.text.lines import read_lines
from gatewise.errors import InvalidFileError, InvalidValueError

Write = Callable[..., Path]
UNICODE = (
    "cafe\u0301 café\n北京大学 👨\u200d👩\u200d👧 🇫🇷\nשלום עולם\na\u2028b\u0085c\x0bd\x0ce\n\nend"  # noqa: RUF001
)
EXPECTED = list(enumerate(UNICODE.split("\n"), 1))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_encoding_and_line_end_gives_the_same_lines(
    encoding: str, end: str, write: Write
) -> None:
    path = write(UNICODE.replace("\n", end).encode(encoding), "a.txt")
    assert list(read_lines(path, encoding)) == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_heeded(encoding: str, write: Write) -> None:
    assert list(read_lines(write(UNICODE.encode(encoding), "a.txt"))) == EXPECTED


def test_other_encodings_are_named(write: Write) -> None:
    path = write("déjà\nvu".encode("latin-1"), "a.txt")
    assert list(read_lines(path, "latin-1")) == [(1, "déjà"), (2, "vu")]


def test_gzip_is_unpacked_on_the_way(write: Write) -> None:
    path = write(gzip.compress(UNICODE.encode()), "a.txt.gz")
    assert list(read_lines(path)) == EXPECTED


def test_empty_files_and_lines(write: Write) -> None:
    assert list(read_lines(write("", "a.txt"))) == []
    assert list(read_lines(write("\n\nx\n", "a.txt"))) == [(1, ""), (2, ""), (3, "x")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    lines=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=12), max_size=8
    ),
    encoding=st.sampled_from(["utf-8", "utf-16", "gb18030"]),
)
def test_lines_written_come_back(lines: list[str], encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    # A mark of one's own, so that one in the text is not taken for it.
    mark = "\ufeff" if encoding == "utf-8" else ""
    path.write_bytes((mark + "".join(f"{line}\n" for line in lines)).encode(encoding))
    assert [line for _, line in read_lines(path, encoding)] == lines


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (b"a\nb\nc\xe9d\n", "utf-8", r"a\.txt, line 3: expected text in UTF-8, got the byte 0xe9"),
        (b"a\r\nb\rc\xff", "utf-8", r"line 3: .* 0xff"),
        (b"\r\n" * 40_000 + b"\xff", "utf-8", r"line 40001: "),
        ("北京\n".encode() + "北京".encode("gb18030"), "utf-8", r"line 2: .*'gb18030'"),
        ("北京\n".encode("gb18030") + b"\xff", "gb18030", r"line 2: expected text in gb18030"),
        (b"a\xed\xa0\x80", "utf-8", r"line 1: .* 0xed"),  # half of a surrogate pair
        (b"a\n\xe4\xb8", "utf-8", r"line 2: "),  # cut within a character
        (b"a\nb\0c\n", "utf-8", r"line 2: expected text, got a NUL"),
        ("ab\n".encode("utf-16-le"), "utf-8", r"line 1: .*encoding='utf-16-le'"),
        ("ab\n".encode("utf-16-le"), "utf-16", r"a\.txt: expected text in utf-16, got .*BOM"),
    ],
    ids=range(10),
)
def test_faults_are_named_by_their_line(
    content: bytes, encoding: str, message: str, write: Write
) -> None:
    with pytest.raises(InvalidFileError, match=message):
        list(read_lines(write(content, "a.txt"), encoding))


@pytest.mark.parametrize("encoding", ["nothing", "rot13", "a\0b"])
def test_unknown_encodings_are_refused(encoding: str, write: Write) -> None:
    with pytest.raises(InvalidValueError, match="encoding: expected the name of an encoding"):
        list(read_lines(write("a", "a.txt"), encoding))


def test_damaged_and_absent_files_are_named(write: Write, tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match=r"a\.gz: expected a whole gzip file"):
        list(read_lines(write(gzip.compress(b"a\nb\n" * 999, mtime=0)[:-9], "a.gz")))
    with pytest.raises(InvalidFileError, match=r"b\.txt: expected a file, got .*No such file"):
        list(read_lines(tmp_path / "b.txt"))
    with pytest.raises(InvalidFileError, match="a directory"):
        list(read_lines(tmp_path))


def test_long_lines_come_in_pieces_with_a_warning(write: Write) -> None:
    path = write("aaa bbb ccc\nd\n北京大学城", "a.txt")
    with pytest.warns(UserWarning, match=r"a\.txt, line [13]: more than 4 characters"):
        pieces = list(read_lines(path, split_long=True, longest=4))
    assert pieces == [(1, "aaa "), (1, "bbb "), (1, "ccc"), (2, "d"), (3, "北京大学"), (3, "城")]
    assert next(read_lines(path, longest=11)) == (1, "aaa bbb ccc")


def test_long_lines_are_refused_where_pieces_make_no_sense(write: Write) -> None:
    with pytest.raises(InvalidFileError, match="line 2: expected at most 4 characters, got more"):
        list(read_lines(write("aaaa\nbbbbb\n", "a.txt"), longest=4))
