"""Parts that the reports of all estimators have: scores beside baselines, training, settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatewise.report import Report, figures
from gatewise.tasks.course import Course


def add_scores(report: Report, scores: Mapping[str, Mapping[str, float]], note: str = "") -> None:
    """Add a table with a row for the model, which comes first, and one for each baseline."""
    model = next(iter(scores))
    names = scores[model]
    rows = [
        [name.replace("_", " "), *(row.get(score) for score in names)]
        for name, row in scores.items()
    ]
    report.table("Scores", ["", *names], rows, note=note, emphasise=model)


def add_training(report: Report, course: Course) -> None:
    """Add the curves of loss and scores by epoch, if there was a fit."""
    history = course.history
    if not history:
        return
    figure = figures.training_curves_figure(
        [record.epoch for record in history],
        [record.train_loss for record in history],
        {name: [record.scores[name] for record in history] for name in history[0].scores},
        course.best_epoch,
    )
    report.figure("Training", figure)


def add_settings(report: Report, settings: Mapping[str, Any]) -> None:
    """Add a table of the fields of an estimator."""
    rows = [[name, _setting_text(value)] for name, value in settings.items()]
    report.table("Settings", ["field", "value"], rows)


def _setting_text(value: Any) -> str:
    if value is None:
        return "auto"
    if isinstance(value, tuple):
        return ", ".join(str(element) for element in value) or "none"
    return str(value)
