"""Windows: against a slow and obvious loop, at the borders, and in units that survive float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data import (
    Panel,
    WindowBatch,
    WindowSet,
    build_panel,
    infer_schema,
    split_counts,
    split_last,
)
from gatewise.errors import InvalidValueError

from .tables import long_frame, panel_of

Origins = Sequence[tuple[int, int]]


def slow_windows(
    panel: Panel, L: int, h: int, origins: Origins, stride: int, *, short: bool
) -> list[tuple[int, int]]:
    """List (series, origin) by asking of every step whether a window may start there."""
    found = []
    for s, one in enumerate(panel.series):
        start, stop = origins[s]
        first = max(start, 1 if short else L)
        for o in range(len(one)):
            inside = start <= o and o + h <= min(stop, len(one))
            reach = o >= (1 if short else L)
            turn = (o - first) % stride == 0
            seen = [not np.isnan(one.y[t]) for t in range(max(o - L, 0), o)]
            truth = [not np.isnan(one.y[t]) for t in range(o, min(o + h, len(one)))]
            if inside and reach and turn and any(seen) and any(truth):
                found.append((s, o))
    return found


def slow_batch(panel: Panel, L: int, h: int, pairs: list[tuple[int, int]]) -> dict[str, list]:
    """Copy each window step by step; steps that do not exist are masked."""
    rows: dict[str, list] = {
        k: [] for k in ("past_y", "past_mask", "past_x", "future_x", "future_y", "future_mask")
    }
    scale = panel.fit_scale()
    for s, o in pairs:
        one = panel.series[s]
        center, deviation = scale.of(one)

        def y(t: int, one=one, center=center, deviation=deviation) -> float:
            there = 0 <= t < len(one) and not np.isnan(one.y[t])
            return (one.y[t] - center) / deviation if there else 0.0

        def covariate(values, pair, t: int) -> float:
            if not 0 <= t < len(values) or np.isnan(values[t]):
                return 0.0
            return (values[t] - pair[0]) / pair[1]

        past, future = range(o - L, o), range(o, o + h)
        rows["past_y"].append([y(t) for t in past])
        rows["past_mask"].append([t >= 0 and not np.isnan(one.y[t]) for t in past])
        rows["future_y"].append([y(t) for t in future])
        rows["future_mask"].append([t < len(one) and not np.isnan(one.y[t]) for t in future])
        rows["past_x"].append([[covariate(one.past[:, 0], scale.past[0], t)] for t in past])
        rows["future_x"].append(
            [
                [covariate(one.future[:, k], scale.future[k], t) for k in range(2)]
                for t in range(o - L, o + h)
            ]
        )
    return rows


def holed_panel(lengths: list[int], holes: list[int], seed: int) -> Panel:
    """Return series with covariates whose cells are missing here and there."""
    rng = np.random.default_rng(seed)
    frame = long_frame({f"s{k}": n for k, n in enumerate(lengths)}, seed=seed)
    frame["p"], frame["f"], frame["g"] = rng.normal(size=(3, len(frame)))
    for hole in holes:
        frame.loc[hole % len(frame), rng.choice(["y", "p", "f"])] = np.nan
    ends = np.cumsum(lengths) - 1
    frame.loc[ends, "y"] = 1.0  # the last step is observed by definition
    return panel_of(frame, past="p", future=["f", "g"], calendar=False, frequency="D")


@st.composite
def spans(draw, n: int) -> tuple[int, int]:
    """A stretch of a series of n steps; now and then it ends before it begins, or too late."""
    whole = draw(st.booleans())
    return (0, n) if whole else (draw(st.integers(0, n)), draw(st.integers(0, n + 3)))


@given(
    lengths=st.lists(st.integers(2, 25), min_size=1, max_size=4),
    holes=st.lists(st.integers(0, 99), max_size=30),
    L=st.integers(1, 8),
    h=st.integers(1, 6),
    stride=st.integers(1, 4),
    short=st.booleans(),
    data=st.data(),
)
def test_windows_are_those_of_the_slow_loop(
    lengths: list[int], holes: list[int], L: int, h: int, stride: int, short: bool, data
) -> None:
    panel = holed_panel(lengths, holes, seed=len(holes))
    spans_ = [data.draw(spans(n)) for n in lengths]
    expected = slow_windows(panel, L, h, spans_, stride, short=short)
    options = {"origins": spans_, "stride": stride, "allow_short": short}
    if not expected:
        with pytest.raises(InvalidValueError, match="windows: expected"):
            WindowSet(panel, L, h, **options)
        return
    windows = WindowSet(panel, L, h, **options)
    pairs = list(zip(windows.series.tolist(), windows.origin.tolist(), strict=True))
    assert pairs == expected
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
    batch = windows.gather(order)
    chosen = [pairs[k] for k in order.tolist()]
    assert list(zip(batch.series.tolist(), batch.origin.tolist(), strict=True)) == chosen
    for name, values in slow_batch(panel, L, h, chosen).items():
        np.testing.assert_allclose(
            getattr(batch, name).numpy(), np.array(values), rtol=1e-5, atol=1e-6, err_msg=name
        )
    for s, center, scale in zip(batch.series, batch.center, batch.scale, strict=True):
        assert panel.fit_scale().of(panel.series[int(s)]) == (float(center), float(scale))


def shifted(windows: WindowSet, batch: WindowBatch) -> torch.Tensor:
    return torch.cat([batch.past_y[:, 1:], batch.future_y[:, :1]], dim=1)


@pytest.mark.parametrize(
    "wrong",
    [
        shifted,
        lambda windows, batch: batch.past_y.flip(1),
        lambda windows, batch: batch.past_y.roll(1, 0),
        lambda windows, batch: batch.past_y * batch.scale[:, None].float(),
        lambda windows, batch: windows.gather(torch.arange(1, 6)).past_y,
    ],
    ids=["one late", "reversed", "rows swapped", "unscaled", "next window"],
)
def test_the_comparison_sees_wrong_windows(
    wrong: Callable[[WindowSet, WindowBatch], torch.Tensor],
) -> None:
    panel = holed_panel([20], [], seed=1)
    windows = WindowSet(panel, 4, 2)
    batch = windows.gather(torch.arange(5))
    right = np.array(slow_batch(panel, 4, 2, [(0, o) for o in range(4, 9)])["past_y"])
    np.testing.assert_allclose(batch.past_y, right, rtol=1e-5, atol=1e-6)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(wrong(windows, batch), right, rtol=1e-5, atol=1e-6)


def test_the_parts_of_a_benchmark_have_the_customary_numbers_of_windows() -> None:
    rows = 12 * 24 + 4 * 24 + 4 * 24
    wide = pd.DataFrame({"ds": pd.date_range("2016-07-01", periods=rows + 9, freq="h")})
    panel = panel_of(
        wide.assign(**{name: np.random.default_rng(0).normal(size=rows + 9) for name in "ab"})
    )
    train, validation, test = split_counts(panel, 12 * 24, 4 * 24, 4 * 24)
    L, h = 24, 12
    sizes = [len(WindowSet(panel, L, h, origins=part)) for part in (train, validation, test)]
    assert sizes == [2 * (12 * 24 - L - h + 1), 2 * (4 * 24 - h + 1), 2 * (4 * 24 - h + 1)]
    first = WindowSet(panel, L, h, origins=validation).gather(torch.tensor([0]))
    np.testing.assert_allclose(
        first.past_y[0].double() * first.scale + first.center,
        panel.series[0].y[12 * 24 - L : 12 * 24],
        rtol=1e-5,
    )
    last = WindowSet(panel, L, h, origins=train)
    assert int(last.origin.max()) + h == 12 * 24


def test_no_step_is_forecast_in_two_parts() -> None:
    panel = panel_of(long_frame({"a": 60, "b": 43}))
    forecast = [
        {
            (int(s), int(o) + k)
            for s, o in zip(windows.series, windows.origin, strict=True)
            for k in range(4)
        }
        for windows in (WindowSet(panel, 7, 4, origins=part) for part in split_last(panel, 12))
    ]
    assert not forecast[0] & forecast[1]
    assert forecast[1] == {(s, t) for s, n in ((0, 60), (1, 43)) for t in range(n - 12, n)}


def test_windows_ahead_begin_after_the_last_step_of_each_series() -> None:
    panel = panel_of(long_frame({"a": 3, "b": 1, "c": 9}), calendar=["day_of_week"])
    windows = WindowSet.ahead(panel, 5, 4)
    batch = windows.gather(torch.arange(3))
    assert batch.series.tolist() == [0, 1, 2]
    assert batch.origin.tolist() == [3, 1, 9]
    assert batch.past_mask.tolist() == [[False] * 2 + [True] * 3, [False] * 4 + [True], [True] * 5]
    assert not batch.future_mask.any()
    raw = batch.past_y.double() * batch.scale[:, None] + batch.center[:, None]
    np.testing.assert_allclose(raw[2], panel.series[2].y[4:], rtol=1e-6)
    week = panel_of(long_frame({"c": 13}), calendar=["day_of_week"]).series[0].future
    np.testing.assert_allclose(batch.future_x[2], week[4:], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(batch.future_x[1, :4], np.zeros((4, 2)))


def test_nothing_can_be_forecast_from_nothing() -> None:
    frame = long_frame({"a": 9, "b": 9})
    frame.loc[frame["unique_id"] == "b", "y"] = np.nan
    panel = build_panel(frame, infer_schema(frame), require_target=False)
    with pytest.raises(InvalidValueError, match="series 'b': expected an observed target"):
        WindowSet.ahead(panel, 4, 2)


def test_large_levels_keep_their_small_changes() -> None:
    rng = np.random.default_rng(3)
    y = 1e9 + rng.normal(size=200)
    batch = WindowSet(panel_of(pd.DataFrame({"ds": range(200), "y": y})), 20, 5).gather(
        torch.arange(100)
    )
    truth = np.stack([y[o : o + 5] for o in batch.origin.tolist()])
    raw = batch.future_y.double() * batch.scale[:, None] + batch.center[:, None]
    assert np.abs(raw.numpy() - truth).max() < 1e-6
    assert np.abs(y.astype(np.float32) - y).max() > 1  # why the mean is taken off first


def test_values_beyond_float32_are_refused() -> None:
    frame = pd.DataFrame({"ds": range(30), "y": [1e-30] * 20 + [1e30] * 10})
    panel = panel_of(frame)
    with pytest.raises(InvalidValueError, match="target: expected values of the size"):
        WindowSet(panel, 4, 2, scale=panel.fit_scale([20]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lookback": 0}, "lookback: expected at least 1, got 0"),
        ({"horizon": -1}, "horizon: expected at least 1"),
        ({"stride": 0}, "stride: expected at least 1"),
        ({"origins": [(0, 9)]}, "one .start, stop. for each of 2 series, got 1"),
        (
            {"lookback": 28},
            r"at least one of 33 steps.*none; the longest series, 'a', has 30 steps",
        ),
    ],
)
def test_wrong_windows_are_named(options: dict[str, object], message: str) -> None:
    panel = panel_of(long_frame({"a": 30, "b": 9}))
    with pytest.raises(InvalidValueError, match=message):
        WindowSet(panel, **({"lookback": 4, "horizon": 5} | options))


def test_short_series_are_named_with_their_lengths() -> None:
    panel = panel_of(long_frame({"a": 30, "b": 9, "c": 8}))
    panel.require_steps(8, "look-back 8")
    with pytest.raises(
        InvalidValueError, match=r"series 'b' \(9\), 'c' \(8\): .* 10 .*look-back 10"
    ):
        panel.require_steps(10, "look-back 10")


def test_batches_move_between_devices_whole() -> None:
    batch = WindowSet(panel_of(long_frame({"a": 30})), 4, 2).gather(torch.arange(3))
    moved = batch.to("meta")
    assert all(getattr(moved, entry.name).is_meta for entry in fields(moved))
    assert len(batch) == 3
