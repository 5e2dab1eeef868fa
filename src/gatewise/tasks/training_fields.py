"""What every estimator may be told of its training: the fields that the fit loop reads."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Literal

from gatewise.tasks.settings import setting
from gatewise.training import FitSettings

_training = partial(setting, group="training")
_hardware = partial(setting, group="hardware")


@dataclass(kw_only=True, eq=False, repr=False)
class TrainingFields:
    """The fields that all estimators share; each is described where it is declared."""

    max_epochs: int = _training(60, help="Epochs at most", unit="epochs", ge=1)
    patience: int | None = _training(
        8,
        help="Epochs without a better validation loss before stopping; none: never",
        unit="epochs",
        ge=1,
    )
    min_delta: float = _training(0.0, help="What a loss must gain to count as better", ge=0)
    learning_rate: float = _training(1e-3, help="Learning rate", gt=0)
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = _training("adam", help="Optimizer")
    momentum: float = _training(0.9, help="Momentum of sgd", ge=0, lt=1)
    schedule: Literal["constant", "exponential", "cosine", "one_cycle", "plateau"] = _training(
        "exponential", help="Course of the learning rate"
    )
    decay: float = _training(
        0.95, help="Factor of the exponential (each epoch) and plateau schedules", gt=0, lt=1
    )
    hold_epochs: int = _training(
        1, help="Epochs before the exponential schedule falls", unit="epochs", ge=1
    )
    weight_decay: float = _training(0.0, help="L2 penalty; decoupled with adamw", ge=0)
    gradient_clip: float | None = _training(
        1.0, help="Largest norm of the gradient; none: any", gt=0
    )
    averaging: Literal["none", "triggered"] = _training(
        "none", help="Keep the mean of the weights over all steps since the score stopped to gain"
    )
    averaging_patience: int = _training(
        5, help="Epochs by which a better score must lie back for that", unit="epochs", ge=1
    )
    seed: int = _training(0, help="Seed of every random draw", ge=0)
    checkpoint_seconds: float = _training(
        60.0, help="Time between checkpoints inside an epoch", unit="seconds", gt=0
    )

    devices: int | Literal["auto"] = _hardware(
        1, help="Processes or accelerators on each machine", ge=1
    )
    nodes: int = _hardware(1, help="Machines, started by torchrun", ge=1)
    accelerator: Literal["cpu", "cuda", "mps", "auto"] = _hardware("cpu", help="Where to train")
    precision: Literal["32-true", "64-true", "bf16-mixed", "bf16-true"] = _hardware(
        "32-true", help="Arithmetic of the training"
    )

    def fit_settings(self) -> FitSettings:
        """Return the fields that the training loop reads."""
        names = [field.name for field in dataclasses.fields(FitSettings)]
        return FitSettings(**{name: getattr(self, name) for name in names})
