"""Tables that cannot be forecast: each a clear error that names the place and the remedy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatewise.errors import (
    GatewiseError,
    InvalidFileError,
    InvalidStateError,
    InvalidTypeError,
    InvalidValueError,
)
from gatewise.tasks import Forecaster
from tasks.cases import QUICK, waves


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return waves(rows=80)


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> Forecaster:
    table = frame.assign(x=0.5)
    return Forecaster(**QUICK, future_covariates=("x",)).fit(table, progress=False)


def refused(table: Any, kind: type[GatewiseError], message: str, **fields: Any) -> None:
    with pytest.raises(kind, match=message):
        Forecaster(**{**QUICK, **fields}).fit(table, progress=False)


def test_no_table(frame: pd.DataFrame):
    refused(None, InvalidTypeError, "Forecaster.fit: X: expected a path or a table, got None")
    refused(np.zeros(9), InvalidTypeError, "expected a path, a pandas or polars frame")
    with pytest.raises(InvalidTypeError, match=r"fit: y: expected nothing, got ndarray\. Put the"):
        Forecaster().fit(frame, np.zeros(3))


def test_no_file(tmp_path: Any):
    refused(tmp_path / "none.csv", InvalidFileError, "No such file")


def test_infinite_values(frame: pd.DataFrame):
    table = frame.copy()
    table.loc[17, "y"] = np.inf
    refused(table, InvalidValueError, "17.*inf|inf.*17")


def test_lacking_columns(frame: pd.DataFrame):
    refused(frame, InvalidValueError, "'temperature'", past_covariates=("temperature",))
    refused(frame, InvalidValueError, "'sales'", target="sales")


def test_too_short_for_training_and_validation(frame: pd.DataFrame):
    message = (
        r"series '\w', the longest: expected at least 36 steps \(look-back 24, horizon 6,"
        r" validation 6\), got 20\. Give longer"
    )
    short = frame.groupby("unique_id").head(20)
    refused(short, InvalidValueError, message)
    refused(short, InvalidValueError, "longest series, .a., has 20 steps", validation_size=0.0)


def test_without_a_look_back_one_is_chosen_that_fits(frame: pd.DataFrame):
    short = frame.groupby("unique_id").head(20)
    model = Forecaster(**{**QUICK, "lookback": None, "segment_length": None})
    fitted = model.fit(short, progress=False)
    # 20 - 6 for validation - 6 ahead leaves 8 steps, half of them for the look-back
    assert fitted.network_.shape.lookback == 4
    assert model.lookback is None


def test_a_short_series_among_long_ones_is_trained_on_whole(frame: pd.DataFrame):
    short = frame[frame["unique_id"] == "a"].head(31).assign(unique_id="c")
    model = Forecaster(**QUICK).fit(pd.concat([frame, short]), progress=False)
    assert model.model_.series == ("a", "b", "c")
    plain = Forecaster(**QUICK).fit(frame, progress=False)
    # 31 steps hold two windows of 24 + 6
    assert model.history_[0].samples == plain.history_[0].samples + 2


def test_predict_with_a_lacking_column(model: Forecaster, frame: pd.DataFrame):
    with pytest.raises(InvalidValueError, match="as in the training table, got no 'x'"):
        model.predict(frame)


def test_predict_without_the_covariates_of_the_horizon(model: Forecaster, frame: pd.DataFrame):
    with pytest.raises(InvalidValueError, match=r"series 'a', column 'x': .*all 6 steps"):
        model.predict(frame.assign(x=1.0))
    ends = frame["ds"].max()
    later = pd.DataFrame({"ds": pd.date_range(ends, periods=4, freq="h")[1:], "x": 1.0})
    with pytest.raises(InvalidValueError, match="column 'x'"):
        model.predict(frame.assign(x=1.0), future=later)


def test_evaluate_a_table_that_is_too_short(model: Forecaster, frame: pd.DataFrame):
    short = frame.groupby("unique_id").head(29).assign(x=1.0)
    with pytest.raises(InvalidValueError, match=r"30 steps.*'a', has 29 steps"):
        model.evaluate(short)


def test_a_report_of_a_loaded_model_needs_data(model: Forecaster, frame: pd.DataFrame, tmp_path):
    loaded = Forecaster.load(model.save(tmp_path / "model"))
    with pytest.raises(InvalidValueError, match="write_report: X: expected a table"):
        loaded.write_report(tmp_path / "report.html")
    assert loaded.write_report(tmp_path / "report.html", frame.assign(x=1.0)).exists()


def test_resume_without_a_run(frame: pd.DataFrame, tmp_path: Any):
    with pytest.raises(GatewiseError, match="checkpoint"):
        Forecaster(**QUICK).fit(frame, run_dir=tmp_path / "run", resume=True, progress=False)


def test_an_unfitted_forecaster_says_so(frame: pd.DataFrame, tmp_path: Any):
    fresh = Forecaster()
    for call in (fresh.describe, lambda: fresh.backtest(frame), lambda: fresh.encode(frame)):
        with pytest.raises(InvalidStateError, match="Call fit first"):
            call()
    with pytest.raises(InvalidStateError, match="write_report"):
        fresh.write_report(tmp_path / "report.html")
