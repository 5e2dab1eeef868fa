"""Small tables and quick settings that the tests of tasks share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

QUICK: dict[str, Any] = {
    "horizon": 6,
    "lookback": 24,
    "segment_length": 6,
    "hidden_size": 8,
    "season_length": 12,
    "max_epochs": 2,
    "batch_size": 64,
}
"""Settings of a forecaster that learns next to nothing in a moment."""


def waves(rows: int = 150, series: tuple[str, ...] = ("a", "b"), seed: int = 0) -> pd.DataFrame:
    """A long table of hourly sines of period 12 with noise, one level for each series."""
    rng = np.random.default_rng(seed)
    tables = []
    for k, name in enumerate(series):
        t = np.arange(rows)
        y = 10 * k + np.sin(2 * np.pi * (t + k) / 12) + 0.05 * rng.normal(size=rows)
        ds = pd.date_range("2024-01-01", periods=rows, freq="h")
        tables.append(pd.DataFrame({"unique_id": name, "ds": ds, "y": y}))
    return pd.concat(tables, ignore_index=True)


QUICK_LANGUAGE: dict[str, Any] = {
    "embedding_size": 8,
    "hidden_size": 8,
    "streams": 4,
    "steps": 8,
    "max_epochs": 2,
}
"""Settings of a language model that learns next to nothing in a moment."""


def sentences(count: int = 60, seed: int = 0) -> list[str]:
    """Short sentences of a grammar that a model can learn something of."""
    rng = np.random.default_rng(seed)
    nouns, verbs = ["the cat", "a dog", "Ada"], ["sees", "hears", "likes"]
    return [f"{rng.choice(nouns)} {rng.choice(verbs)} {rng.choice(nouns)} ." for _ in range(count)]
