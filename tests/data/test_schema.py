"""What a table is taken to mean, and that JSON keeps it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gatewise.data import PanelSchema, infer_schema
from gatewise.errors import InvalidFileError, InvalidValueError

from .tables import long_frame

WIDE = pd.DataFrame(
    {
        "date": pd.date_range("2024-01-01", periods=48, freq="h").astype(str),
        "b": np.arange(48.0),
        "a": 1,
        "temperature": 2.0,
    }
)


def test_a_long_table_is_recognised() -> None:
    schema = infer_schema(long_frame({"a": 30, "b": 20}))
    assert schema == PanelSchema(
        "unique_id", "ds", "y", frequency="D", calendar=("day_of_week",), season_length=7
    )


def test_a_wide_table_is_recognised() -> None:
    schema = infer_schema(WIDE)
    assert schema.layout == "wide"
    assert schema.time_column == "date"
    assert schema.id_column is None
    assert schema.series_columns == ("b", "a", "temperature")
    assert schema.season_length == 24
    assert infer_schema(WIDE, future="temperature").series_columns == ("b", "a")


def test_one_column_of_a_wide_table_can_be_the_target() -> None:
    schema = infer_schema(
        WIDE, target="a", past=["b"], future="temperature", calendar="day_of_week"
    )
    assert schema.future_names == ("temperature", "day_of_week_sin", "day_of_week_cos")
    assert (schema.layout, schema.id_column, schema.series_columns) == ("long", None, ())
    assert schema.past == ("b",)


def test_arguments_win_over_inference() -> None:
    frame = long_frame({"a": 30}).rename(columns={"unique_id": "shop", "ds": "day", "y": "sales"})
    frame["other"] = frame["day"]
    schema = infer_schema(
        frame, target="sales", id_column="shop", time_column="day", frequency="H",
        season_length=5, calendar=["day_of_month"],
    )  # fmt: skip
    assert (schema.id_column, schema.time_column, schema.target_column) == ("shop", "day", "sales")
    assert (schema.frequency, schema.season_length) == ("h", 5)
    assert schema.future_names == ("day_of_month_sin", "day_of_month_cos")
    assert infer_schema(frame, target="sales", time_column="day", calendar=False).calendar == ()


def test_static_text_becomes_sorted_categories_and_numbers_stay() -> None:
    frame = long_frame({"a": 9, "b": 9}).assign(size=[3] * 9 + [4] * 9, kind=["x"] * 9 + ["k"] * 9)
    schema = infer_schema(frame, static=["kind", "size"])
    assert schema.static_categories == {"kind": ["k", "x"]}
    assert schema.static_names == ("kind=k", "kind=x", "size")


def test_long_lists_of_columns_are_cut() -> None:
    wide = pd.DataFrame({"ds": range(3)} | {f"c{k}": [1.0] * 3 for k in range(40)})
    with pytest.raises(InvalidValueError, match=r"'c10' and 29 more"):
        infer_schema(wide, past="zzz")


def test_json_keeps_a_schema() -> None:
    frame = long_frame({"a": 9}).assign(kind="x", p=1.0)
    for schema in (infer_schema(WIDE), infer_schema(frame, static="kind", past="p", future=())):
        again = PanelSchema.from_dict(json.loads(json.dumps(schema.to_dict())))
        assert again == schema
        assert again.static_names == schema.static_names


def test_a_changed_file_is_refused() -> None:
    values = infer_schema(WIDE).to_dict()
    with pytest.raises(InvalidFileError, match="'colour'"):
        PanelSchema.from_dict(values | {"colour": 1})
    values.pop("layout")
    with pytest.raises(InvalidFileError, match="'layout'"):
        PanelSchema.from_dict(values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"past": ["temprature"]}, "Did you mean 'temperature'"),
        ({"target": "sales"}, "expected a column 'sales'.*Name the column to forecast"),
        ({"static": ["a"]}, "expected a column 'y'"),
        ({"past": ["a"], "future": ["a"]}, "column 'a': expected one role"),
        ({"target": "a", "past": ["a"]}, "column 'a': expected one role"),
        ({"season_length": 0}, "season_length: expected at least 1"),
        ({"frequency": "fortnight"}, "frequency"),
        ({"calendar": "moon"}, "got 'moon'"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        infer_schema(WIDE, **options)


def test_tables_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="an empty table"):
        infer_schema(WIDE.iloc[:0])
    with pytest.raises(InvalidValueError, match="expected a column 'y'"):
        infer_schema(long_frame({"a": 9}).rename(columns={"y": "sales"}))
    with pytest.raises(InvalidValueError, match="expected a column 'y'"):
        infer_schema(pd.DataFrame({"ds": [1, 2], "name": ["a", "b"]}))
    counted = pd.DataFrame({"ds": [1, 2, 3], "y": 1.0})
    assert infer_schema(counted).frequency is None
    with pytest.raises(InvalidValueError, match="time is counted in integers"):
        infer_schema(counted, frequency="D")


def test_the_grid_of_integer_time_is_kept() -> None:
    schema = infer_schema(pd.DataFrame({"ds": [10, 20, 40], "y": 1.0}))
    assert (schema.frequency, schema.step, schema.season_length) == (None, 10, 1)
    assert replace(schema, step=5).grid.width == 5
