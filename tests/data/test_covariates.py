"""Past, known-future and static covariates: where they come from, how far they reach."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gatewise.data import WindowSet, build_panel, infer_schema
from gatewise.errors import InvalidValueError

from .tables import long_frame, panel_of

NAN = float("nan")


def promotions() -> pd.DataFrame:
    """Two series of 10 days with a known-future column; the last 3 days of each lack the target."""
    frame = long_frame({"a": 10, "b": 10}).assign(f=np.arange(20.0), p=np.arange(20.0))
    frame.loc[[7, 8, 9, 17, 18, 19], "y"] = NAN
    return frame


def test_rows_after_the_last_target_are_known_future() -> None:
    panel = panel_of(promotions(), future="f", past="p", calendar=False)
    assert [len(one) for one in panel.series] == [7, 7]
    np.testing.assert_array_equal(panel.series[1].future[:, 0], np.arange(10.0, 20.0))
    np.testing.assert_array_equal(panel.series[1].past[:, 0], np.arange(10.0, 17.0))
    assert panel.counts["future_rows"] == 6
    assert panel.counts["missing_y"] == 0
    assert panel.future_ds("b", 2).equals(
        pd.DatetimeIndex(["2024-01-08", "2024-01-09"]).as_unit("us")
    )


def test_missing_covariates_carry_forward_within_a_series_only() -> None:
    frame = promotions()
    frame.loc[[2, 3, 10], ["f", "p"]] = NAN
    frame.loc[8, "f"] = NAN  # after the last target: known ahead or not at all
    frame = frame.drop(index=5)  # a gap
    panel = panel_of(frame, future="f", past="p", calendar=False)
    first, second = panel.series
    np.testing.assert_array_equal(first.past[:, 0], [0, 1, 1, 1, 4, 4, 6])
    np.testing.assert_array_equal(first.future[:, 0], [0, 1, 1, 1, 4, 4, 6, 7, NAN, 9])
    np.testing.assert_array_equal(second.past[:3, 0], [NAN, 11, 12])
    assert panel.counts["missing_past"] == 3
    assert panel.counts["missing_future"] == 4


def test_the_horizon_must_be_known() -> None:
    panel = panel_of(promotions(), future="f")
    extended = panel.extend(3)
    assert not np.isnan(extended.series[0].future).any()
    with pytest.raises(
        InvalidValueError, match=r"series 'a', column 'f': .* 4 steps .* none at 2024-01-11"
    ):
        panel.extend(4)


def test_a_future_table_fills_the_horizon() -> None:
    panel = panel_of(promotions(), future="f", calendar=["day_of_week"])
    days = pd.date_range("2024-01-05", periods=9)  # begins inside the history
    table = pd.DataFrame(
        {"unique_id": np.repeat(["b", "a", "z"], 9), "ds": np.tile(days, 3), "f": np.arange(27.0)}
    )
    table.loc[13, "f"] = NAN  # a, 2024-01-09: its own value stays
    extended = panel.with_future(table).extend(6)
    first, second = extended.series
    np.testing.assert_array_equal(first.future[:, 0], [*range(7), 12, 8, 14, 15, 16, 17])
    np.testing.assert_array_equal(second.future[:, 0], [*range(10, 17), *range(3, 9)])
    week = panel_of(long_frame({"a": 13}), calendar=["day_of_week"]).series[0].future
    np.testing.assert_array_equal(first.future[:, 1:], week)
    with pytest.raises(InvalidValueError, match="none at 2024-01-14"):
        extended.extend(7)


def test_a_future_table_without_names_holds_for_every_series() -> None:
    panel = panel_of(promotions(), future="f", calendar=False)
    table = pd.DataFrame({"ds": pd.date_range("2024-01-08", periods=4), "f": [5.0, 6, 7, 8]})
    for one in panel.with_future(table).extend(4).series:
        np.testing.assert_array_equal(one.future[7:, 0], [5, 6, 7, 8])


def test_wide_tables_have_covariates_too() -> None:
    wide = pd.DataFrame({"ds": range(5), "u": 1.0, "v": 2.0, "f": np.arange(5.0)})
    wide.loc[4, ["u", "v"]] = NAN
    panel = panel_of(wide, future="f")
    assert [len(one) for one in panel.series] == [4, 4]
    table = pd.DataFrame({"ds": [5, 6], "f": [5.0, 6.0]})
    for one in panel.with_future(table).series:
        np.testing.assert_array_equal(one.future[:, 0], np.arange(7.0))


def test_a_date_far_ahead_does_not_fill_the_memory() -> None:
    panel = panel_of(long_frame({"a": 50}, frequency="min").assign(f=1.0), future="f")
    table = pd.DataFrame({"ds": ["2024-01-01 00:50", "2124-01-01 00:51"], "f": 1.0})
    with pytest.raises(InvalidValueError, match=r"row 1 .*one 52,594,561 steps after it"):
        panel.with_future(table)
    with pytest.raises(InvalidValueError, match="series: expected one of 'a', got 'b'"):
        panel.future_ds("b", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ds": pd.date_range("2024-01-08 01:00", periods=4)},
         r"row 0 .*2024-01-08 01:00.*between two of them.*ends at 2024-01-07"),
        ({"ds": pd.date_range("2024-01-08", periods=4, tz="UTC")}, "without a time zone"),
        ({"ds": range(4)}, "expected timestamps, as in training"),
        ({"f": ["x", 1, 2, 3]}, r"row 0 .*column 'f': expected a number, got 'x'"),
        ({"f": [1, 2, np.inf, 3]}, r"row 2 .*column 'f': expected a finite number"),
        ({"ds": pd.to_datetime(["2024-01-08"] * 4)}, "each timestamp once"),
    ],
)  # fmt: skip
def test_a_wrong_future_table_is_named(change: dict[str, object], message: str) -> None:
    panel = panel_of(promotions(), future="f")
    table = pd.DataFrame({"ds": pd.date_range("2024-01-08", periods=4), "f": 1.0})
    with pytest.raises(InvalidValueError, match=message):
        panel.with_future(table.assign(**change))
    with pytest.raises(InvalidValueError, match="got no 'f' among"):
        panel.with_future(table.drop(columns="f"))


def shops() -> pd.DataFrame:
    frame = long_frame({"a": 4, "b": 4, "c": 4})
    return frame.assign(
        kind=[None, "x", "x", None] + ["k"] * 4 + ["x"] * 4, size=[1] * 4 + [NAN] * 4 + [3.0] * 4
    )


def test_static_covariates_are_one_per_series() -> None:
    panel = panel_of(shops(), static=["kind", "size"])
    assert panel.static_names == ("kind=k", "kind=x", "size")
    values = np.stack([one.static for one in panel.series])
    np.testing.assert_array_equal(values, [[0, 1, 1], [1, 0, NAN], [0, 1, 3]])
    assert panel.counts["missing_static"] == 1


def test_an_unknown_category_is_an_error_and_an_empty_one_is_none() -> None:
    schema = infer_schema(shops(), static="kind")
    with pytest.raises(
        InvalidValueError, match=r"row 4 \(series 'b'\), column 'kind': .* 'k', 'x', got 'new'"
    ):
        build_panel(shops().replace({"kind": {"k": "new"}}), schema)
    without = build_panel(shops().assign(kind=None), schema)
    np.testing.assert_array_equal(without.series[1].static, [0.0, 0.0])


def test_static_covariates_may_not_change() -> None:
    frame = shops()
    frame.loc[6, "size"] = 2.0
    frame.loc[7, "size"] = 5.0
    with pytest.raises(
        InvalidValueError, match=r"row 7 \(series 'b'\), column 'size': .* 2\.0, got 5\.0"
    ):
        panel_of(frame, static="size")
    with pytest.raises(InvalidValueError, match="column 'size': expected a number, got 'big'"):
        build_panel(shops().assign(size="big"), infer_schema(shops(), static="size"))


def test_covariates_reach_the_batches_standardised() -> None:
    frame = promotions().assign(s=[4.0] * 10 + [8.0] * 10, flag=True)
    panel = panel_of(frame, future=["f", "flag"], past="p", static="s", calendar=["day_of_week"])
    batch = WindowSet.ahead(panel, 4, 3).gather(torch.arange(2))
    known = np.stack([one.future[:7, 0] for one in panel.series])
    expected = (np.array([np.arange(3, 10), np.arange(13, 20)]) - known.mean()) / known.std()
    np.testing.assert_allclose(batch.future_x[..., 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(batch.future_x[..., 1], np.zeros((2, 7)))  # constant
    np.testing.assert_allclose(
        batch.future_x[0, :, 2:], panel.series[0].future[3:10, 2:], rtol=1e-6
    )
    np.testing.assert_allclose(
        batch.past_x[1, :, 0], (np.arange(13, 17) - known.mean()) / known.std(), rtol=1e-6
    )
    np.testing.assert_array_equal(batch.static_x, [[-1.0], [1.0]])
