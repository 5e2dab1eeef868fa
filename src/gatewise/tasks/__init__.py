"""Tasks: estimators with ``fit``, ``predict``, ``evaluate`` and ``save``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from gatewise.data import load_example
from gatewise.errors import InvalidFileError
from gatewise.tasks import saving
from gatewise.tasks.estimator import AbstractEstimator, Example
from gatewise.tasks.forecaster import Forecaster
from gatewise.tasks.language_model import LanguageModel
from gatewise.tasks.sequence_tagger import SequenceTagger
from gatewise.tasks.settings import setting
from gatewise.tasks.text_classifier import TextClassifier

__all__ = [
    "ESTIMATORS",
    "AbstractEstimator",
    "Example",
    "Forecaster",
    "LanguageModel",
    "SequenceTagger",
    "TextClassifier",
    "load",
    "load_example",
    "setting",
]

ESTIMATORS: Final[dict[str, Any]] = {
    one.task: one for one in (Forecaster, LanguageModel, TextClassifier, SequenceTagger)
}
"""Every estimator by the name of its task."""


def load(directory: str | Path) -> Any:
    """Return the estimator that was saved in a directory; nothing in it is executed.

    Args:
        directory: Where ``save`` or ``gatewise fit --out`` wrote it.

    Raises:
        InvalidFileError: There is no saved model, it is damaged, or written by a newer version.
    """
    task = saving.read_task(Path(directory))
    if task not in ESTIMATORS:
        raise InvalidFileError(
            f"'{Path(directory) / saving.CONFIG}'",
            f"one of the tasks {', '.join(ESTIMATORS)}",
            f"'{task}'",
            "The model was written by a newer gatewise, or the file is damaged.",
        )
    return ESTIMATORS[task].load(directory)
