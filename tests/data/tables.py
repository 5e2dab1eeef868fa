"""Small tables for the tests of the data package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from gatewise.data import Panel, build_panel, infer_schema

Write = Callable[..., Path]


def long_frame(
    lengths: dict[str, int], *, frequency: str = "D", start: str = "2024-01-01", seed: int = 0
) -> pd.DataFrame:
    """Return a long frame of random walks, one per name."""
    rng = np.random.default_rng(seed)
    pieces = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range(start, periods=n, freq=frequency),
                "y": rng.normal(size=n).cumsum(),
            }
        )
        for name, n in lengths.items()
    ]
    return pd.concat(pieces, ignore_index=True)


def panel_of(frame: pd.DataFrame, **options: object) -> Panel:
    """Return the panel of a frame under the schema inferred from it."""
    return build_panel(frame, infer_schema(frame, **options))
