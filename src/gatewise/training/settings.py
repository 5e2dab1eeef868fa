"""What a fit may be told: one frozen dataclass, all its faults reported at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import pydantic
from pydantic import Field

from gatewise.errors import InvalidSettingsError, InvalidValueError

Optimizer = Literal["adam", "adamw", "rmsprop", "sgd"]
Schedule = Literal["constant", "exponential", "cosine", "one_cycle", "plateau"]
Averaging = Literal["none", "triggered"]
Accelerator = Literal["cpu", "cuda", "mps", "auto"]
Precision = Literal["32-true", "64-true", "bf16-mixed", "bf16-true"]

Mode = Literal["min", "max"]

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

FREE_ON_RESUME: Final = frozenset({"max_epochs", "patience", "checkpoint_seconds"})
"""Settings that a continued run may change: when to stop and save, not how to compute a step."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How to train.

    Args:
        max_epochs: Epochs at most, ≥ 1.
        learning_rate: Of the optimizer; the peak of ``one_cycle``; > 0.
        optimizer: ``adam``, ``adamw``, ``rmsprop`` or ``sgd``.
        momentum: Of ``sgd``, in [0, 1).
        schedule: Of the learning rate: ``constant``; ``exponential`` (times ``decay`` after each
            epoch from ``hold_epochs`` on); ``cosine`` (towards zero at the end of ``max_epochs``,
            step by step); ``one_cycle`` (up to the peak and down again over ``max_epochs``, step
            by step); ``plateau`` (times ``decay`` after two epochs in a row without a better
            score).
        decay: Factor of ``exponential`` and ``plateau``, in (0, 1).
        hold_epochs: Epochs before ``exponential`` begins to fall, ≥ 1.
        weight_decay: L2 penalty; decoupled from the gradient with ``adamw``; ≥ 0.
        gradient_clip: Largest norm of the gradient of all parameters together, or None.
        patience: Epochs in a row without a better score after which the fit stops, or None.
        min_delta: What a score must gain to count as better, in units of the score, ≥ 0.
        averaging: ``triggered`` scores and keeps the mean of the weights over all steps since the
            score stopped to gain; ``none`` the weights themselves.
        averaging_patience: Epochs by which a better score must lie back for that, ≥ 1.
        devices: Processes on each node, ≥ 1, or ``auto``.
        nodes: Machines, ≥ 1; more than one are started by ``torchrun``.
        accelerator: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        precision: Of the arithmetic, in Lightning's names.
        seed: Of every random draw of the fit, ≥ 0.
        checkpoint_seconds: Time between checkpoints inside an epoch, > 0.
    """

    # revalidate: pydantic takes an instance of the class as valid otherwise
    __pydantic_config__: ClassVar = pydantic.ConfigDict(strict=True, revalidate_instances="always")

    max_epochs: Count = 20
    learning_rate: Positive = 1e-3
    optimizer: Optimizer = "adam"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    schedule: Schedule = "constant"
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.9
    hold_epochs: Count = 1
    weight_decay: NotNegative = 0.0
    gradient_clip: Positive | None = 1.0
    patience: Count | None = 5
    min_delta: NotNegative = 0.0
    averaging: Averaging = "none"
    averaging_patience: Count = 5
    devices: Count | Literal["auto"] = 1
    nodes: Count = 1
    accelerator: Accelerator = "cpu"
    precision: Precision = "32-true"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    checkpoint_seconds: Positive = 60.0

    def check(self) -> None:
        """Raise ``InvalidSettingsError`` with every fault; do nothing when there are none."""
        try:
            pydantic.TypeAdapter(FitSettings).validate_python(self)
        except pydantic.ValidationError as error:
            raise InvalidSettingsError("FitSettings", _faults(error)) from None


def _faults(error: pydantic.ValidationError) -> list[InvalidValueError]:
    """One error for each field; the alternatives of a field that may be several things joined."""
    expected: dict[str, list[str]] = {}
    got: dict[str, str] = {}
    for fault in error.errors():
        name = str(fault["loc"][0])
        expected.setdefault(name, []).append(fault["msg"].removeprefix("Input should be "))
        got[name] = repr(fault["input"])
    return [InvalidValueError(name, " or ".join(expected[name]), got[name]) for name in got]
