"""Centre and scale: safe for every series, fitted on the training part alone, kept by JSON."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from gatewise.data import PanelScale

from .tables import long_frame, panel_of


def scale_of(values: object) -> tuple[float, float]:
    panel = panel_of(pd.DataFrame({"ds": range(len(values)), "y": values}))
    return panel.fit_scale().of(panel.series[0])


def test_mean_and_deviation_of_what_is_observed() -> None:
    assert scale_of([1.0, np.nan, 3.0, 5.0]) == pytest.approx((3.0, np.sqrt(8 / 3)))


@pytest.mark.parametrize(
    ("values", "center", "scale"),
    [
        ([5.0] * 9, 5.0, 5.0),
        ([-3.0] * 9, -3.0, 3.0),
        ([0.0] * 9, 0.0, 1.0),
        ([0.1] * 9, 0.1, 0.1),
        ([1e308, -1e308] * 9, 0.0, 1e308),
        ([1e-300, -1e-300] * 9, 0.0, 1e-300),
        ([7.0], 7.0, 7.0),
    ],
)
def test_constants_and_extremes_are_safe(values: object, center: float, scale: float) -> None:
    if len(values) == 1:
        values = [np.nan, *values]
    assert scale_of(values) == pytest.approx((center, scale))


def test_only_the_training_part_counts() -> None:
    frame = long_frame({"a": 20, "b": 20}).assign(p=np.arange(40.0), f=np.arange(40.0))
    panel = panel_of(frame, past="p", future="f", calendar=["day_of_week"])
    scale = panel.fit_scale([10, 5])
    y = frame["y"].to_numpy()
    assert scale.center["a"] == pytest.approx(y[:10].mean())
    assert scale.scale["b"] == pytest.approx(y[20:25].std())
    part = np.r_[np.arange(10.0), np.arange(20.0, 25.0)]
    assert scale.past[0] == pytest.approx((part.mean(), part.std()))
    assert scale.future == (scale.past[0], (0.0, 1.0), (0.0, 1.0))


def test_a_series_not_seen_in_training_has_its_own_constants() -> None:
    panel = panel_of(long_frame({"a": 20, "b": 30}))
    scale = panel.fit_scale([10, 10])
    stranger = panel_of(long_frame({"c": 25}, seed=5)).series[0]
    assert scale.of(stranger) == pytest.approx((stranger.y.mean(), stranger.y.std()))
    assert scale.of(panel.series[0])[0] == pytest.approx(panel.series[0].y[:10].mean())


def test_a_training_part_without_values_takes_all() -> None:
    frame = long_frame({"a": 10})
    frame.loc[:4, "y"] = np.nan
    panel = panel_of(frame)
    assert panel.fit_scale([5]).center["a"] == pytest.approx(frame["y"][5:].mean())


def test_categories_and_calendar_are_left_alone_and_numbers_are_not() -> None:
    frame = long_frame({"a": 9, "b": 9}).assign(k=["x"] * 9 + ["y"] * 9, n=[1.0] * 9 + [3.0] * 9)
    scale = panel_of(frame, static=["k", "n"]).fit_scale()
    assert scale.static == ((0.0, 1.0), (0.0, 1.0), (2.0, 1.0))


def test_json_keeps_the_constants() -> None:
    frame = long_frame({"a": 9, "b": 9}).assign(p=0.1, n=1 / 3)
    scale = panel_of(frame, past="p", static="n").fit_scale()
    assert PanelScale.from_dict(json.loads(json.dumps(scale.to_dict()))) == scale
