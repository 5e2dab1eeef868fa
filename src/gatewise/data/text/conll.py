"""Tagged sentences: CoNLL's columns, CoNLL-U, and JSON Lines.

A CoNLL file has a token a line, columns parted by tabs or spaces, and a blank line after each
sentence; nothing is a comment, since ``#`` is a token like others. A CoNLL-U file has ten columns
by name, comments, words that span several tokens and words that are not written: the last two are
no tokens and are passed over, as the format's definition says of its syntactic words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from gatewise.data.places import listed
from gatewise.data.text.jsonl import read_jsonl
from gatewise.data.text.lines import read_lines
from gatewise.data.text.records import Place, Tagged, tagged
from gatewise.errors import InvalidFileError, InvalidValueError

TaggedLayout = Literal["auto", "conll", "conllu", "jsonl"]

CONLLU_COLUMNS: Final = (
    "id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc",
)  # fmt: skip
_BLANKS: Final = re.compile(r"[ \t]+")
_WORD: Final = re.compile(r"[1-9]\d*")
_SPAN_OR_EMPTY: Final = re.compile(r"\d+[-.]\d+")


def read_tagged(
    source: str | Path,
    *,
    layout: TaggedLayout = "auto",
    token: int | str | None = None,
    tag: int | str | None = None,
    tags: bool = True,
    encoding: str = "utf-8",
) -> Iterator[Tagged]:
    """Read sentences of tokens with their tags, one at a time.

    Args:
        source: The file (.gz too).
        layout: ``conll``, ``conllu`` or ``jsonl``; ``auto``: by the ending, ``conll`` for endings
            that say nothing.
        token: Column of the tokens: for ``conll`` its number from 0 or, from the end, from -1; for
            ``conllu`` one of ``CONLLU_COLUMNS``; for ``jsonl`` the field. None: the first,
            ``form``, ``tokens``.
        tag: Column of the tags, likewise. None: the last, ``upos``, ``tags``.
        tags: Whether tags are read; without, a file need not have any.
        encoding: Of the file.

    Yields:
        Each sentence.

    Raises:
        InvalidFileError: The file is absent or damaged, holds no sentence, or a line is not what
            the format demands; names the line.
        InvalidValueError: There is no such column or field.
    """
    layout = _layout_of(source, layout)
    sentences: Iterator[Tagged]
    if layout == "jsonl":
        sentences = _jsonl(source, token, tag, tags, encoding)
    elif layout == "conllu":
        columns = [_conllu_column("token", token, "form")]
        columns += [_conllu_column("tag", tag, "upos")] if tags else []
        sentences = _sentences(source, _conllu_rows(source, encoding), columns)
    else:
        columns = [_number("token", token, 0)] + ([_number("tag", tag, -1)] if tags else [])
        sentences = _sentences(source, _conll_rows(source, encoding), columns)
    count = 0
    for count, sentence in enumerate(sentences, 1):  # noqa: B007 - counted
        yield sentence
    if not count:
        raise InvalidFileError(
            str(source), "at least one sentence", "none", "Check that it is the right file."
        )


def _layout_of(source: str | Path, layout: TaggedLayout) -> TaggedLayout:
    if layout != "auto":
        return layout
    name = Path(source).name.lower().removesuffix(".gz")
    endings: dict[str, TaggedLayout] = {
        ".conllu": "conllu",
        ".jsonl": "jsonl",
        ".ndjson": "jsonl",
    }
    return endings.get(Path(name).suffix, "conll")


def _number(option: str, column: int | str | None, default: int) -> int:
    if isinstance(column, str):
        raise InvalidValueError(option, "the number of a column, counted from 0", repr(column))
    return default if column is None else column


def _conllu_column(option: str, column: int | str | None, default: str) -> int:
    column = default if column is None else column
    if column not in CONLLU_COLUMNS:
        raise InvalidValueError(option, f"one of {listed(CONLLU_COLUMNS)}", repr(column))
    return CONLLU_COLUMNS.index(str(column))


Rows = Iterator[tuple[int, list[str]]]
"""Line and cells of each token; no cells where a sentence ends."""


def _sentences(source: str | Path, rows: Rows, columns: Sequence[int]) -> Iterator[Tagged]:
    """Gather the tokens up to each end of a sentence."""
    lines: list[int] = []
    picked: list[list[str]] = []
    for number, cells in rows:
        if cells:
            lines.append(number)
            picked.append(_pick(cells, columns, Place(str(source), "line", number)))
        elif lines:
            yield _sentence(source, lines, picked)
            lines, picked = [], []
    if lines:
        yield _sentence(source, lines, picked)


def _sentence(source: str | Path, lines: list[int], picked: list[list[str]]) -> Tagged:
    tokens, *tags = zip(*picked, strict=True)
    place = Place(str(source), "line", lines[0])
    return Tagged(tokens, tags[0] if tags else (), place, tuple(lines))


def _pick(cells: list[str], columns: Sequence[int], place: Place) -> list[str]:
    if any(not -len(cells) <= column < len(cells) for column in columns):
        raise InvalidFileError(
            str(place),
            f"the column(s) {listed([str(c) for c in columns])}",
            f"{len(cells)} columns",
        )
    picked = [cells[column] for column in columns]
    if "" in picked:
        what = ("token", "tag")[picked.index("")]
        raise InvalidFileError(str(place), f"a {what}", "an empty cell", "Correct the line.")
    return picked


def _conll_rows(source: str | Path, encoding: str) -> Rows:
    """Part lines at tabs, or where the first has none, at blanks; -DOCSTART- ends a sentence."""
    width, tabs = 0, False
    for number, line in read_lines(source, encoding):
        if not line.strip(" \t") or line.startswith("-DOCSTART-"):
            yield number, []
            continue
        if not width:
            tabs = "\t" in line
        cells = line.split("\t") if tabs else _BLANKS.split(line.strip(" \t"))
        width = width or len(cells)
        if len(cells) != width:
            raise InvalidFileError(
                f"{source}, line {number}", f"{width} columns, as above",
                f"{len(cells)}: {line!r:.60}",
                "Correct the line; sentences end with a blank line.",
            )  # fmt: skip
        yield number, cells


def _conllu_rows(source: str | Path, encoding: str) -> Rows:
    """Part lines at tabs, check that words are numbered, and leave out what is no word."""
    words = 0
    for number, line in read_lines(source, encoding):
        if not line.strip():
            words = 0
            yield number, []
            continue
        if line.startswith("#"):
            continue
        cells = line.split("\t")
        where = f"{source}, line {number}"
        if len(cells) != len(CONLLU_COLUMNS):
            raise InvalidFileError(
                where, f"{len(CONLLU_COLUMNS)} columns with tabs between them",
                f"{len(cells)}: {line!r:.60}",
                "Correct the line, or read the file with layout='conll'.",
            )  # fmt: skip
        if _SPAN_OR_EMPTY.fullmatch(cells[0]):
            continue
        words += 1
        if not _WORD.fullmatch(cells[0]) or int(cells[0]) != words:
            raise InvalidFileError(
                where, f"the word {words} of the sentence", repr(cells[0]),
                "Number the words, and end sentences with a blank line.",
            )  # fmt: skip
        yield number, cells


def _jsonl(source: str | Path, token: Any, tag: Any, tags: bool, encoding: str) -> Iterator[Tagged]:
    """Read an object a line with a list of tokens and one of tags."""
    names = ["tokens" if token is None else token]
    names += ["tags" if tag is None else tag] if tags else []
    for fields, place in read_jsonl(source, encoding, names):
        yield tagged(fields[names[0]], fields[names[1]] if tags else None, place)
