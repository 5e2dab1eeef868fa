"""The report of a text classifier: how well, which classes, how sure, and the hardest texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float

from gatewise.report import Report, figures
from gatewise.tasks.classification.evaluation import MODEL, Evaluation, evaluate
from gatewise.tasks.classification.model import ClassifierModel
from gatewise.tasks.classification.scores import class_table, confidences, decided
from gatewise.tasks.classification.training import HeldOut
from gatewise.tasks.course import Fitted
from gatewise.tasks.reliability import reliability
from gatewise.tasks.report_parts import add_scores, add_settings, add_training

SCORED: Final = 20_000
"""Texts that are classified for the report at most, evenly spread."""

HARDEST: Final = 12
"""Texts that are shown."""

LETTERS: Final = 220
"""Of a text that are shown at most."""

_SHOWN: Final = {"accuracy": "Accuracy", "f1_micro": "Micro F1", "f1_macro": "Macro F1"}


def write_report(
    path: Path, fitted: Fitted[ClassifierModel], held_out: HeldOut, settings: Mapping[str, Any]
) -> Path:
    """Write the page.

    Args:
        path: The HTML file.
        fitted: The model and its training.
        held_out: The texts to show it on.
        settings: Fields of the estimator.
    """
    model, texts = fitted.model, held_out.texts
    if len(texts) > SCORED:
        places = np.linspace(0, len(texts) - 1, SCORED).astype(np.int64)
        texts = [texts[k] for k in places.tolist()]
    evaluation = evaluate(model, texts)
    report = Report(
        f"Texts in {len(model.labels)} classes",
        f"{model.baselines.total:,} training texts · {len(texts):,} texts classified ·"
        f" {held_out.name}",
    )
    _headline(report, evaluation)
    add_scores(report, evaluation.scores, _score_note(evaluation, held_out))
    if not model.multi_label:
        report.figure("Confusions", _confusions(model, evaluation))
    _classes(report, model, evaluation)
    _calibration(report, model, evaluation)
    _hardest(report, model, evaluation)
    add_training(report, fitted.course)
    add_settings(report, settings)
    return report.write(path)


def _headline(report: Report, evaluation: Evaluation) -> None:
    ours, *others = evaluation.scores.values()
    for name, label in _SHOWN.items():
        if name in ours:
            best = max(row[name] for row in others)
            report.number(label, f"{ours[name]:.1%}", note=f"best baseline: {best:.1%}")
    error = ours["calibration_error"]
    report.number("Calibration error", f"{error:.1%}", note="0 is perfect")


def _confusions(model: ClassifierModel, evaluation: Evaluation) -> Any:
    chosen = decided(evaluation.probabilities, multi_label=False)
    counts = evaluation.truth.astype(np.int64).T @ chosen.astype(np.int64)
    return figures.confusion_figure(counts, model.labels.tokens)


def _classes(report: Report, model: ClassifierModel, evaluation: Evaluation) -> None:
    chosen = decided(evaluation.probabilities, multi_label=model.multi_label)
    table = class_table(evaluation.truth, chosen)
    rows = [
        [name, *map(float, scores), int(support)]
        for name, *scores, support in zip(
            model.labels.tokens, table.precision, table.recall, table.f1, table.support, strict=True
        )
    ]
    rows.sort(key=lambda row: (-row[-1], row[0]))
    report.table("Classes", ["class", "precision", "recall", "F1", "texts"], rows)


def _calibration(report: Report, model: ClassifierModel, evaluation: Evaluation) -> None:
    held = reliability(
        *confidences(evaluation.truth, evaluation.probabilities, multi_label=model.multi_label)
    )
    figure = figures.reliability_figure(held.confidence, held.accuracy, held.count, held.error)
    report.figure("Calibration", figure)


def _hardest(report: Report, model: ClassifierModel, evaluation: Evaluation) -> None:
    """The mistakes that the model was surest of."""
    chosen = decided(evaluation.probabilities, multi_label=model.multi_label)
    wrong = np.flatnonzero((chosen != evaluation.truth).any(1))
    if not len(wrong):
        report.text("Hardest texts", "All texts were classified rightly.")
        return
    given = _probability_of_truth(model, evaluation)
    order = wrong[np.argsort(given[wrong], kind="stable")][:HARDEST]
    rows = [
        [
            _names(model, evaluation.truth[k]),
            _names(model, chosen[k]),
            f"{given[k]:.1%}",
            _cut(evaluation.texts[k].text),
            str(evaluation.texts[k].place),
        ]
        for k in order.tolist()
    ]
    report.table(
        "Hardest texts",
        ["true", "predicted", "p(true)", "text", "place"],
        rows,
        note=f"The mistakes that the model was surest of, {len(rows)} of {len(wrong):,}, with the"
        " probability that it gave the truth. Some may be mistakes of the labels.",
    )


def _probability_of_truth(model: ClassifierModel, evaluation: Evaluation) -> Float[np.ndarray, "N"]:
    """Of the true class; of several labels, of the yes or no that was believed least."""
    truth, probabilities = evaluation.truth, evaluation.probabilities
    if not model.multi_label:
        return probabilities[truth]
    return np.where(truth, probabilities, 1 - probabilities).min(1)


def _names(model: ClassifierModel, row: Bool[np.ndarray, "C"]) -> str:
    return ", ".join(model.labels.tokens[k] for k in np.flatnonzero(row).tolist()) or "none"


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def _score_note(evaluation: Evaluation, held_out: HeldOut) -> str:
    several = "f1_micro" in evaluation.scores[MODEL]
    said = "the labels that half of the texts have" if several else "the most frequent class"
    return (
        f"{len(evaluation.texts):,} texts, {held_out.name} data. Higher is better, but of log_loss"
        " (nats) and calibration_error."
        + (" Accuracy is the share of texts whose labels are all right." if several else "")
        + f" Naive Bayes counts words and bigrams; majority always says {said}."
        + (" The best epoch was chosen on these texts." if held_out.fitted_on else "")
    )  # fmt: skip
