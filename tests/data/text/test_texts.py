"""Texts with labels: every layout gives the same records, every fault is named by its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from gatewise.data import read_frame
from gatewise.data.text import Place, Text, as_texts, read_texts
from gatewise.errors import GatewiseError, InvalidFileError, InvalidTypeError, InvalidValueError

Write = Callable[..., Path]
TEXTS = ["good, really", 'he said "no"', "很好 👍🏽", "None"]
LABELS = ["pos", "neg", "pos", "007"]
FRAME = pd.DataFrame({"n": range(4), "text": TEXTS, "label": LABELS})


def contents(texts: Any) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.text, one.labels) for one in texts]


def lines(texts: Any) -> list[int]:
    return [one.place.number for one in texts]


WANTED = [(text, (label,)) for text, label in zip(TEXTS, LABELS, strict=True)]


@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv", "a.csv.gz", "a.parquet", "a.feather", "a.jsonl"]
)
def test_every_table_gives_the_same_texts(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        FRAME.to_parquet(path)
    elif name.endswith("feather"):
        FRAME.to_feather(path)
    elif name.endswith("jsonl"):
        FRAME.to_json(path, orient="records", lines=True)
    else:
        FRAME.to_csv(path, index=False, sep="\t" if ".tsv" in name else ",")
    texts = list(read_texts(path, label="label"))
    assert contents(texts) == WANTED
    first = {"a.parquet": 0, "a.feather": 0, "a.jsonl": 1}.get(name, 2)
    assert lines(texts) == list(range(first, first + 4))
    assert contents(read_texts(path)) == [(text, ()) for text in TEXTS]


def test_frames_give_the_same_texts(tmp_path: Path) -> None:
    for frame in (FRAME, pl.from_pandas(FRAME)):
        texts = list(read_texts(frame, label="label"))
        assert contents(texts) == WANTED
        assert str(texts[3].place) == "the frame, row 3"
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    read = read_frame(tmp_path / "a.csv")
    assert [str(one.place) for one in read_texts(read[read["n"] > 1].dropna(), text="text")] == [
        "a.csv, line 4"
    ]


def test_lines_with_and_without_labels(write: Write) -> None:
    plain = write("one\n\n two \n", "a.txt")
    assert contents(read_texts(plain)) == [("one", ()), (" two ", ())]
    assert contents(read_texts(plain, keep_blank=True)) == [("one", ()), ("", ()), (" two ", ())]
    assert lines(read_texts(plain)) == [1, 3]
    first = write("NUM:dist How far ?\n\nLOC:city Where: here\n", "a.label")
    assert contents(read_texts(first, layout="label-first", cut_label=":")) == [
        ("How far ?", ("NUM",)), ("Where: here", ("LOC",)),
    ]  # fmt: skip
    last = write('"quoted, and not\tpos\nso "so\tneg\n', "a.tsv")
    assert contents(read_texts(last, layout="label-last", separator="\t")) == [
        ('"quoted, and not', ("pos",)), ('so "so', ("neg",)),
    ]  # fmt: skip
    poems = write("春曉:春眠不覺曉：處處\n", "a.poems")  # noqa: RUF001
    assert contents(read_texts(poems, layout="label-first", separator=":")) == [
        ("春眠不覺曉：處處", ("春曉",))  # noqa: RUF001
    ]


def test_several_labels(write: Write) -> None:
    table = write("text,tags\na,x|y\nb,y\n", "a.csv")
    assert contents(read_texts(table, label="tags", label_separator="|")) == [
        ("a", ("x", "y")), ("b", ("y",)),
    ]  # fmt: skip
    objects = write('{"text": "a", "tags": ["x", "y"]}\n\n{"text": "b", "tags": 3}\n', "a.jsonl")
    assert contents(read_texts(objects, label="tags")) == [("a", ("x", "y")), ("b", ("3",))]


def test_cells_that_span_lines_keep_later_lines_right(write: Write) -> None:
    path = write('\ntext,label\n"a\r\nb",x\n\n"c ""d""",y\n', "a.csv")
    texts = list(read_texts(path, label="label"))
    assert contents(texts) == [("a\nb", ("x",)), ('c "d"', ("y",))]
    assert lines(texts) == [3, 6]


def test_quotes_can_be_characters(write: Write) -> None:
    path = write('text\tlabel\n"a\tx\nb"\ty\n', "a.tsv")
    assert contents(read_texts(path, label="label", quotes=False)) == [
        ('"a', ("x",)),
        ('b"', ("y",)),
    ]


def test_one_column_needs_no_name_and_encodings_are_named(write: Write) -> None:
    path = write("Frage\nWo?\n\nÜber was, und wen?\n".replace(",", "").encode("latin-1"), "a.csv")
    assert [one.text for one in read_texts(path, encoding="latin-1")] == [
        "Wo?",
        "Über was und wen?",
    ]


