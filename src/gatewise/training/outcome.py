"""What a fit gives back, and the two ways in which it may end early."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gatewise.errors import InvalidStateError

StopReason = Literal["max_epochs", "patience"]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a fit.

    Args:
        epoch: Its number, from 1.
        train_loss: Sum of the loss over the epoch divided by the sum of its weights.
        scores: What ``FitTask.validate`` returned after it.
        learning_rate: Of the last step.
        seconds: Time of training and validation together, pauses between runs left out.
        samples: Indices trained on, over all processes.
    """

    epoch: int
    train_loss: float
    scores: dict[str, float]
    learning_rate: float
    seconds: float
    samples: int


@dataclass(frozen=True)
class FitResult:
    """The course of a fit; the best weights are in the network.

    Args:
        history: One record for each epoch, in order.
        best_epoch: The epoch whose weights the network holds, from 1.
        best_score: The monitored score of that epoch.
        stop_reason: ``max_epochs`` or ``patience``.
    """

    history: list[EpochRecord]
    best_epoch: int
    best_score: float
    stop_reason: StopReason


class FitInterrupted(KeyboardInterrupt):
    """The user pressed Ctrl-C; the step was finished and, with a directory, all was saved.

    A ``KeyboardInterrupt`` and no ``Exception``, so that ``except Exception`` around a fit (a
    search over settings, a cross-validation) does not take the user's wish to stop for a bad fit.

    Args:
        directory: Where the checkpoint lies, or None when there is none.
        epoch: The epoch in which the fit stopped, from 1.
        batch: Batches of that epoch that are done.
    """

    def __init__(self, directory: Path | None, epoch: int, batch: int) -> None:
        super().__init__(directory, epoch, batch)
        self.directory = directory
        self.epoch = epoch
        self.batch = batch

    def __str__(self) -> str:
        place = f"Fit: interrupted in epoch {self.epoch}, after batch {self.batch}."
        if self.directory is None:
            return f"{place} Nothing was saved: give a directory to be able to resume."
        return f"{place} Saved in '{self.directory}': call again with resume=True to go on."


class DivergedError(InvalidStateError):
    """The loss, a gradient or the monitored score is no longer finite."""
