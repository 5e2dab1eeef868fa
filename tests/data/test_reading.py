"""Reading tables: every accepted kind gives the same frame, every damage is named with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from gatewise.data import read_frame
from gatewise.errors import InvalidFileError, InvalidTypeError, InvalidValueError

from .tables import Write

TEXT = "ds,y,shop\n2024-01-01,1.5,a\n2024-01-02,,b\n2024-01-03,-2e1,c\n"
EXPECTED = pd.DataFrame(
    {"ds": ["2024-01-01", "2024-01-02", "2024-01-03"], "y": [1.5, np.nan, -20.0], "shop": [*"abc"]}
)


def assert_expected(frame: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(frame, EXPECTED, check_dtype=False)
    assert frame["y"].dtype == np.float64


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "\ufeff" + TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        TEXT.replace(",", ";"),
        TEXT.replace(",", "|"),
        TEXT.replace("\n", ",\n"),
        "\n" + TEXT.replace("\n", "\n\n"),
        TEXT.rstrip("\n"),
        TEXT.replace(",,", ",NA,").replace("1.5", " 1.5 "),
        '"ds","y","shop"\n"2024-01-01","1.5","a"\n2024-01-02,"",b\n2024-01-03,-2e1,c\n',
    ],
    ids=["plain", "windows", "mac", "semicolon", "bar", "trailing", "blank", "unfinished", "spaces",
         "quoted"],
)  # fmt: skip
def test_reads_comma_separated_text_of_every_make(text: str, write: Write) -> None:
    assert_expected(read_frame(write(text)))


def test_reads_tabs_gzip_and_utf16(write: Write) -> None:
    assert_expected(read_frame(write(TEXT.replace(",", "\t"), "table.tsv")))
    assert_expected(read_frame(write(gzip.compress(TEXT.encode()), "table.csv.gz")))
    assert_expected(read_frame(str(write(TEXT.encode("utf-16")))))


def test_reads_frames_and_binary_files_alike(tmp_path: Path) -> None:
    EXPECTED.to_parquet(tmp_path / "a.parquet")
    EXPECTED.to_feather(tmp_path / "a.feather")
    sources = [
        EXPECTED,
        pl.from_pandas(EXPECTED),
        pl.from_pandas(EXPECTED).lazy(),
        pa.Table.from_pandas(EXPECTED),
        tmp_path / "a.parquet",
        tmp_path / "a.feather",
    ]
    for source in sources:
        assert_expected(read_frame(source))


def test_a_pandas_frame_is_not_changed() -> None:
    frame = pd.DataFrame({0: [1.0, 2.0], "ds": [1, 2]})
    assert list(read_frame(frame).columns) == ["0", "ds"]
    assert list(frame.columns) == [0, "ds"]


def test_times_and_names_in_an_index_become_columns() -> None:
    stamps = pd.date_range("2024-01-01", periods=2, name="ds")
    assert list(read_frame(pd.DataFrame({"y": [1.0, 2.0]}, index=stamps)).columns) == ["ds", "y"]
    unnamed = pd.DataFrame({"y": [1.0, 2.0]}, index=stamps.rename(None))
    assert list(read_frame(unnamed).columns) == ["index", "y"]
    named = pd.DataFrame({"y": [1.0]}, index=pd.Index(["a"], name="unique_id"))
    assert list(read_frame(named).columns) == ["unique_id", "y"]
    filtered = EXPECTED[EXPECTED["y"].notna()]
    assert list(read_frame(filtered).columns) == ["ds", "y", "shop"]


def test_what_to_csv_writes_comes_back(tmp_path: Path) -> None:
    EXPECTED.to_csv(tmp_path / "numbered.csv")
    assert_expected(read_frame(tmp_path / "numbered.csv"))
    EXPECTED.assign(n=1).to_csv(tmp_path / "twice.csv")
    again = pd.read_csv(tmp_path / "twice.csv")
    again.to_csv(tmp_path / "twice.csv", index=False)
    assert_expected(read_frame(tmp_path / "twice.csv").drop(columns="n"))
    EXPECTED.set_index(pd.DatetimeIndex(EXPECTED["ds"]).rename(None)).drop(columns="ds").to_csv(
        tmp_path / "dated.csv"
    )
    assert list(read_frame(tmp_path / "dated.csv").columns) == ["index", "y", "shop"]


def test_a_counter_that_has_a_name_stays(write: Write) -> None:
    assert list(read_frame(write("index,y\n0,1\n1,2\n")).columns) == ["index", "y"]
    assert list(read_frame(write(",y\n1,1\n2,2\n")).columns) == ["index", "y"]


def test_types_are_those_of_whole_columns(write: Write) -> None:
    frame = read_frame(write("i,f,b,z,h,m\n1,1,true,007,0x1F,2\n-2,nan,False,8,3,x\n"))
    assert frame["i"].tolist() == [1, -2]
    assert frame["i"].dtype == np.int64
    assert frame["f"].dtype == np.float64
    assert frame["b"].tolist() == [True, False]
    assert frame["z"].tolist() == ["007", "8"]
    assert frame["h"].tolist() == ["0x1F", "3"]
    assert frame["m"].tolist() == ["2", "x"]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "a.csv", r"a\.csv: expected a header line and rows, got an empty file"),
        ("\n\n", "a.csv", "got an empty file"),
        ("ds,y\n", "a.csv", "got one line only"),
        ("y\n1\n2\n", "a.csv", "line 1: expected at least two columns"),
        ("ds,y\n1,2\n", "a.tsv", "line 1: expected at least two columns"),
        ("2024-01-01,1\n2024-01-02,2\n", "a.csv", "line 1: expected a header line"),
        ("ds,y,y\n1,2,3\n", "a.csv", "'y' more than once"),
        ("ds,,y\n1,2,3\n", "a.csv", "none for column 2"),
        ("ds,y,\n1,2,3\n", "a.csv", "none for the last"),
        ("ds,y\n\n1,2\n\n3,4,5\n", "a.csv", "line 5: expected 2 cells, as in the header, got 3"),
        ("ds,y\n1,2\n3\n", "a.csv", "line 3: expected 2 cells, as in the header, got 1: '3'"),
        (b"ds,y\n1,2\n3,\xe9\n", "a.csv", "line 3: expected text in UTF-8, got the byte 0xe9"),
        (b"PK\x03\x04 a zipped workbook", "a.csv", "binary data"),
        (b"ds,y\n1,\0\n", "a.csv", "binary data"),
        ("ds,y\n1,2\n", "a.csv.gz", "expected a whole gzip file"),
        # mtime: the name of a test must be the same in all processes of a run.
        (
            gzip.compress(b"ds,y\n1,2\n" * 99, mtime=0)[:-9],
            "a.csv.gz",
            "expected a whole gzip file",
        ),
        ("ds,y\n1,2\n", "a.xlsx", r"expected a file ending in \.csv"),
        ("nothing of the kind", "a.parquet", "expected a Parquet file"),
        ("nothing of the kind", "a.feather", "expected a Feather"),
        ("ds,y\n" + "x" * 200_000 + ",2\n", "a.csv", "line 1: expected a line of cells"),
    ],
)
def test_damaged_files_are_named(
    content: str | bytes, name: str, message: str, write: Write
) -> None:
    with pytest.raises(InvalidFileError, match=message) as caught:
        read_frame(write(content, name))
    assert name in str(caught.value)


def test_absent_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match="No such file"):
        read_frame(tmp_path / "absent.csv")
    with pytest.raises(InvalidFileError, match="a directory"):
        read_frame(tmp_path)
    with pytest.raises(InvalidFileError, match="expected a file"):
        read_frame("ds,y\n" * 3000)


@pytest.mark.parametrize("source", [None, [1, 2], {"y": [1]}, np.zeros(3), pl.Series([1])])
def test_other_things_are_refused(source: object) -> None:
    with pytest.raises(InvalidTypeError, match=type(source).__name__):
        read_frame(source)


def test_column_names_are_unique_and_flat() -> None:
    with pytest.raises(InvalidValueError, match="'1' more than once"):
        read_frame(pd.DataFrame([[1, 2]], columns=pd.Index([1, "1"], dtype=object)))
    with pytest.raises(InvalidValueError, match="2 levels"):
        read_frame(pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])))