@pytest.mark.parametrize(
    ("content", "name", "options", "message"),
    [
        ("", "a.txt", {}, r"a\.txt: expected at least one text, got none"),
        ("\n \n", "a.txt", {}, r"a\.txt: expected at least one text"),
        ("", "a.csv", {}, r"a\.csv: expected a header line and rows, got an empty file"),
        ("text,label\n", "a.csv", {}, "expected at least one text"),
        ("a,b\n1,2\n", "a.csv", {}, "line 1: expected a column 'text', got the columns 'a'"),
        ("txt,b\n1,2\n", "a.csv", {"text": "text"}, "line 1: .*Did you mean 'txt'"),
        ("a,a\n1,2\n", "a.csv", {"text": "a"}, "line 1: expected each column name once"),
        ("text,y\na,b\n\nc\n", "a.csv", {}, r"a\.csv, line 4: expected 2 cell\(s\), .* got 1"),
        ("text\na\nb, c\n", "a.csv", {}, r"line 3: expected 1 cell\(s\)"),
        ('text,y\na,b\n"c,d\ne\n', "a.csv", {}, "line 3: expected a row of cells.*quotes=False"),
        ("text,y\na,b\n ,c\n", "a.csv", {}, "line 3: expected a text, got a blank"),
        ("text,y\na,b\nb,\n", "a.csv", {"label": "y"}, "line 3: expected a label, got none"),
        (b"text,y\na,b\n\xe9,c\n", "a.csv", {}, "line 3: expected text in UTF-8"),
        ("[1]\n", "a.jsonl", {}, "line 1: expected a JSON object"),
        ('{"text": "a"}\n{"text"\n', "a.jsonl", {}, "line 2: expected a JSON object, got"),
        ("[" * 100_000, "a.jsonl", {}, "line 1: expected a JSON object"),
        ('{"text": "a"}\n\n{"txt": "a"}\n', "a.jsonl", {}, "line 3: .*Did you mean 'txt'"),
        ('{"text": 7}\n', "a.jsonl", {}, "line 1: expected a text, got 7"),
        ('{"text": "a\\ud800"}\n', "a.jsonl", {}, r"line 1: .* got half of one, U\+D800"),
        ('{"text": "a", "y": null}\n', "a.jsonl", {"label": "y"}, "line 1: expected a label"),
        ("pos\n", "a.x", {"layout": "label-first"}, "line 1: expected a label and a text"),
        ("a\nno", "a.x", {"layout": "label-last", "separator": "|"}, r"line 1: .* '\|' between"),
        ("a", "a.txt", {"label": "y"}, "label: expected a layout that has it"),
        ("a", "a.txt", {"separator": "|"}, "separator: expected a layout that has it"),
        ("a", "a.txt", {"quotes": False}, "quotes: expected a layout that has it"),
        ("a b", "a.txt", {"layout": "label-first", "separator": ""}, "at least one character"),
        ("nothing of the kind", "a.parquet", {}, "expected a Parquet file"),
        ("a", "a.parquet", {"encoding": "latin-1"}, "encoding: expected a .csv or .tsv file"),
    ],
    ids=range(28),
)  # fmt: skip
def test_faults_are_named_by_their_line(
    content: str | bytes, name: str, options: dict[str, Any], message: str, write: Write
) -> None:
    with pytest.raises(GatewiseError, match=message):
        list(read_texts(write(content, name), **options))


def test_missing_cells_of_binary_tables_are_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a", None], "y": [1, 2]})
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InvalidTypeError, match=r"a\.parquet, row 1: expected a text, got nothing"):
        list(read_texts(tmp_path / "a.parquet"))
    with pytest.raises(InvalidTypeError, match="the frame, row 1: expected a text, got nothing"):
        list(read_texts(frame))
    assert contents(read_texts(tmp_path / "a.parquet", label="y", keep_blank=True)) == [
        ("a", ("1",)), ("", ("2",)),
    ]  # fmt: skip
    with pytest.raises(InvalidValueError, match="layout: expected 'table' for a frame"):
        list(read_texts(frame, layout="lines"))
    with pytest.raises(InvalidFileError, match="the frame: expected at least one text"):
        list(read_texts(frame.iloc[:0]))


def test_texts_from_memory() -> None:
    texts = list(as_texts(["a", "b"], ["x", ["x", "y"]]))
    assert texts[0] == Text("a", ("x",), Place("the texts", "number", 0))
    assert texts[1].labels == ("x", "y")
    for bad, labels, message in (
        ("ab", None, "the texts: expected a list of texts, got one text"),
        (["a", 5], None, "the texts, number 1: expected a text, got 5"),
        (["a", "\udc80"], None, r"number 1: expected characters, got half of one, U\+DC80"),
        (["a", "b"], ["x"], "the labels: expected 2, one a text, got 1"),
        (["a", "b"], ["x", " "], "number 1: expected a label, got none"),
    ):
        with pytest.raises(GatewiseError, match=message):
            list(as_texts(bad, labels))  # type: ignore[arg-type]


def test_a_missing_file_is_missed_before_its_layout(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match=r"sum: expected a file, got No such file"):
        list(read_texts(tmp_path / "sum", label="mood", separator="tab"))
