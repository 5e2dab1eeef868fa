"""Constants that bring each series and each covariate to mean 0 and deviation 1.

They exist for float32: a series like 1e9 plus noise of 1 loses its noise when it is rounded as it
is, and keeps it when the mean is taken off in float64 first. ``y = value · scale + center`` gives
the units back. Networks normalise each window on top of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from gatewise.data.schema import PanelSchema
from gatewise.data.series import Series


@dataclass(frozen=True)
class PanelScale:
    """Centre and scale of every target and covariate; ``(value - center) / scale`` is used.

    A constant has its own magnitude as scale (1 where it is 0), never 0.

    Args:
        center: By series name: mean of the observed target up to the training end.
        scale: By series name: its standard deviation.
        past: Centre and scale of each past covariate, over all series.
        future: Of each known-future input; calendar features are left as they are.
        static: Of each static input; categories are left as they are.
    """

    center: dict[str, float]
    scale: dict[str, float]
    past: tuple[tuple[float, float], ...] = ()
    future: tuple[tuple[float, float], ...] = ()
    static: tuple[tuple[float, float], ...] = ()

    def of(self, series: Series) -> tuple[float, float]:
        """Return centre and scale of a series; of its own values if training never saw it."""
        if series.unique_id in self.center:
            return self.center[series.unique_id], self.scale[series.unique_id]
        return _center_scale(series.y)

    def to_dict(self) -> dict[str, Any]:
        """Return the constants as values that JSON can hold."""
        pairs = {k: [list(pair) for pair in getattr(self, k)] for k in ("past", "future", "static")}
        return {"center": dict(self.center), "scale": dict(self.scale), **pairs}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PanelScale:
        """Return the constants that ``to_dict`` described."""
        past, future, static = (
            tuple((float(center), float(scale)) for center, scale in values[k])
            for k in ("past", "future", "static")
        )
        return cls(dict(values["center"]), dict(values["scale"]), past, future, static)


def fit_scale(series: Sequence[Series], schema: PanelSchema, stops: Sequence[int]) -> PanelScale:
    """Compute the constants over the first ``stops[s]`` steps of each series.

    A series without an observed value in that part takes those of all its values.

    Args:
        series: The series, S.
        schema: What the columns mean.
        stops: Ends of the training parts in steps, S.

    Returns:
        The constants.
    """
    center, scale = {}, {}
    for one, stop in zip(series, stops, strict=True):
        part = one.y[:stop]
        used = one.y if np.isnan(part).all() else part
        center[one.unique_id], scale[one.unique_id] = _center_scale(used)
    past = np.concatenate([one.past[:stop] for one, stop in zip(series, stops, strict=True)])
    future = np.concatenate([one.future[:stop] for one, stop in zip(series, stops, strict=True)])
    static = np.stack([one.static for one in series])
    known = len(schema.future)
    plain = [name in schema.static for name in schema.static_names]
    return PanelScale(
        center,
        scale,
        tuple(_center_scale(column) for column in past.T),
        tuple(_center_scale(c) if k < known else (0.0, 1.0) for k, c in enumerate(future.T)),
        tuple(_center_scale(c) if plain[k] else (0.0, 1.0) for k, c in enumerate(static.T)),
    )


def _center_scale(values: Float64[np.ndarray, "N"]) -> tuple[float, float]:
    """Return mean and deviation of the values that are there, safe for constants and extremes."""
    values = values[~np.isnan(values)]
    peak = float(np.abs(values).max(initial=0.0))
    if peak == 0.0:
        return 0.0, 1.0
    relative = values / peak  # squares of 1e200 would overflow
    mean, deviation = float(relative.mean()), float(relative.std())
    if deviation < 1e-14:  # rounding of the mean, not variation
        return mean * peak, abs(mean) * peak
    return mean * peak, deviation * peak
