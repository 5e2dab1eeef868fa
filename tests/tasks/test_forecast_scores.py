"""Scores and baselines against values worked out by hand or published."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gatewise.tasks.forecast.baselines import Baselines, seasonal_error
from gatewise.tasks.forecast.scores import ScoreSums

nan = np.nan


def scored(truth, forecast, *, mask=None, unit=1.0, **more) -> ScoreSums:
    truth, forecast = np.atleast_2d(truth).astype(float), np.atleast_2d(forecast).astype(float)
    sums = ScoreSums(truth.shape[1])
    known = np.ones(truth.shape, dtype=bool) if mask is None else np.atleast_2d(mask)
    sums.add(truth, known, forecast, np.full(len(truth), float(unit)), **more)
    return sums


def test_errors_by_hand():
    scores = scored([1, 2, 3, 4], [1, 4, 2, 0], unit=2.0).scores()
    assert_allclose(scores["mse"], (0 + 4 + 1 + 16) / 4)
    assert_allclose(scores["mae"], (0 + 2 + 1 + 4) / 4)
    assert_allclose(scores["mase"], (0 + 2 + 1 + 4) / 4 / 2)
    # |y-f| / (|y|+|f|): 0, 2/6, 1/5, 4/4, times 200
    assert_allclose(scores["smape"], 200 * (0 + 2 / 6 + 1 / 5 + 1) / 4)


def test_smape_of_two_zeros_is_zero():
    assert scored([0.0], [0.0]).scores()["smape"] == 0


def test_mase_of_the_published_example():
    """Hyndman & Athanasopoulos, Forecasting: Principles and Practice: scale by in-sample naive."""
    training = np.array([10.0, 12.0, 11.0, 15.0])
    unit = seasonal_error(training, 1)
    assert_allclose(unit, (2 + 1 + 4) / 3)
    assert_allclose(scored([16, 18], [15, 15], unit=unit).scores()["mase"], 2 / unit)


def test_mase_uses_the_season_and_passes_over_missing_values():
    y = np.array([1.0, 10.0, 3.0, nan, 6.0, 13.0])
    assert_allclose(
        seasonal_error(y, 2), (2 + 3) / 2
    )  # |3-1|, |6-3|; both pairs of the nan left out
    assert_allclose(seasonal_error(np.array([1.0, 2.0, 4.0]), 7), 1.5)  # no pair: neighbours
    assert np.isnan(seasonal_error(np.array([3.0]), 1))


def test_a_constant_series_is_left_out_of_mase_alone():
    scores = scored([1.0, 2.0], [2.0, 2.0], unit=0.0).scores()
    assert np.isnan(scores["mase"])
    assert scores["mae"] == 0.5


def test_masked_values_count_nowhere():
    mask = [True, False, True]
    sums = scored([1, 1e9, 3], [2, 0, 3], mask=mask, intervals={80.0: _around([2, 0, 3], 0.5)})
    assert sums.values == 2
    assert sums.scores()["mae"] == 0.5
    assert sums.scores()["coverage_80"] == 0.5
    assert_allclose(sums.by_step("mae"), [1, nan, 0])


def test_windows_add_up_to_the_mean_over_values():
    rng = np.random.default_rng(0)
    truth, forecast = rng.normal(size=(2, 7, 3))
    mask = rng.random((7, 3)) < 0.7
    whole, parts = ScoreSums(3), ScoreSums(3)
    unit = np.ones(7)
    whole.add(truth, mask, forecast, unit)
    for rows in (slice(0, 1), slice(1, 5), slice(5, 7)):
        parts.add(truth[rows], mask[rows], forecast[rows], unit[rows])
    assert_allclose(list(parts.scores().values()), list(whole.scores().values()))
    assert_allclose(whole.scores()["mse"], np.mean((truth - forecast)[mask] ** 2))


def test_naive_repeats_the_last_observed_value():
    naive = Baselines([np.array([1.0, 2.0, nan, nan])], 1, 3)
    assert_allclose(naive.forecast(np.array([0]), np.array([4]))["naive"], [[2, 2, 2]])
    assert_allclose(naive.forecast(np.array([0]), np.array([1]))["naive"], [[1, 1, 1]])


def test_seasonal_naive_repeats_the_last_season():
    y = np.arange(10.0)
    forecasts = Baselines([np.zeros(5), y], 4, 6)
    seasonal = forecasts.forecast(np.array([1, 1]), np.array([10, 9]))["seasonal_naive"]
    assert_allclose(seasonal, [[6, 7, 8, 9, 6, 7], [5, 6, 7, 8, 5, 6]])


def test_seasonal_naive_goes_back_to_the_last_observed_season():
    y = np.array([1.0, 2.0, 3.0, 4.0, nan, 6.0])
    seasonal = Baselines([y], 3, 3).forecast(np.array([0]), np.array([6]))["seasonal_naive"]
    assert_allclose(seasonal, [[4, 2, 6]])  # the 5th value is missing: a season earlier it was 2


def test_seasonal_naive_falls_back_to_naive_and_never_looks_ahead():
    y = np.array([5.0, 7.0, 100.0, 100.0, 100.0])
    forecasts = Baselines([y], 4, 2).forecast(np.array([0]), np.array([2]))
    assert_allclose(forecasts["seasonal_naive"], [[7, 7]])
    assert_allclose(forecasts["naive"], [[7, 7]])


def test_nothing_observed_gives_no_forecast():
    forecasts = Baselines([np.array([nan, nan, 3.0])], 1, 1).forecast(np.array([0]), np.array([2]))
    assert np.isnan(forecasts["naive"]).all()


@pytest.mark.parametrize("wrong", ["mean of ratios", "unmasked"])
def test_sabotage_is_noticed(wrong: str):
    """The values above would not hold for the customary mistakes."""
    truth, forecast, mask = np.array([1.0, 2.0, 9.0]), np.array([2.0, 2.0, 0.0]), [1, 1, 0]
    right = scored(truth, forecast, mask=np.array(mask, dtype=bool)).scores()
    if wrong == "unmasked":
        assert scored(truth, forecast).scores()["mae"] != right["mae"]
    else:
        assert np.mean(np.abs(truth - forecast) / np.abs(truth)) * 100 != right["smape"]


def _around(centre, reach):
    centre = np.atleast_2d(centre).astype(float)
    return centre - reach, centre + reach
