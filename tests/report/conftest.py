"""One figure of each kind, with data whose properties the tests know."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from gatewise.report import figures

STEPS, UNITS, HORIZON = 40, 6, 12


@pytest.fixture
def panel() -> figures.ForecastPanel:
    """A forecast of zeros; the 80 % interval holds 9 of 12 values, the 95 % interval 11."""
    days = np.datetime64("2024-01-01") + np.arange(STEPS + HORIZON) * np.timedelta64(1, "D")
    truth = np.array([0.5] * 9 + [1.5] * 2 + [9.0])
    one, two = np.full(HORIZON, 1.0), np.full(HORIZON, 2.0)
    return figures.ForecastPanel(
        name="shop & <b>sons</b>",
        history_ds=days[:STEPS],
        history_y=np.arange(STEPS, dtype=np.float64),
        ds=days[STEPS:],
        truth=truth,
        forecast=np.zeros(HORIZON),
        intervals={0.8: (-one, one), 0.95: (-two, two)},
        baselines={"seasonal naive": truth - 1, "naive": np.full(HORIZON, 39.0)},
    )


@pytest.fixture
def gates() -> dict[str, np.ndarray]:
    """Gates of six units; counted from 1, unit 4 has the highest forget gate, unit 2 the lowest."""
    rng = np.random.default_rng(3)
    forget = np.array([0.5, 0.1, 0.6, 0.99, 0.7, 0.4])
    trace = {name: rng.uniform(0, 1, (STEPS, UNITS)) for name in "io"}
    trace |= {name: rng.uniform(-1, 1, (STEPS, UNITS)) for name in "gh"}
    trace["f"] = np.tile(forget, (STEPS, 1))
    trace["c"] = rng.normal(0, 2, (STEPS, UNITS))
    return trace


@pytest.fixture
def all_figures(panel: figures.ForecastPanel, gates: dict[str, np.ndarray]) -> dict[str, go.Figure]:
    epochs = np.arange(1, 6)
    return {
        "forecast": figures.forecast_figure([panel, panel], value_name="sales, <i>kg</i>"),
        "horizon": figures.horizon_error_figure(
            {"model": np.arange(1.0, 13.0), "naive": np.full(12, 6.0)}, "MAE"
        ),
        "training": figures.training_curves_figure(
            epochs, 1 / epochs, {"loss": 2 / epochs, "mase": 3 / epochs}, 4
        ),
        "calibration": figures.calibration_figure([0.5, 0.8, 0.9], [0.45, 0.6, 0.91]),
        "gates": figures.gates_figure(gates),
        "surprise": figures.surprise_figure(["a", " ", "<b>\n"], [1.0, 0.5, 6.0]),
        "rarity": figures.rarity_figure(["0 to 9", "10 and more"], [9.0, 3.0], [0.25, 0.75]),
        "confusion": figures.confusion_figure([[8, 2], [1, 9]], ["<i>ham</i>", "spam & co"]),
        "reliability": figures.reliability_figure([0.6, 0.9], [0.5, 0.95], [10, 40], 0.06),
    }
