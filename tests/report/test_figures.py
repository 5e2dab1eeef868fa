"""Figures show the numbers they were given, and their captions count right."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import plotly.graph_objects as go
import pytest

from gatewise.errors import InvalidTypeError, InvalidValueError
from gatewise.report import figures, theme
from gatewise.report.figures.lines import axis_values, thin


def caption(figure: go.Figure) -> str:
    return figure.layout.meta["caption"]


def trace(figure: go.Figure, name: str) -> go.Scatter:
    return next(item for item in figure.data if item.name == name)


def test_forecast_draws_truth_forecast_and_baselines_at_their_times(panel):
    figure = figures.forecast_figure([panel])
    forecast = trace(figure, "forecast")
    np.testing.assert_array_equal(forecast.y, panel.forecast)
    assert list(forecast.x[:2]) == ["2024-02-10", "2024-02-11"]
    observed = trace(figure, "observed")
    np.testing.assert_array_equal(observed.y, np.concatenate([panel.history_y, panel.truth]))
    assert observed.x[0] == "2024-01-01"
    np.testing.assert_array_equal(trace(figure, "naive").y, panel.baselines["naive"])


def test_forecast_band_runs_along_the_upper_and_back_along_the_lower_bound(panel):
    lower, upper = np.arange(12.0), np.arange(12.0) + 5
    figure = figures.forecast_figure([dataclasses.replace(panel, intervals={0.5: (lower, upper)})])
    np.testing.assert_array_equal(
        trace(figure, "50% interval").y, np.concatenate([upper, lower[::-1]])
    )


def test_forecast_caption_counts_what_the_intervals_held(panel):
    text = caption(figures.forecast_figure([panel]))
    assert "The 80% interval holds 9 of the 12 values" in text
    assert "The 95% interval holds 11 of the 12 values" in text


def test_forecast_caption_leaves_out_values_nobody_knows(panel):
    truth = np.array(panel.truth, copy=True)
    truth[:4] = np.nan
    text = caption(figures.forecast_figure([dataclasses.replace(panel, truth=truth)]))
    assert "The 80% interval holds 5 of the 8 values" in text
    unknown = caption(figures.forecast_figure([dataclasses.replace(panel, truth=None)]))
    assert "holds" not in unknown


def test_forecast_says_how_many_series_and_steps_it_leaves_out(panel):
    figure = figures.forecast_figure([panel] * 9)
    assert "the first 6 of 9 series" in caption(figure)
    assert sum(item.name == "forecast" for item in figure.data) == 6
    long = dataclasses.replace(panel, history_ds=np.arange(500), history_y=np.arange(500.0))
    text = caption(figures.forecast_figure([dataclasses.replace(long, ds=np.arange(500, 512))]))
    assert "the last 60 observed steps" in text


def test_forecast_escapes_names(panel):
    figure = figures.forecast_figure([panel], value_name="<a href='x'>y</a>")
    assert figure.layout.annotations[0].text == "<b>shop &amp; &lt;b&gt;sons&lt;/b&gt;</b>"
    assert "<a" not in figure.layout.yaxis.title.text


@pytest.mark.parametrize("part", ["truth", "forecast", "history_y"])
def test_forecast_names_the_series_whose_arrays_do_not_fit(panel, part):
    with pytest.raises(InvalidValueError, match=f"shop.*{part}.*expected"):
        figures.forecast_figure([dataclasses.replace(panel, **{part: np.zeros(3)})])


def test_forecast_refuses_text(panel):
    with pytest.raises(InvalidTypeError, match="forecast: expected numbers"):
        figures.forecast_figure([dataclasses.replace(panel, forecast=["a"] * 12)])


def test_no_series_is_an_error():
    with pytest.raises(InvalidValueError, match="at least one series"):
        figures.forecast_figure([])
    with pytest.raises(InvalidValueError, match="at least one entry"):
        figures.horizon_error_figure({}, "MAE")
    with pytest.raises(InvalidValueError, match="at least one array"):
        figures.gates_figure({})


def test_horizon_counts_the_steps_where_the_model_is_better(all_figures):
    # The model's error is its step; naive has 6 everywhere: better at steps 1 to 5.
    assert "Lower than naive at 5 of 12 steps" in caption(all_figures["horizon"])
    assert "1 one step ahead, 12 at step 12" in caption(all_figures["horizon"])


def test_horizon_starts_at_one_step_ahead(all_figures):
    model = trace(all_figures["horizon"], "model")
    assert (model.x[0], model.x[-1]) == (1, 12)


def test_a_baseline_has_one_colour_in_every_figure(panel):
    horizon = figures.horizon_error_figure(
        {"model": [1.0, 2.0], "naive": [2.0, 3.0], "seasonal naive": [1.0, 1.0]}, "MAE"
    )
    forecast = figures.forecast_figure([panel])
    for name in ("naive", "seasonal naive"):
        assert trace(horizon, name).line.color == trace(forecast, name).line.color
    assert trace(horizon, "model").line.color == trace(forecast, "forecast").line.color


def test_training_marks_the_epoch_that_was_kept(all_figures):
    figure = all_figures["training"]
    assert {shape.x0 for shape in figure.layout.shapes} == {4}
    assert "marks epoch 4" in caption(figure)
    assert [item.yaxis for item in figure.data] == ["y", "y", "y2"]
    np.testing.assert_allclose(figure.data[2].y, 3 / np.arange(1, 6))


def test_training_refuses_lists_of_other_lengths():
    with pytest.raises(InvalidValueError, match="'mase': expected 3 values"):
        figures.training_curves_figure([1, 2, 3], [1.0, 0.5, 0.4], {"mase": [1.0]}, None)


def test_calibration_names_the_largest_gap(all_figures):
    assert "60% observed where 80% was promised" in caption(all_figures["calibration"])


def test_calibration_sorts_by_level():
    figure = figures.calibration_figure([0.9, 0.5], [0.8, 0.6])
    np.testing.assert_array_equal(trace(figure, "model").y, [0.6, 0.8])


def test_gates_stand_in_rows_sorted_by_the_forget_gate(gates):
    figure = figures.gates_figure(gates)
    titles = [item.text for item in figure.layout.annotations]
    assert [re.search(r"(\w)</b>", title)[1] for title in titles] == list("ifoghc")
    order = [3, 4, 2, 0, 5, 1]  # by falling forget gate
    for item, name in zip(figure.data, "ifoghc", strict=True):
        np.testing.assert_allclose(item.z, gates[name][:, order].T, rtol=1e-6)
        assert list(item.customdata[:, 0]) == [unit + 1 for unit in order]


def test_gates_and_states_have_scales_that_mean_something(gates):
    figure = figures.gates_figure(gates)
    layout, own = figure.layout, figure.layout[figure.data[-1].coloraxis]
    assert (layout.coloraxis.cmin, layout.coloraxis.cmax) == (0, 1)
    assert (layout.coloraxis2.cmin, layout.coloraxis2.cmax) == (-1, 1)
    assert own.cmax == pytest.approx(np.percentile(np.abs(gates["c"]), 99))
    assert own.cmin == -own.cmax
    middle = layout.coloraxis2.colorscale[2]
    assert middle == (0.5, theme.colour("paper"))


def test_gates_caption_says_how_long_units_remember(gates):
    # Half-life of 0.55 (the median unit's mean of 0.5 and 0.6 in steps) and of 0.99.
    half_lives = np.log(0.5) / np.log([0.5, 0.1, 0.6, 0.99, 0.7, 0.4])
    text = caption(figures.gates_figure(gates))
    assert f"for {np.median(half_lives):.2g} steps, the top one for {half_lives[3]:.2g}" in text


def _rows(figure: go.Figure) -> dict[str, tuple[str, str]]:
    """The title of each row and the colour axis it uses, by the name in its hover text."""
    titles = [item.text.removeprefix("<b>").removesuffix("</b>") for item in _titles_of(figure)]
    names = [item.hovertemplate.split()[0] for item in figure.data]
    axes = [item.coloraxis for item in figure.data]
    return dict(zip(names, zip(titles, axes, strict=True), strict=True))


def _titles_of(figure: go.Figure) -> list:
    return [item for item in figure.layout.annotations if item.text.startswith("<b>")]


def test_gates_of_a_gru_are_called_by_their_names_and_z_tells_the_memory(gates):
    trace = {"r": gates["i"], "z": gates["f"], "n": gates["g"], "h": gates["h"]}
    figure = figures.gates_figure(trace)
    assert _rows(figure) == {
        "r": ("reset gate r", "coloraxis"),
        "z": ("update gate z", "coloraxis"),
        "n": ("candidate n", "coloraxis2"),
        "h": ("output h", "coloraxis2"),
    }
    np.testing.assert_allclose(figure.data[1].z, gates["f"][:, [3, 4, 2, 0, 5, 1]].T, rtol=1e-6)
    assert "mean update gate, the longest memory on top" in caption(figure)


def test_z_of_a_minimal_gru_lets_in_what_is_new(gates):
    trace = {"z": gates["f"], "n": 3 * gates["g"], "h": gates["h"]}
    figure = figures.gates_figure(trace)
    np.testing.assert_allclose(figure.data[0].z, gates["f"][:, [1, 5, 0, 2, 4, 3]].T, rtol=1e-6)
    # A candidate beyond 1 has a scale of its own.
    assert _rows(figure)["n"][1] != _rows(figure)["h"][1] == "coloraxis2"


def test_with_a_stabiliser_names_mean_those_of_xlstm(gates):
    heads = gates["c"][:, :2]
    trace = {"log_i": heads, "log_f": heads, "z": gates["g"], "o": gates["o"], "c": gates["c"]}
    figure = figures.gates_figure(trace | {"n": gates["c"], "m": heads, "h": gates["h"]})
    rows = _rows(figure)
    assert [title for title, _ in rows.values()] == [
        "output gate o",
        "output h",
        "cell input z",
        "cell state c",
        "input gate, log i",
        "forget gate, log f",
        "normaliser n",
        "stabiliser m",
    ]
    assert (rows["o"][1], rows["z"][1]) == ("coloraxis", "coloraxis2")
    assert len({axis for _, axis in rows.values()}) == 8
    assert "one unit of the layer, or one head" in caption(figure)
    assert "sorted" not in caption(figure)


def test_large_gates_are_averaged_and_sampled_and_the_caption_says_so():
    values = np.random.default_rng(0).uniform(0, 1, (1100, 200))
    figure = figures.gates_figure({"i": values, "f": values})
    z = np.asarray(figure.data[0].z)
    assert z.shape == (64, 367)
    top = int(values.mean(axis=0).argmax())
    np.testing.assert_allclose(z[0, 0], values[:3, top].mean(), rtol=1e-6)
    np.testing.assert_allclose(z[0, -1], values[1098:, top].mean(), rtol=1e-6)
    assert "mean of 3 steps" in caption(figure)
    assert "64 of 200 units" in caption(figure)


def test_projected_output_keeps_its_own_units(gates):
    narrow = {**gates, "h": gates["h"][:, :2]}
    figure = figures.gates_figure(narrow)
    np.testing.assert_allclose(figure.data[4].z, narrow["h"].T, rtol=1e-6)


def test_gates_of_unlike_length_are_refused(gates):
    with pytest.raises(InvalidValueError, match=r"one T.*i \(40, 6\)"):
        figures.gates_figure({**gates, "c": gates["c"][:5]})
    with pytest.raises(InvalidValueError, match="labels: expected 40 times, got 3"):
        figures.gates_figure(gates, labels=[1, 2, 3])


def test_thinning_keeps_peaks_troughs_gaps_and_ends():
    y = np.zeros(100_000)
    y[12_345], y[77_777], y[50_000:50_003] = 9.0, -9.0, np.nan
    x, kept = thin(np.arange(y.size), y)
    assert len(kept) <= 2100
    assert {12_345, 77_777, 0, y.size - 1} <= set(x)
    assert np.isnan(kept).any()
    np.testing.assert_array_equal(kept, y[x])
    every_nth = y[:: y.size // 2000]
    assert np.nanmax(every_nth) < 9.0  # the simple way would have lost the peak


def test_short_lines_are_left_alone():
    x, y = thin(np.arange(5), np.arange(5.0))
    assert (len(x), len(y)) == (5, 5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array(["2024-01-01", "2024-01-02"], "datetime64[ns]"), ["2024-01-01", "2024-01-02"]),
        (np.array(["2024-01-01T06"], "datetime64[us]"), ["2024-01-01T06:00:00"]),
        ([3, 4], [3, 4]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_axis_values(values, expected):
    assert list(axis_values(values)) == expected


def test_surprise_names_the_token_that_was_expected_least(all_figures):
    figure = all_figures["surprise"]
    assert list(figure.data[0].y) == [1, 0.5, 6]
    # White space can be seen, and tags of users are text.
    assert list(figure.layout.xaxis.ticktext) == ["a", "␣", "&lt;b&gt;↵"]
    text = caption(figure)
    assert "2.50 bits a token on average" in text
    assert "expected least: “<b>↵”, 6.0 bits" in text


def test_rarity_says_what_the_rarest_cost(all_figures):
    figure = all_figures["rarity"]
    assert list(figure.data[0].x) == ["0 to 9", "10 and more"]
    text = caption(figure)
    assert "0 to 9: 25.0 % of the text at 9.0 bits a token" in text
    assert "10 and more: 75.0 % at 3.0 bits" in text


def test_nothing_to_draw_of_tokens_is_an_error():
    with pytest.raises(InvalidValueError, match="at least one token"):
        figures.surprise_figure([], [])
    with pytest.raises(InvalidValueError, match="at least one group"):
        figures.rarity_figure([], [], [])
    with pytest.raises(InvalidValueError, match="2 values"):
        figures.surprise_figure(["a", "b"], [1.0])
