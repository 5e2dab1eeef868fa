"""How a fit went and what came of it: what every estimator keeps beside its model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from gatewise.tasks import saving
from gatewise.training import EpochRecord, FitResult, storage

Model = TypeVar("Model")
"""A network and what it knows of its data."""


@dataclass(frozen=True)
class Course:
    """How a fit went.

    Args:
        history: One record an epoch.
        best_epoch: The epoch whose weights the model holds.
        scores: Of the model and of the baselines, by name.
        split: On what they were measured: ``validation`` or ``training``.
    """

    history: list[EpochRecord]
    best_epoch: int
    scores: dict[str, dict[str, float]]
    split: str

    @classmethod
    def of(cls, result: FitResult, scores: dict[str, dict[str, float]], split: str) -> Course:
        """Return the course of a fit whose model was then scored."""
        return cls(list(result.history), result.best_epoch, scores, split)

    def write(self, directory: Path) -> None:
        """Write it into the directory of a saved model."""
        content = {
            "split": self.split,
            "scores": self.scores,
            "best_epoch": self.best_epoch,
            "history": [dataclasses.asdict(record) for record in self.history],
        }
        storage.atomic_write_json(directory / saving.METRICS, content)

    @classmethod
    def read(cls, directory: Path) -> Course:
        """Return what ``write`` wrote.

        Raises:
            InvalidFileError: The file is missing or damaged.
        """
        held = storage.read_json(directory / saving.METRICS)
        history = [EpochRecord(**record) for record in held["history"]]
        return cls(history, held["best_epoch"], held["scores"], held["split"])


@dataclass(frozen=True)
class Fitted(Generic[Model]):
    """What a fit gives.

    Args:
        model: The network and what it knows of its data.
        course: How the fit went.
    """

    model: Model
    course: Course
