"""What a forecaster may be told: every field with its default, help, unit and range."""
# ruff: noqa: RUF009 - setting() returns a dataclass field

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pandas as pd

from gatewise.data import PanelSchema, infer_schema
from gatewise.errors import GatewiseError, InvalidValueError
from gatewise.tasks.forecast.heads import Head, Loss
from gatewise.tasks.forecast.normalise import Normalization
from gatewise.tasks.forecast.shape import Reader
from gatewise.tasks.recurrent_cells import Cell
from gatewise.tasks.settings import setting
from gatewise.tasks.training_fields import TrainingFields

_data = partial(setting, group="data")
_network = partial(setting, group="network")
_forecast = partial(setting, group="forecast")
_training = partial(setting, group="training")


@dataclass(kw_only=True, eq=False, repr=False)
class ForecastFields(TrainingFields):
    """The fields of ``Forecaster``; each is described where it is declared."""

    horizon: int = _data(24, help="Steps to forecast", unit="steps", ge=1)
    lookback: int | None = _data(
        None, help="Steps to read; none: chosen from season, horizon and length", unit="steps", ge=1
    )
    target: str = _data("y", help="Column to forecast")
    id_column: str = _data("unique_id", help="Column that names the series")
    time_column: str | None = _data(
        None, help="Column of times; none: ds, or the only one with dates"
    )
    past_covariates: tuple[str, ...] = _data((), help="Columns known up to now")
    future_covariates: tuple[str, ...] = _data((), help="Columns known ahead")
    static_covariates: tuple[str, ...] = _data(
        (), help="Columns that do not change within a series"
    )
    calendar: bool = _data(
        default=True, help="Add hour, weekday, day of year as the frequency suggests"
    )
    frequency: str | None = _data(None, help="pandas offset alias such as h, D, MS; none: inferred")
    season_length: int | None = _data(
        None, help="Steps of a season; none: by the frequency", unit="steps", ge=1
    )
    validation_size: float = _data(
        0.15,
        help="End of each series kept for early stopping: a share below 1, else steps; 0: none",
        ge=0,
    )

    reader: Reader = _network("segments", help="Read the look-back step by step or in segments")
    segment_length: int | None = _network(
        None, help="Steps of a segment; none: a part of a season", unit="steps", ge=1
    )
    cell: Cell = _network("lstm", help="Kind of the recurrent layers")
    hidden_size: int = _network(128, help="Units of each recurrent layer", unit="units", ge=1)
    num_layers: int = _network(1, help="Recurrent layers", unit="layers", ge=1)
    dropout: float = _network(
        0.2, help="Dropped share between layers and before the output", ge=0, lt=1
    )
    normalization: Normalization = _network(
        "last", help="Of each window: subtract the last value, standardise, or nothing"
    )
    series_embedding: bool = _network(
        default=False, help="Learn a vector for each series; unknown series get their mean"
    )

    head: Head = _forecast(
        "point", help="Forecast one value, quantiles, or a Student-t distribution"
    )
    loss: Loss = _forecast("mae", help="Loss of the point head")
    quantiles: tuple[float, ...] = _forecast(
        (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975),
        help="Levels of the quantile head, 0.5 among them",
        gt=0,
        lt=1,
    )
    levels: tuple[float, ...] = _forecast(
        (80.0, 95.0), help="Nominal coverage of the intervals", unit="per cent", gt=0, lt=100
    )

    batch_size: int | None = _training(
        None, help="Windows of a batch; none: by their number, 16 to 512", unit="windows", ge=1
    )
    windows_per_epoch: int = _training(
        65_536,
        help="Windows of an epoch at most; with more, each epoch draws anew",
        unit="windows",
        ge=1,
    )

    def schema_of(self, frame: pd.DataFrame) -> PanelSchema:
        """Return what the columns of a table mean under these fields."""
        return infer_schema(
            frame,
            target=self.target,
            id_column=self.id_column,
            time_column=self.time_column,
            past=self.past_covariates,
            future=self.future_covariates,
            static=self.static_covariates,
            calendar=self.calendar,
            frequency=self.frequency,
            season_length=self.season_length,
        )

    def setting_faults(self) -> list[GatewiseError]:
        """Return contradictions between fields that are each valid alone."""
        faults: list[GatewiseError] = []
        if self.head == "quantiles":
            ascending = list(self.quantiles) == sorted(set(self.quantiles))
            if not ascending or 0.5 not in self.quantiles:
                wanted = "ascending levels with 0.5 among them"
                faults.append(InvalidValueError("quantiles", wanted, repr(self.quantiles)))
        if len(set(self.levels)) < len(self.levels):
            faults.append(InvalidValueError("levels", "each level once", repr(self.levels)))
        lookback = self.lookback if self.reader == "segments" else None
        if lookback is not None and (self.segment_length or 0) > lookback:
            wanted = f"at most lookback, {lookback} steps"
            faults.append(InvalidValueError("segment_length", wanted, str(self.segment_length)))
        return faults
