"""The report and the description of a forecaster."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatewise.nn import LSTM
from gatewise.tasks import Forecaster
from tasks.cases import QUICK, waves


@pytest.mark.parametrize("reader", ["points", "segments"])
@pytest.mark.parametrize("head", ["point", "quantiles", "student_t"])
def test_the_report_holds_every_part(reader: str, head: str, tmp_path: Path):
    frame = waves(rows=100)
    model = Forecaster(**QUICK, reader=reader, head=head).fit(frame, progress=False)
    page = model.write_report(tmp_path / "report.html").read_text()
    for heading in (
        "Forecasts",
        "Scores",
        "Error by horizon",
        "Training",
        "Gates",
        "Settings",
    ):
        assert f">{heading}<" in page, heading
    for part in ("seasonal naive", "forget gate f", "learning_rate", "mase", "validation data"):
        assert part in page, part
    assert ("crps" in page) == (head != "point")
    # Intervals of a point head were set on the validation part: their coverage there says nothing.
    assert ("Calibration" in page) == (head != "point")
    given = model.write_report(tmp_path / "given.html", waves(rows=100, seed=1)).read_text()
    assert "Calibration of the intervals" in given


def test_one_series_shows_windows_that_do_not_overlap(tmp_path: Path):
    frame = waves(rows=150, series=("only",))
    model = Forecaster(**QUICK).fit(frame, progress=False)
    page = model.write_report(tmp_path / "report.html").read_text()
    # the last 22 of 150 hours validate: three windows of 6, the last one from 150 - 6
    ends = frame["ds"].iloc[[-18, -12, -6]]
    assert all(f"only, from {end:%Y-%m-%d}" in page for end in ends)


def test_the_report_is_the_same_for_data_given_again(tmp_path: Path):
    frame = waves(rows=100)
    fields = {**QUICK, "validation_size": 0.0, "head": "student_t"}
    model = Forecaster(**fields).fit(frame, progress=False)
    kept = model.write_report(tmp_path / "a.html").read_text()
    given = model.write_report(tmp_path / "b.html", frame).read_text()
    assert "training data" in kept
    assert "given table" in given
    assert abs(len(kept) - len(given)) < 500


@pytest.mark.parametrize("layers", [1, 2])
def test_flops_and_parameters_by_hand(layers: int):
    frame = waves(rows=100)
    fields = {**QUICK, "calendar": False, "hidden_size": 8, "num_layers": layers}
    facts = Forecaster(**fields).fit(frame, progress=False).describe()
    one = 2 * (4 * 8 * 8 + 4 * 8 * 8)  # x and h of width 8, four gates of 8 units, 2 flops each
    assert facts["flops_a_step"] == layers * one
    rows = {row["layer"]: row for row in facts["layers"]}
    lstm = rows["recurrent"]
    assert lstm["type"] == LSTM.__name__
    assert lstm["steps"] == 4  # 24 steps in segments of 6
    assert lstm["flops"] == 4 * layers * one
    assert lstm["parameters"] == layers * (2 * 4 * 8 * 8 + 2 * 4 * 8)
    segment = rows["segment"]
    assert segment["parameters"] == 6 * 2 * 8 + 8
    assert segment["flops"] == 4 * 2 * 6 * 2 * 8
    assert facts["weights_bytes"] >= 4 * facts["parameters"]
    assert facts["flops_a_forecast"] == sum(row["flops"] for row in facts["layers"])
    # Four gates, c and h of 8 units, in float32, over 4 segments.
    assert facts["training_bytes_a_window"] == 4 * 6 * 8 * layers * 4


def test_flops_of_other_cells_by_hand():
    fields = {**QUICK, "calendar": False, "hidden_size": 8, "max_epochs": 1}
    facts = {
        cell: Forecaster(cell=cell, **fields).fit(waves(rows=100), progress=False).describe()
        for cell in ("gru", "mlstm", "xlstm")
    }
    one = 2 * (3 * 8 * 8 + 3 * 8 * 8)
    assert facts["gru"]["flops_a_step"] == one
    future = next(row for row in facts["gru"]["layers"] if row["layer"] == "future segments")
    assert (future["type"], future["flops"]) == ("GRU step", one)
    # q, k, v, o, two gates of each of four heads; then memories of 2 x 2 written, faded and read.
    assert facts["mlstm"]["flops_a_step"] == 2 * (4 * 8 + 2 * 4) * 8 + 6 * 4 * 2 * 2
    # Up to twice 16 features, a convolution of 4 steps, small maps to q, k and v, two gates of each
    # head from all three, and down again; then memories of 4 x 4.
    products = 8 * 32 + 16 * 4 + 3 * 16 * 4 + 48 * 8 + 16 * 8
    assert facts["xlstm"]["flops_a_step"] == 2 * products + 6 * 4 * 4 * 4
    assert [row["type"] for row in facts["xlstm"]["layers"]].count("XLSTMLayers") == 1
