"""Settings: every fault is reported, all at once."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gatewise.errors import InvalidSettingsError
from gatewise.training import FitSettings


def unchecked(**values: Any) -> FitSettings:
    """Settings as a user may make them; the type checks of the tests would refuse them."""
    settings = FitSettings()
    for name, value in values.items():
        object.__setattr__(settings, name, value)
    return settings


def test_the_defaults_are_valid() -> None:
    FitSettings().check()
    unchecked(devices="auto", patience=None, gradient_clip=None, learning_rate=1).check()


def test_all_faults_come_at_once() -> None:
    settings = unchecked(max_epochs=0, learning_rate=-1.0, optimizer="lion", devices="many")
    with pytest.raises(InvalidSettingsError) as caught:
        settings.check()
    names = [fault.where for fault in caught.value.faults]
    assert names == ["max_epochs", "learning_rate", "optimizer", "devices"]
    message = str(caught.value)
    assert "max_epochs: expected greater than or equal to 1, got 0." in message
    assert "optimizer: expected 'adam', 'adamw', 'rmsprop' or 'sgd', got 'lion'." in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_epochs", True),
        ("max_epochs", 2.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("momentum", 1.0),
        ("schedule", "linear"),
        ("decay", 0.0),
        ("weight_decay", -0.1),
        ("gradient_clip", 0.0),
        ("patience", 0),
        ("min_delta", -1.0),
        ("devices", 0),
        ("nodes", "2"),
        ("accelerator", "tpu"),
        ("precision", "16-mixed"),
        ("seed", -1),
        ("checkpoint_seconds", 0.0),
    ],
)
def test_each_field_is_checked(name: str, value: Any) -> None:
    with pytest.raises(InvalidSettingsError, match=rf"1 setting\(s\) to correct.\n  {name}: "):
        unchecked(**{name: value}).check()
