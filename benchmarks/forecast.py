"""Long-horizon forecasts of ETTh1 beside published scores.

    python benchmarks/forecast.py --data DIR
    python benchmarks/forecast.py --data DIR --search

The customary set-up: seven channels as seven series of one model, look-back 96, 12, 4 and 4 months
of 30 days to train, validate and test, all standardised by the training rows; no batch is dropped,
every window of the test months counts, MSE and MAE are means over all channels, windows and steps.
The settings were chosen by `--search`, which sees the validation months alone; its outcome is in
`results/forecast_search.md`, and that of the test in `results/forecast_etth1.md`.

Published scores: SegRNN, https://github.com/lss-1138/SegRNN, table for look-back 96.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import pandas as pd
import torch
from machine import processor

from gatewise import __version__
from gatewise.tasks import Forecaster

LOOKBACK = 96
TRAIN, VALIDATION, TEST = 8640, 2880, 2880
SEGRNN = {96: (0.368, 0.395), 192: (0.408, 0.419), 336: (0.444, 0.440), 720: (0.446, 0.457)}
RESULTS = Path(__file__).parent / "results"

SETTINGS: dict[str, Any] = {
    "lookback": LOOKBACK,
    "segment_length": 24,
    "hidden_size": 256,
    "dropout": 0.3,
    "series_embedding": True,
    "calendar": False,
    "batch_size": 256,
    "windows_per_epoch": 20_000,
    "learning_rate": 3e-4,
    "schedule": "exponential",
    "decay": 0.85,
    "max_epochs": 12,
    "patience": 4,
}

BY_HORIZON: dict[int, dict[str, Any]] = {96: {"learning_rate": 1e-3}, 192: {"learning_rate": 1e-3}}
"""What differs at some horizons: short ones, with more windows for each output, learn faster."""

SEARCH: list[tuple[int, dict[str, Any]]] = [
    (96, {}),
    (96, {"learning_rate": 3e-4}),
    (96, {"dropout": 0.5}),
    (96, {"dropout": 0.1}),
    (96, {"segment_length": 12}),
    (96, {"segment_length": 48}),
    (192, {}),
    (192, {"learning_rate": 3e-4}),
    (336, {}),
    (336, {"learning_rate": 1e-3}),
    (720, {}),
    (720, {"learning_rate": 1e-3}),
]
"""Horizon, and what is changed in its settings; first seed. The best validation MSE decides; of two
that are close, as at horizon 192, its mean over three seeds."""


class Outcome(NamedTuple):
    """Scores of the seeds of one horizon."""

    horizon: int
    mse: list[float]
    mae: list[float]
    naive: tuple[float, float]
    minutes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="directory that holds ett/")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--horizons", type=int, nargs="+", default=list(SEGRNN))
    parser.add_argument("--search", action="store_true", help="try settings on the validation part")
    arguments = parser.parse_args()
    source = arguments.data / "ett" / "ETTh1.csv.gz"
    if not source.exists():
        raise SystemExit(f"{source}: not found. Pass the directory that holds ett/ETTh1.csv.gz.")
    frame = standardised(source)
    RESULTS.mkdir(exist_ok=True)
    start = time.monotonic()
    if arguments.search:
        search(frame, start)
        return
    outcomes: list[Outcome] = []
    for horizon in arguments.horizons:
        outcomes.append(measured(frame, horizon, arguments.seeds))
        # After each horizon: a run that is stopped keeps what it has measured.
        text = table(outcomes, arguments.seeds, time.monotonic() - start)
        (RESULTS / "forecast_etth1.md").write_text(text)
    print(f"\n{text}")


def standardised(source: Path) -> pd.DataFrame:
    """The table with every channel at mean 0 and deviation 1 over the training rows."""
    frame = pd.read_csv(source, parse_dates=["date"]).rename(columns={"date": "ds"})
    channels = frame.columns.drop("ds")
    train = frame.loc[: TRAIN - 1, channels]
    frame[channels] = (frame[channels] - train.mean()) / train.std(ddof=0)
    return frame


def fitted(frame: pd.DataFrame, horizon: int, seed: int, change: Mapping[str, Any]) -> Forecaster:
    """A forecaster that has seen the training and the validation months."""
    settings = {**SETTINGS, **BY_HORIZON.get(horizon, {}), **change}
    model = Forecaster(horizon=horizon, seed=seed, **settings)
    train, validation = frame[:TRAIN], frame[TRAIN : TRAIN + VALIDATION]
    return model.fit(train, validation=validation)


def measured(frame: pd.DataFrame, horizon: int, seeds: int) -> Outcome:
    """Fit and test with every seed."""
    test = frame[TRAIN + VALIDATION - LOOKBACK : TRAIN + VALIDATION + TEST]
    scores, start = [], time.monotonic()
    for seed in range(seeds):
        model = fitted(frame, horizon, seed, {})
        scores.append(model.evaluate(test))
        own = scores[-1]["model"]
        print(f"horizon {horizon} seed {seed}: MSE {own['mse']:.4f} MAE {own['mae']:.4f}")
    naive = scores[0]["naive"]
    minutes = (time.monotonic() - start) / 60
    mse, mae = ([row["model"][score] for row in scores] for score in ("mse", "mae"))
    return Outcome(horizon, mse, mae, (naive["mse"], naive["mae"]), minutes)


def search(frame: pd.DataFrame, start: float) -> None:
    """Try every line of SEARCH; the test months are not looked at."""
    lines = [
        "# Settings for ETTh1, tried on the validation months",
        "",
        "Seed 0; each line changes the settings of `forecast.py` in one point.",
        "",
        "| horizon | change | validation MSE | MAE | best epoch | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for horizon, change in SEARCH:
        began = time.monotonic()
        model = fitted(frame, horizon, 0, change)
        scores = model.scores_["model"]
        minutes = (time.monotonic() - began) / 60
        lines.append(
            f"| {horizon} | {listed(change)} | {scores['mse']:.4f} | {scores['mae']:.4f} |"
            f" {model.best_epoch_} | {minutes:.1f} |"
        )
        print(lines[-1], flush=True)
        text = "\n".join([*lines, "", machine(time.monotonic() - start), ""])
        (RESULTS / "forecast_search.md").write_text(text)


def table(outcomes: Iterable[Outcome], seeds: int, seconds: float) -> str:
    """The scores beside published ones, as Markdown."""
    lines = [
        "# ETTh1, multivariate, look-back 96",
        "",
        f"Mean over {seeds} seeds ± deviation of the MSE; standardised units, lower is better.",
        "",
        "| horizon | gatewise MSE | MAE | SegRNN MSE | MAE | naive MSE | MAE | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        published = SEGRNN.get(outcome.horizon, (float("nan"), float("nan")))
        spread = stdev(outcome.mse) if len(outcome.mse) > 1 else 0.0
        lines.append(
            f"| {outcome.horizon} | {mean(outcome.mse):.3f} ± {spread:.3f} |"
            f" {mean(outcome.mae):.3f} | {published[0]:.3f} | {published[1]:.3f} |"
            f" {outcome.naive[0]:.3f} | {outcome.naive[1]:.3f} | {outcome.minutes:.1f} |"
        )
    lines += ["", machine(seconds), "", "Settings, chosen on the validation months:", ""]
    lines.append(f"- at every horizon: {listed(SETTINGS)}")
    lines += [f"- but at {horizon}: {listed(own)}" for horizon, own in BY_HORIZON.items()]
    return "\n".join([*lines, ""])


def listed(settings: Mapping[str, Any]) -> str:
    """Settings in one line."""
    return ", ".join(f"{name} = {value}" for name, value in settings.items()) or "none"


def machine(seconds: float) -> str:
    """Where and how long this ran."""
    return (
        f"{seconds / 60:.0f} minutes in all on {torch.get_num_threads()} thread(s) of"
        f" {processor()}; gatewise {__version__}, torch {torch.__version__}, Python"
        f" {platform.python_version()}."
    )


if __name__ == "__main__":
    main()
