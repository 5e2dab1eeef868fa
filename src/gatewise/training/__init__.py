"""Training: one fit loop for every task, and files that survive a kill."""

from gatewise.training import storage
from gatewise.training.fitting import fit, is_first_process
from gatewise.training.outcome import DivergedError, EpochRecord, FitInterrupted, FitResult
from gatewise.training.settings import FitSettings, Mode
from gatewise.training.task import FitTask, StatefulTask, StepLoss

__all__ = [
    "DivergedError",
    "EpochRecord",
    "FitInterrupted",
    "FitResult",
    "FitSettings",
    "FitTask",
    "Mode",
    "StatefulTask",
    "StepLoss",
    "fit",
    "is_first_process",
    "storage",
]
