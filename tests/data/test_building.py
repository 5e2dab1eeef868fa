"""Panels: every accepted table lies right on its grid, every refused one is told where and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data import Panel, build_panel, infer_schema, read_frame
from gatewise.errors import InvalidValueError

from .tables import Write, long_frame, panel_of

NAN = float("nan")


def test_gaps_and_missing_values_are_masked_and_counted() -> None:
    frame = long_frame({"a": 6, "b": 4})
    frame.loc[2, "y"] = NAN
    panel = panel_of(frame.drop(index=[4, 7]), frequency="D")
    first, second = panel.series
    np.testing.assert_array_equal(first.y, [*frame["y"][:4], NAN, frame["y"][5]])
    np.testing.assert_array_equal(second.y, [frame["y"][6], NAN, *frame["y"][8:]])
    assert first.ds.equals(pd.date_range("2024-01-01", periods=6).as_unit("us"))
    assert panel.counts == {
        "rows": 8, "series": 2, "missing_y": 1, "gaps_filled": 2, "future_rows": 0,
        "missing_past": 0, "missing_future": 0, "missing_static": 0,
    }  # fmt: skip


@given(
    kept=st.lists(
        st.sets(st.integers(0, 30), min_size=2, max_size=20).map(sorted), min_size=1, max_size=4
    ),
    shuffle=st.randoms(use_true_random=False),
)
def test_every_row_lands_on_its_step(kept: list[list[int]], shuffle) -> None:
    # Interleaved series, each with its own start and gaps; values tell series and step.
    rows = [(f"s{s}", step, 100.0 * s + step) for s, steps in enumerate(kept) for step in steps]
    shuffle.shuffle(rows)
    rows.sort(key=lambda row: row[1])
    frame = pd.DataFrame(rows, columns=["unique_id", "ds", "y"])
    panel = build_panel(frame, replace(infer_schema(frame), step=1))
    assert list(panel.ids) == list(dict.fromkeys(frame["unique_id"]))
    for series in panel.series:
        s = int(series.unique_id[1:])
        steps = np.arange(kept[s][0], kept[s][-1] + 1)
        assert series.ds.tolist() == steps.tolist()
        there = np.isin(steps, kept[s])
        np.testing.assert_array_equal(series.y, np.where(there, 100.0 * s + steps, NAN))


def test_wide_and_long_tables_give_the_same_panel() -> None:
    long = long_frame({"u": 40, "v": 40}, frequency="h")
    wide = long.pivot_table(index="ds", columns="unique_id", values="y").reset_index()
    one, other = panel_of(long), panel_of(wide.rename_axis(columns=None))
    for a, b in zip(one.series, other.series, strict=True):
        assert a.unique_id == b.unique_id
        assert a.ds.equals(b.ds)
        np.testing.assert_array_equal(a.y, b.y)
        np.testing.assert_array_equal(a.future, b.future)


def test_identities_keep_their_type_and_order() -> None:
    frame = long_frame({"9": 5, "10": 5}).astype({"unique_id": int})
    panel = panel_of(frame)
    assert panel.ids.tolist() == [9, 10]
    assert panel.ids.dtype == np.int64
    assert [one.unique_id for one in panel.series] == ["9", "10"]


def test_the_same_schema_gives_the_same_columns() -> None:
    frame = long_frame({"a": 20}).assign(p=1.0, q=2.0, f=3.0, g=4.0)
    schema = infer_schema(frame, past=["q", "p"], future=["g", "f"])
    shuffled = build_panel(frame[["f", "p", "y", "ds", "q", "unique_id", "g"]], schema).series[0]
    np.testing.assert_array_equal(shuffled.past[0], [2.0, 1.0])
    np.testing.assert_array_equal(shuffled.future[0, :2], [4.0, 3.0])
    assert build_panel(frame.assign(note="x"), schema).unused == ("note",)


def test_numbers_of_any_type_are_read() -> None:
    frame = long_frame({"a": 4})
    for cells in (
        pd.array([1, None, 0, 1], dtype="Int64"),
        pd.array([True, None, False, True], dtype="boolean"),
        pd.Series(["1", " ", "0", "1.0"]),
        pd.Series([True, None, False, 1], dtype=object),
        pd.Categorical([1, None, 0, 1]),
    ):
        y = panel_of(frame.assign(y=cells)).series[0].y
        np.testing.assert_array_equal(y, [1.0, NAN, 0.0, 1.0])


def test_constant_series_are_accepted() -> None:
    panel = panel_of(long_frame({"a": 9}).assign(y=5))
    np.testing.assert_array_equal(panel.series[0].y, np.full(9, 5.0))


def test_time_zones_are_kept() -> None:
    stamps = pd.date_range("2024-10-26", periods=5, freq="D", tz="Europe/Berlin")
    panel = panel_of(pd.DataFrame({"ds": stamps.delete(2), "y": 1.0}), frequency="D")
    assert panel.series[0].ds.equals(stamps.as_unit("us"))
    assert panel.future_ds(0, 2).equals(pd.date_range(stamps[-1], periods=3)[1:].as_unit("us"))


def without_target() -> pd.DataFrame:
    return long_frame({"a": 3, "b": 2}).assign(y=[1.0, 2.0, 3.0, NAN, NAN])


def repeated() -> pd.DataFrame:
    frame = long_frame({"a": 3, "b": 3})
    return pd.concat([frame, frame.iloc[[4]]], ignore_index=True)


def unsorted() -> pd.DataFrame:
    return long_frame({"a": 3, "b": 4}).iloc[[0, 1, 2, 3, 5, 4, 6]].reset_index(drop=True)


def off_grid() -> pd.DataFrame:
    frame = long_frame({"a": 30, "b": 30})
    frame.loc[40, "ds"] += pd.Timedelta("7min")
    return frame


def with_cell(column: str, value: object) -> Callable[[], pd.DataFrame]:
    def frame() -> pd.DataFrame:
        table = long_frame({"a": 3, "b": 3}).astype({column: object})
        table.loc[4, column] = value
        return table

    return frame


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: long_frame({"a": 3}).iloc[:0], ["an empty table"]),
        (with_cell("y", "abc"), ["row 4 (series 'b', 2024-01-02", "column 'y'", "got 'abc'"]),
        (with_cell("y", "1,5"), ["row 4", "got '1,5'", "decimal point"]),
        (with_cell("y", "1_5"), ["row 4", "got '1_5'"]),
        (with_cell("y", float("inf")), ["row 4 (series 'b'", "finite number, got inf"]),
        (with_cell("y", "-inf"), ["row 4", "got -inf"]),
        (with_cell("y", 1j), ["row 4", "got 1j"]),
        (with_cell("ds", None), ["row 4, column 'ds'", "an empty cell"]),
        (with_cell("unique_id", None), ["row 4, column 'unique_id'", "the name of a series"]),
        (repeated, ["row 6 (series 'b', 2024-01-02", "row 4 (series 'b', 2024-01-02", "Remove"]),
        (unsorted, ["row 5 (series 'b', 2024-01-02", "row 4 (series 'b', 2024-01-03", "Sort"]),
        (off_grid, ["row 40 (series 'b', 2024-01-11 00:07", "frequency 'D'"]),
        (without_target, ["series 'b': expected at least one observed target"]),
        (lambda: long_frame({"a": 2, "b": 2}).assign(unique_id=pd.Series([1, 1, "1", "1"])),
         ["'1' both as text and as a number"]),
    ],
    ids=["empty", "text", "comma", "underscore", "inf", "-inf", "complex", "no time", "no name",
         "duplicate", "unsorted", "off grid", "no target", "mixed names"],
)  # fmt: skip
def test_bad_input_is_named(make: Callable[[], pd.DataFrame], parts: list[str]) -> None:
    schema = infer_schema(long_frame({"a": 30}, frequency="D"))
    with pytest.raises(InvalidValueError) as caught:
        build_panel(make(), schema)
    for part in parts:
        assert part in str(caught.value)


def test_a_date_far_from_the_others_does_not_fill_the_memory() -> None:
    frame = long_frame({"a": 30}, frequency="min")
    frame.loc[29, "ds"] += pd.Timedelta(days=36525)
    with pytest.raises(InvalidValueError, match=r"series 'a': .* 52596030 steps .* to 2124-01-02"):
        panel_of(frame)


def test_the_frequency_that_fits_is_suggested() -> None:
    with pytest.raises(InvalidValueError, match="the timestamps look like 'h'"):
        panel_of(long_frame({"a": 30}, frequency="h"), frequency="D")


def test_lines_of_a_file_are_counted_with_header_and_blank_lines(write: Write) -> None:
    text = "ds,y\n\n2024-01-01,1\n2024-01-02,2\n\n2024-01-03,inf\n2024-01-04,x\n"
    frame = read_frame(write(text))
    with pytest.raises(InvalidValueError, match=r"table\.csv, line 7 .*got 'x'"):
        panel_of(frame)
    with pytest.raises(InvalidValueError, match=r"table\.csv, line 3 .*got 'z'"):
        panel_of(frame.assign(y="z"))
    number = frame.iloc[:3].astype({"y": float})
    with pytest.raises(InvalidValueError, match=r"table\.csv, row 2 .*finite number"):
        panel_of(number)
    late = frame[frame["ds"] > "2024-01-01"].iloc[:2]
    with pytest.raises(InvalidValueError, match=r"table\.csv, line 6 .*finite number"):
        panel_of(late)


def test_rows_of_a_frame_are_counted_from_0_beside_their_label() -> None:
    frame = long_frame({"a": 9}).assign(y="x").iloc[4:]
    with pytest.raises(InvalidValueError, match=r"the frame, row 0 \(index 4\) \(series 'a'"):
        panel_of(frame)


def test_duplicates_are_named_by_line(write: Write) -> None:
    frame = read_frame(write("date,u\n2024-01-01,1\n2024-01-02,2\n2024-01-02,3\n"))
    with pytest.raises(InvalidValueError, match=r"line 4 \(2024-01-02.*line 3"):
        panel_of(frame)


def trained() -> Panel:
    frame = long_frame({"a": 30}).assign(p=1.0, f=2.0, s="x")
    return panel_of(frame, past="p", future="f", static="s")


@pytest.mark.parametrize("column", ["unique_id", "ds", "y", "p", "f", "s"])
def test_a_lacking_column_is_named_with_those_of_training(column: str) -> None:
    frame = long_frame({"a": 30}).assign(p=1.0, f=2.0, s="x").drop(columns=column)
    with pytest.raises(InvalidValueError) as caught:
        build_panel(frame, trained().schema)
    assert f"got no {column!r} among" in str(caught.value)
    assert (
        "expected the columns 'unique_id', 'ds', 'p', 'f', 's', 'y', as in the training table"
        in (str(caught.value))
    )


def test_wide_tables_keep_their_series_and_accept_new_ones() -> None:
    wide = pd.DataFrame({"ds": range(9), "a": 1.0, "b": 2.0})
    schema = infer_schema(wide)
    with pytest.raises(InvalidValueError, match="got no 'b'"):
        build_panel(wide.drop(columns="b"), schema)
    more = build_panel(wide[["ds", "b", "a"]].assign(c=3.0), schema)
    assert [one.unique_id for one in more.series] == ["a", "b", "c"]
    alone = pd.DataFrame({"unique_id": "b", "ds": range(9), "y": 2.0})
    assert [one.unique_id for one in build_panel(alone, schema).series] == ["b"]
    with pytest.raises(InvalidValueError, match=r"column 'c'.*a series of its own, got 'x'"):
        build_panel(wide.assign(c="x"), schema)


def test_the_kind_of_time_may_not_change() -> None:
    with pytest.raises(InvalidValueError, match="expected timestamps, as in training"):
        build_panel(long_frame({"a": 30}).assign(ds=range(30)), infer_schema(long_frame({"a": 30})))


def test_the_target_may_be_absent_on_request() -> None:
    frame = long_frame({"a": 5})
    schema = infer_schema(frame)
    panel = build_panel(frame.drop(columns="y"), schema, require_target=False)
    assert np.isnan(panel.series[0].y).tolist() == [True] * 5
