"""The forecaster on data whose answer is known."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from gatewise.tasks import Forecaster, load
from gatewise.tasks.recurrent_cells import Cell
from tasks.cases import QUICK, waves


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return waves()


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> Forecaster:
    return Forecaster(**QUICK).fit(frame, progress=False)


def quick(**changes: Any) -> Forecaster:
    return Forecaster(**{**QUICK, **changes})


@pytest.mark.parametrize("reader", ["points", "segments"])
@pytest.mark.parametrize("head", ["point", "quantiles", "student_t"])
def test_learns_a_sine_far_better_than_naive(reader: str, head: str):
    frame = waves(rows=300)
    model = quick(
        reader=reader,
        head=head,
        hidden_size=24,
        max_epochs=12,
        batch_size=32,
        learning_rate=1e-2,
        dropout=0.0,
    )
    scores = model.fit(frame[:-60], progress=False).evaluate(frame)
    assert scores["model"]["mae"] < 0.15 * scores["naive"]["mae"]
    assert 0.6 < scores["model"]["coverage_80"] < 0.97
    if head != "point":
        assert scores["model"]["crps"] < 0.15 * scores["naive"]["crps"]


@pytest.mark.parametrize("reader", ["points", "segments"])
@pytest.mark.parametrize("cell", [cell for cell in get_args(Cell) if cell != "lstm"])
def test_every_cell_learns_is_saved_and_reports(reader: str, cell: str, tmp_path: Any):
    frame = waves(rows=200)
    model = quick(
        reader=reader,
        cell=cell,
        hidden_size=16,
        max_epochs=12,
        batch_size=32,
        learning_rate=1e-2,
        dropout=0.0,
    )
    scores = model.fit(frame[:-60], progress=False).evaluate(frame)
    assert scores["model"]["mae"] < 0.5 * scores["naive"]["mae"]
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.cell == cell
    assert_frame_equal(again.predict(frame), model.predict(frame))
    page = (tmp_path / "model" / "report.html").read_text()
    assert "Gates" in page


@pytest.mark.parametrize("reader", ["points", "segments"])
def test_learns_from_a_covariate_that_is_known_ahead(reader: str):
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    frame = pd.DataFrame({"ds": np.arange(400), "y": 5 + 2 * x, "x": x})
    fields = {"reader": reader, "future_covariates": ("x",), "dropout": 0.0, "max_epochs": 20}
    model = quick(**fields, hidden_size=24, learning_rate=2e-2).fit(frame[:340], progress=False)
    assert model.evaluate(frame[300:])["model"]["mae"] < 0.4
    blind = {**fields, "future_covariates": (), "past_covariates": ("x",)}
    other = quick(**blind, hidden_size=24, learning_rate=2e-2).fit(frame[:340], progress=False)
    assert other.evaluate(frame[300:])["model"]["mae"] > 1
    known, later = frame[:340], frame[340:346].drop(columns="y")
    forecast = model.predict(known, future=later)
    assert np.abs(forecast["forecast"].to_numpy() - frame["y"][340:346]).mean() < 0.4
    trailing = pd.concat([known, later])
    assert_frame_equal(model.predict(trailing), forecast)


@pytest.mark.parametrize("normalization", ["last", "mean_std", "none"])
def test_level_and_scale_of_the_data_do_not_matter(frame: pd.DataFrame, normalization: str):
    """Trained and asked on y·1024 + 2**20, it says the same ·1024 + 2**20."""
    fields = {"normalization": normalization, "head": "student_t"}
    plain = quick(**fields).fit(frame, progress=False).predict(frame)
    moved = frame.assign(y=frame["y"] * 1024 + 2**20)
    other = quick(**fields).fit(moved, progress=False).predict(moved)
    for column in ("forecast", "lo_80", "hi_95"):
        assert_allclose(other[column], plain[column] * 1024 + 2**20, rtol=1e-9, atol=1)


@pytest.mark.parametrize(("normalization", "factor"), [("last", 1.0), ("mean_std", 3.0)])
def test_a_fitted_model_follows_a_new_level(
    model_of: Any, frame, normalization: str, factor: float
):
    model = model_of(normalization=normalization)
    plain = model.predict(frame)["forecast"]
    moved = model.predict(frame.assign(y=frame["y"] * factor + 100))["forecast"]
    assert_allclose(moved, plain * factor + 100, atol=2e-4)


@pytest.fixture
def model_of(frame: pd.DataFrame) -> Any:
    return lambda **changes: quick(**changes).fit(frame, progress=False)


def test_a_high_level_costs_no_digits(model_of: Any, frame: pd.DataFrame):
    """In single precision 1e9 + noise of 1 would be 1e9."""
    high = model_of().fit(frame.assign(y=frame["y"] + 1e9), progress=False)
    for name, row in model_of().scores_.items():
        assert_allclose(high.scores_[name]["mae"], row["mae"], rtol=1e-3)


def test_what_is_missing_is_not_read(frame: pd.DataFrame):
    """Rows without y and rows left out are the same, in training and after it."""
    rng = np.random.default_rng(1)
    gone = (rng.random(len(frame)) < 0.2) & (frame["ds"] < frame["ds"].max())
    gone &= frame["ds"] > frame["ds"].min()
    empty = frame.assign(y=frame["y"].where(~gone))
    left_out = frame[~gone]
    a = quick().fit(empty, progress=False)
    b = quick().fit(left_out, progress=False)
    assert_frame_equal(a.predict(empty), b.predict(left_out), check_exact=True)
    assert a.scores_ == b.scores_
    assert np.isfinite(a.predict(empty)["forecast"]).all()


def test_predict_begins_after_the_last_value_of_each_series(model: Forecaster, frame):
    shorter = frame.drop(index=frame[frame["unique_id"] == "a"].index[-5:])
    forecast = model.predict(shorter)
    assert list(forecast.columns) == [
        "unique_id", "ds", "forecast", "lo_80", "hi_80", "lo_95", "hi_95",
    ]  # fmt: skip
    assert forecast["unique_id"].tolist() == ["a"] * 6 + ["b"] * 6
    ends = shorter.groupby("unique_id")["ds"].max()
    for name, rows in forecast.groupby("unique_id"):
        expected = pd.date_range(ends[name], periods=7, freq="h")[1:]
        assert rows["ds"].tolist() == expected.tolist()
    assert (forecast["lo_95"] <= forecast["lo_80"]).all()
    assert (forecast["lo_80"] < forecast["hi_80"]).all()
    assert (forecast["hi_80"] <= forecast["hi_95"]).all()


def test_quantile_columns():
    frame = waves(rows=100)
    model = quick(head="quantiles", quantiles=(0.1, 0.5, 0.9)).fit(frame, progress=False)
    forecast = model.predict(frame)
    assert list(forecast.columns)[3:] == ["lo_80", "hi_80", "q_0.1", "q_0.5", "q_0.9"]
    assert_allclose(forecast["q_0.5"], forecast["forecast"])
    assert (forecast["q_0.1"] < forecast["q_0.5"]).all()


def test_time_zones_and_integer_identities_come_back_as_they_were(frame: pd.DataFrame):
    zone = "Europe/Berlin"  # the clock changes within the forecast
    ds = pd.date_range("2024-03-29 13:00", periods=36, freq="h", tz=zone)
    table = pd.DataFrame({"unique_id": 7, "ds": ds, "y": np.sin(np.arange(36.0))})
    forecast = quick(lookback=12).fit(table, progress=False).predict(table)
    assert forecast["ds"].dtype == table["ds"].dtype
    assert forecast["ds"].tolist() == pd.date_range(ds[-1], periods=7, freq="h")[1:].tolist()
    assert forecast["ds"].iloc[-1].hour == 7  # six hours after midnight, one of them skipped
    assert forecast["unique_id"].dtype == np.dtype("int64")


def test_integer_time():
    table = pd.DataFrame({"t": np.arange(0, 300, 3), "y": np.sin(np.arange(100.0))})
    forecast = quick(time_column="t").fit(table, progress=False).predict(table)
    assert forecast["ds"].tolist() == [300, 303, 306, 309, 312, 315]
    assert forecast["ds"].dtype == np.dtype("int64")


def test_wide_tables_files_and_polars(model: Forecaster, frame: pd.DataFrame, tmp_path: Any):
    pl = pytest.importorskip("polars")
    expected = model.predict(frame)
    frame.to_csv(tmp_path / "long.csv", index=False)
    assert_frame_equal(model.predict(tmp_path / "long.csv"), expected, check_dtype=False)
    assert_frame_equal(model.predict(pl.from_pandas(frame)), expected, check_dtype=False)
    wide = frame.pivot_table(index="ds", columns="unique_id", values="y").reset_index()
    fitted = quick().fit(wide.rename_axis(columns=None), progress=False)
    assert_frame_equal(fitted.predict(wide.rename_axis(columns=None)), expected, check_dtype=False)


def test_unseen_and_short_series(model: Forecaster, frame: pd.DataFrame):
    new = frame[frame["unique_id"] == "a"].tail(4).assign(unique_id="new")
    forecast = model.predict(pd.concat([frame, new]))
    assert forecast.groupby("unique_id").size().to_dict() == {"a": 6, "b": 6, "new": 6}
    rows = forecast[forecast["unique_id"] == "new"]
    assert np.isfinite(rows["forecast"]).all()
    assert np.abs(rows["forecast"] - new["y"].mean()).max() < 5
    known = forecast[forecast["unique_id"] != "new"]
    assert_frame_equal(known.reset_index(drop=True), model.predict(frame))


def pulses(names: str) -> pd.DataFrame:
    """Flat for 12 steps, then a wave: upward first for u, downward first for d."""
    t = np.arange(192)
    wave = np.where(t % 24 < 12, 0.0, np.sin(2 * np.pi * t / 12))
    tables = [
        pd.DataFrame({"unique_id": f"{name}{k}", "ds": t, "y": wave * sign, "kind": name})
        for k, name in enumerate(names)
        for sign in ({"u": 1.0, "d": -1.0}[name],)
    ]
    return pd.concat(tables)


@pytest.mark.parametrize("reader", ["points", "segments"])
@pytest.mark.parametrize("told", [{"series_embedding": True}, {"static_covariates": ("kind",)}])
def test_what_a_series_is_tells_what_its_window_does_not(reader: str, told: dict[str, Any]):
    """After a flat window only the series says whether the wave goes up or down."""
    fields = {"lookback": 8, "segment_length": 4, "hidden_size": 24, "dropout": 0.0}
    training = {"max_epochs": 8, "learning_rate": 1e-2, "reader": reader, "batch_size": 32}
    frame = pulses("udud")
    flat = frame[frame["ds"] < 180]  # the last 12 values of each series are 0

    def forecasts(**more: Any) -> np.ndarray:
        model = quick(**fields, **training, **more).fit(frame, progress=False)
        return model.predict(flat)["forecast"].to_numpy().reshape(4, -1)

    up, down, *_ = forecasts(**told)
    assert up.max() > 0.25
    assert down.min() < -0.25
    up, down, *_ = forecasts()
    assert_allclose(up, down, atol=1e-6)


def test_a_constant_series_is_forecast_as_it_is():
    frame = pd.DataFrame({"ds": np.arange(80), "y": 5.0})
    forecast = quick().fit(frame, progress=False).predict(frame)
    assert_allclose(forecast["forecast"], 5.0, atol=0.01)
    assert np.isfinite(forecast.select_dtypes("number")).all(axis=None)


def test_validation_table_is_the_same_as_the_kept_part(frame: pd.DataFrame):
    ends = frame["ds"].unique()[-20]
    train, later = frame[frame["ds"] < ends], frame[frame["ds"] >= ends]
    split = quick(validation_size=20.0).fit(frame, progress=False)
    given = quick().fit(train, validation=later, progress=False)
    assert split.history_[-1].scores == given.history_[-1].scores
    assert split.scores_ == given.scores_
    assert_frame_equal(split.predict(frame), given.predict(frame), check_exact=True)


def test_the_validation_part_is_not_trained_on(frame: pd.DataFrame):
    """Other values there change the scores, not the weights after one epoch."""
    ends = frame["ds"].unique()[-20]
    other = frame.assign(y=frame["y"].where(frame["ds"] < ends, 3.0))
    a = quick(validation_size=20.0, max_epochs=1).fit(frame, progress=False)
    b = quick(validation_size=20.0, max_epochs=1).fit(other, progress=False)
    assert a.history_[0].train_loss == b.history_[0].train_loss
    assert a.scores_ != b.scores_
    assert_frame_equal(
        a.predict(frame)[["forecast"]], b.predict(frame)[["forecast"]], check_exact=True
    )


def test_without_validation_the_scores_say_so(frame: pd.DataFrame):
    model = quick(validation_size=0.0).fit(frame, progress=False)
    assert model.split_ == "training"
    assert quick().fit(frame, progress=False).split_ == "validation"


def test_an_epoch_has_as_many_windows_as_allowed(frame: pd.DataFrame):
    model = quick(windows_per_epoch=40, batch_size=16).fit(frame, progress=False)
    assert [record.samples for record in model.history_] == [40, 40]


def test_a_resumed_fit_is_the_fit_that_was_never_stopped(frame: pd.DataFrame, tmp_path: Any):
    whole = quick(max_epochs=4).fit(frame, progress=False)
    quick(max_epochs=2).fit(frame, run_dir=tmp_path / "run", progress=False)
    resumed = quick(max_epochs=4).fit(frame, run_dir=tmp_path / "run", resume=True, progress=False)
    assert len(resumed.history_) == 4
    assert_frame_equal(resumed.predict(frame), whole.predict(frame), check_exact=True)
    assert_frame_equal(Forecaster.load(tmp_path / "run").predict(frame), whole.predict(frame))


def test_encode_network_decode_is_predict(model: Forecaster, frame: pd.DataFrame):
    outputs = model.network_(**model.encode(frame)).detach()
    assert_frame_equal(model.decode(outputs, frame), model.predict(frame), check_exact=True)
