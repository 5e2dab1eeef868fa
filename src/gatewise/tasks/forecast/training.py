"""From a panel and settings to a fitted forecast model with its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from gatewise.data import Panel
from gatewise.tasks.course import Course, Fitted
from gatewise.tasks.forecast.baselines import seasonal_error
from gatewise.tasks.forecast.evaluation import MODEL, Evaluation, evaluate
from gatewise.tasks.forecast.fields import ForecastFields
from gatewise.tasks.forecast.heads import PointHead
from gatewise.tasks.forecast.model import ForecastModel, Part
from gatewise.tasks.forecast.network import ForecastNetwork
from gatewise.tasks.forecast.shape import NetworkShape
from gatewise.tasks.forecast.task import (
    ForecastTask,
    Sizes,
    calibrate,
    choose_batch_size,
    choose_sizes,
    measure_spread,
    parts,
)
from gatewise.training import fit


@dataclass(frozen=True)
class HeldOut:
    """Data to show a model on.

    Args:
        panel: The series.
        part: Which steps may be forecast.
        name: What these data are.
        fitted_on: Whether the fit has used them: to train, to stop, to set intervals.
    """

    panel: Panel
    part: Part
    name: str
    fitted_on: bool = False


def fit_forecast(
    settings: ForecastFields,
    panel: Panel,
    validation: Sequence[int] | None,
    *,
    directory: Path | None = None,
    resume: bool = False,
    progress: bool = False,
) -> tuple[Fitted[ForecastModel], HeldOut]:
    """Fit a model to a panel.

    Args:
        settings: Valid fields.
        panel: The series, those of a validation table included.
        validation: For each series the steps at its end that validate; None keeps the part that
            the settings say.
        directory: For checkpoints.
        resume: Go on from the checkpoint in it.
        progress: Show a progress bar.

    Raises:
        InvalidValueError: No series is long enough.
    """
    sizes = choose_sizes(
        panel,
        settings.horizon,
        settings.lookback,
        settings.segment_length,
        settings.validation_size if validation is None else validation,
    )
    model = _new_model(settings, panel, sizes)
    training, held_out = parts(panel, sizes.validation)
    split = "validation" if any(sizes.validation) else "training"
    if split == "training":
        held_out = training
    train, held = model.windows(panel, training), model.windows(panel, held_out)
    measure_spread(model, train)
    task = ForecastTask(
        train,
        held,
        model.network.head,
        model.network.normaliser.spread.clone(),
        settings.batch_size or choose_batch_size(len(train)),
        settings.windows_per_epoch,
    )
    result = fit(
        model.network,
        task,
        settings.fit_settings(),
        directory=directory,
        resume=resume,
        progress=progress,
    )
    model.network.to("cpu", torch.float32).eval()
    calibrate(model, held, settings.windows_per_epoch)
    scores = honest_scores(model, evaluate(model, held, settings.windows_per_epoch))
    fitted = Fitted(model, Course.of(result, scores, split))
    return fitted, HeldOut(panel, held_out, split, fitted_on=True)


def honest_scores(model: ForecastModel, evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Return the scores on data that the fit has used.

    Without the coverage of a point head: its intervals were set on these very residuals.
    """
    scores = evaluation.scores
    if isinstance(model.network.head, PointHead):
        kept = scores[MODEL].items()
        scores[MODEL] = {name: v for name, v in kept if not name.startswith("coverage")}
    return scores


def _new_model(settings: ForecastFields, panel: Panel, sizes: Sizes) -> ForecastModel:
    """An untrained model for a panel; its draws come from the seed alone."""
    stops = panel.lengths - sizes.validation
    shape = NetworkShape(
        lookback=sizes.lookback,
        horizon=settings.horizon,
        segment_length=sizes.segment_length,
        num_series=len(panel.series) if settings.series_embedding else 0,
        past=len(panel.past_names),
        future=len(panel.future_names),
        static=len(panel.static_names),
        reader=settings.reader,
        hidden_size=settings.hidden_size,
        cell=settings.cell,
        num_layers=settings.num_layers,
        dropout=settings.dropout,
        head=settings.head,
        loss=settings.loss,
        quantiles=settings.quantiles,
        levels=settings.levels,
        normalization=settings.normalization,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = ForecastNetwork(shape)
    season = panel.schema.season_length
    return ForecastModel(
        network,
        panel.schema,
        panel.fit_scale(stops.tolist()),
        tuple(one.unique_id for one in panel.series),
        tuple(
            seasonal_error(one.y[:stop], season)
            for one, stop in zip(panel.series, stops, strict=True)
        ),
    )
