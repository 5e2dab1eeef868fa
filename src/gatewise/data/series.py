"""One series on a regular time grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64


@dataclass(frozen=True, eq=False)
class Series:
    """One series, gaps filled with NaN, up to its last observed value.

    Args:
        unique_id: Its name.
        ds: Its n timestamps, one a step.
        y: Target, n; the last one is observed.
        past: Past covariates, n x Kp. Missing ones carry the last value forward; NaN before the
            first.
        future: Known-future covariates, m x Kf with m ≥ n: the columns of the table (filled
            likewise up to n; NaN after n where they are not known), then calendar features.
        static: Static covariates, Ks; NaN where missing.
    """

    unique_id: str
    ds: pd.Index
    y: Float64[np.ndarray, "n"]
    past: Float64[np.ndarray, "n Kp"]
    future: Float64[np.ndarray, "m Kf"]
    static: Float64[np.ndarray, "Ks"]

    def __len__(self) -> int:
        return len(self.y)
