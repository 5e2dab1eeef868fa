"""Evaluation and backtests: every window once, in the units of y, and nothing from the future."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from gatewise.errors import InvalidValueError
from gatewise.tasks import Forecaster
from tasks.cases import QUICK, waves

H, L = QUICK["horizon"], QUICK["lookback"]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return waves()


@pytest.fixture(scope="module", params=["point", "student_t"])
def model(request: pytest.FixtureRequest, frame: pd.DataFrame) -> Forecaster:
    return Forecaster(**QUICK, head=request.param).fit(frame, progress=False)


def test_one_window_is_scored_as_predict_says(model: Forecaster, frame: pd.DataFrame):
    one = frame[frame["unique_id"] == "a"].tail(L + H)
    truth = one["y"].tail(H).to_numpy()
    forecast = model.predict(one.head(L))
    scores = model.evaluate(one)
    error = np.abs(truth - forecast["forecast"].to_numpy())
    assert_allclose(scores["model"]["mae"], error.mean(), rtol=1e-5)
    assert_allclose(scores["model"]["mse"], (error**2).mean(), rtol=1e-5)
    inside = (forecast["lo_80"] <= truth) & (truth <= forecast["hi_80"])
    assert_allclose(scores["model"]["coverage_80"], inside.mean())
    naive = one["y"].iloc[L - 1]
    assert_allclose(scores["naive"]["mae"], np.abs(truth - naive).mean(), rtol=1e-12)
    season = one["y"].iloc[L - 12 : L - 12 + H].to_numpy()
    assert_allclose(scores["seasonal_naive"]["mae"], np.abs(truth - season).mean(), rtol=1e-12)


def test_mase_is_scaled_by_the_training_rows(frame: pd.DataFrame):
    model = Forecaster(**QUICK, validation_size=30.0).fit(frame, progress=False)
    one = frame[frame["unique_id"] == "b"]
    train = one["y"].to_numpy()[:-30]
    unit = np.abs(train[12:] - train[:-12]).mean()
    scores = model.evaluate(one.tail(L + H + 3))["naive"]
    assert_allclose(scores["mase"], scores["mae"] / unit, rtol=1e-12)


def test_every_window_counts_once(model: Forecaster, frame: pd.DataFrame):
    table = frame.groupby("unique_id").tail(L + H + 2)
    errors = []
    for name, rows in table.groupby("unique_id"):
        y = rows["y"].to_numpy()
        errors += [np.abs(y[o : o + H] - y[o - 1]) for o in (L, L + 1, L + 2)]
        assert name in ("a", "b")
    assert_allclose(model.evaluate(table)["naive"]["mae"], np.mean(errors), rtol=1e-12)


def test_missing_truth_is_left_out(model: Forecaster, frame: pd.DataFrame):
    one = frame[frame["unique_id"] == "a"].tail(L + H).reset_index(drop=True)
    y = one["y"].to_numpy()
    gappy = one.assign(y=one["y"].where(~one.index.isin([L + 1, L + 3])))
    expected = np.abs(y[[L, L + 2, L + 4, L + 5]] - y[L - 1]).mean()
    assert_allclose(model.evaluate(gappy)["naive"]["mae"], expected, rtol=1e-12)


def test_score_is_one_for_perfect_and_zero_for_seasonal_naive(frame: pd.DataFrame):
    model = Forecaster(**QUICK).fit(frame, progress=False)
    scores = model.evaluate(frame)
    assert_allclose(
        model.score(frame), 1 - scores["model"]["mae"] / scores["seasonal_naive"]["mae"]
    )


def test_backtest_says_what_predict_said_then(model: Forecaster, frame: pd.DataFrame):
    table = model.backtest(frame, windows=3)
    assert list(table.columns)[:5] == ["cutoff", "unique_id", "ds", "y", "forecast"]
    assert len(table) == 2 * 3 * H
    for cutoff, rows in table.groupby("cutoff"):
        then = model.predict(frame[frame["ds"] <= cutoff])
        both = rows.drop(columns=["cutoff", "y"]).reset_index(drop=True)
        assert_frame_equal(both, then, rtol=1e-5, atol=1e-6)
    merged = table.merge(frame, on=["unique_id", "ds"])
    assert_allclose(merged["y_x"], merged["y_y"])
    first = table[table["unique_id"] == "a"]["cutoff"].unique()
    assert list(np.diff(first)) == [pd.Timedelta(hours=H)] * 2
    assert table["ds"].max() == frame["ds"].max()


def test_stride_of_a_backtest(model: Forecaster, frame: pd.DataFrame):
    table = model.backtest(frame, windows=4, stride=2)
    cutoffs = table["cutoff"].unique()
    assert list(np.diff(cutoffs)) == [pd.Timedelta(hours=2)] * 3
    assert cutoffs[-1] == frame["ds"].max() - pd.Timedelta(hours=H)


@pytest.mark.parametrize("refit", [False, True])
def test_nothing_is_known_of_the_future(frame: pd.DataFrame, refit: bool):
    """Other values after the first cutoff do not change its forecast."""
    model = Forecaster(**QUICK).fit(frame[frame["ds"] < "2024-01-05"], progress=False)
    table = model.backtest(frame, windows=2, refit=refit)
    first = table["cutoff"].min()
    changed = frame.assign(y=frame["y"].where(frame["ds"] <= first, 50.0))
    other = model.backtest(changed, windows=2, refit=refit)
    columns = ["unique_id", "ds", "forecast", "lo_80", "hi_80"]
    a, b = (rows[rows["cutoff"] == first][columns] for rows in (table, other))
    assert_frame_equal(a, b, check_exact=True)
    assert not table["forecast"].equals(other["forecast"])


def test_refit_learns_anew(frame: pd.DataFrame):
    model = Forecaster(**QUICK).fit(frame, progress=False)
    kept, refitted = (model.backtest(frame, windows=1, refit=refit) for refit in (False, True))
    assert not kept["forecast"].equals(refitted["forecast"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"windows": 0}, "windows: expected at least 1, got 0"),
        ({"windows": 2, "stride": 0}, "stride: expected at least 1, got 0"),
        ({"windows": 100}, r"series 'a', the longest: expected more than 600 steps .*, got 150"),
    ],
)
def test_impossible_backtests(frame: pd.DataFrame, arguments: dict[str, Any], message: str):
    model = Forecaster(**QUICK).fit(frame, progress=False)
    with pytest.raises(InvalidValueError, match=message):
        model.backtest(frame, **arguments)
