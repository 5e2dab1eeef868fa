"""Scores of classifications: accuracy, F1, log loss, calibration, and a table of the classes.

Everything is counted on N×C matrices of booleans, a row for each text and a column for each class,
so that texts with one label and with several are scored alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from gatewise.tasks.reliability import reliability

_LEAST: Final = float(np.finfo(np.float64).eps)
"""Probability below which the log loss does not look, as in scikit-learn."""


def decided(
    probabilities: Float[np.ndarray, "N C"], *, multi_label: bool
) -> Bool[np.ndarray, "N C"]:
    """Return which classes are predicted: the most probable one, or all with at least one half."""
    if multi_label:
        return probabilities >= 0.5
    return np.arange(probabilities.shape[1]) == probabilities.argmax(1)[:, None]


def score(
    truth: Bool[np.ndarray, "N C"], probabilities: Float[np.ndarray, "N C"], *, multi_label: bool
) -> dict[str, float]:
    """Return all scores of probabilities by name.

    Args:
        truth: Which classes each text has.
        probabilities: Of each class; rows sum to one unless ``multi_label``.
        multi_label: Whether a text may have several labels.
    """
    names = score_decisions(truth, decided(probabilities, multi_label=multi_label), multi_label)
    names["log_loss"] = log_loss(truth, probabilities, multi_label=multi_label)
    confidence, right = confidences(truth, probabilities, multi_label=multi_label)
    names["calibration_error"] = reliability(confidence, right).error
    return names


def score_decisions(
    truth: Bool[np.ndarray, "N C"], chosen: Bool[np.ndarray, "N C"], multi_label: bool
) -> dict[str, float]:
    """Return the scores that need no probabilities.

    ``accuracy`` is the share of texts whose labels are all right and complete; ``f1_macro`` the
    mean of F1 over the classes that occur in truth or predictions; ``f1_micro``, only of several
    labels, F1 over all labels of all texts.
    """
    table = class_table(truth, chosen)
    occurring = (table.support + chosen.sum(0)) > 0
    names = {"accuracy": float((truth == chosen).all(1).mean())}
    if multi_label:
        both = float((truth & chosen).sum())
        names["f1_micro"] = 2 * both / max(float(truth.sum() + chosen.sum()), 1.0)
    names["f1_macro"] = float(table.f1[occurring].mean()) if occurring.any() else 0.0
    return names


def log_loss(
    truth: Bool[np.ndarray, "N C"], probabilities: Float[np.ndarray, "N C"], *, multi_label: bool
) -> float:
    """Return the mean of -log p of what is true, in nats: of each text, or of each yes and no."""
    sure = np.clip(probabilities, _LEAST, 1.0)
    if multi_label:
        unsure = np.clip(1 - probabilities, _LEAST, 1.0)
        return float(-np.log(np.where(truth, sure, unsure)).mean())
    return float(-np.log(sure[truth]).mean())


@dataclass(frozen=True)
class ClassTable:
    """Scores of each of C classes; 0 where nothing was predicted or there is nothing to find.

    Args:
        precision: Share of the texts predicted to have the label that have it.
        recall: Share of the texts with the label that are predicted to.
        f1: Their harmonic mean.
        support: Texts with the label.
    """

    precision: Float[np.ndarray, "C"]
    recall: Float[np.ndarray, "C"]
    f1: Float[np.ndarray, "C"]
    support: Int[np.ndarray, "C"]


def class_table(truth: Bool[np.ndarray, "N C"], chosen: Bool[np.ndarray, "N C"]) -> ClassTable:
    """Return precision, recall, F1 and support of each class."""
    both, support, predicted = (truth & chosen).sum(0), truth.sum(0), chosen.sum(0)
    return ClassTable(
        both / np.maximum(predicted, 1),
        both / np.maximum(support, 1),
        2 * both / np.maximum(support + predicted, 1),
        support,
    )


def confidences(
    truth: Bool[np.ndarray, "N C"], probabilities: Float[np.ndarray, "N C"], *, multi_label: bool
) -> tuple[Float[np.ndarray, "M"], Bool[np.ndarray, "M"]]:
    """Return how sure each decision is, and whether it is right.

    One decision a text, that for its class; of several labels one for each of them, yes or no.
    """
    right = truth == decided(probabilities, multi_label=multi_label)
    if multi_label:
        return np.maximum(probabilities, 1 - probabilities).ravel(), right.ravel()
    return probabilities.max(1), right.all(1)
