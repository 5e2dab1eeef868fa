"""The sizes that a forecast network is built from: all that is needed to build it again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from gatewise.tasks.forecast.heads import Head, Loss
from gatewise.tasks.forecast.normalise import Normalization
from gatewise.tasks.recurrent_cells import Cell

Reader = Literal["points", "segments"]


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """Sizes and kinds of the parts of a ``ForecastNetwork``.

    Args:
        lookback: L steps that are read.
        horizon: h steps that are forecast.
        segment_length: Steps of a segment; used by the segment reader.
        num_series: Series that have an embedding of their own; 0 for no embeddings.
        past: Covariates known up to the forecast.
        future: Covariates known ahead.
        static: Covariates of the series.
        reader: ``points`` or ``segments``.
        cell: Of the recurrent layers.
        hidden_size: H of the recurrent layers.
        num_layers: L of them.
        dropout: Between the layers and before the output.
        head: ``point``, ``quantiles`` or ``student_t``.
        loss: Of the point head.
        quantiles: Of the quantile head.
        levels: Nominal coverages of the intervals, in per cent.
        normalization: Of each window.
    """

    lookback: int
    horizon: int
    segment_length: int
    num_series: int
    past: int
    future: int
    static: int
    reader: Reader
    cell: Cell
    hidden_size: int
    num_layers: int
    dropout: float
    head: Head
    loss: Loss
    quantiles: tuple[float, ...]
    levels: tuple[float, ...]
    normalization: Normalization

    @property
    def step_width(self) -> int:
        """Values of one step: y, whether it is missing, and the covariates."""
        return 2 + self.past + self.future

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> NetworkShape:
        """Return the shape that ``to_dict`` gave."""
        lists = {name: tuple(v) for name, v in fields.items() if isinstance(v, list)}
        return cls(**{**fields, **lists})
