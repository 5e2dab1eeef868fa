"""Fields: every fault is found, named and explained at once."""

from __future__ import annotations

import dataclasses
import typing

import numpy as np
import pytest

from gatewise.errors import InvalidSettingsError, InvalidTypeError, InvalidValueError
from gatewise.tasks import Forecaster
from gatewise.tasks.settings import checked_values, describe_type, setting


def faults(**fields: object) -> dict[str, str]:
    with pytest.raises(InvalidSettingsError) as caught:
        Forecaster().set_params(**fields).fit(None)
    return {fault.where: str(fault) for fault in caught.value.faults}


def test_all_faults_are_reported_at_once_with_type_range_and_value():
    found = faults(horizon=0, dropout=1.5, reader="words", learning_rate="fast", seed=2.5)
    assert set(found) == {"horizon", "dropout", "reader", "learning_rate", "seed"}
    assert found["horizon"] == "horizon: expected an integer ≥ 1 (steps), got 0."
    assert found["dropout"] == "dropout: expected a number ≥ 0 and < 1, got 1.5."
    assert found["reader"] == "reader: expected 'points' or 'segments', got 'words'."
    assert found["learning_rate"] == "learning_rate: expected a number > 0, got 'fast'."
    assert found["seed"] == "seed: expected an integer ≥ 0, got 2.5."


def test_wrong_types_and_wrong_values_are_told_apart():
    with pytest.raises(InvalidSettingsError) as caught:
        Forecaster().set_params(horizon="24", dropout=-1.0).fit(None)
    kinds = {fault.where: type(fault) for fault in caught.value.faults}
    assert kinds == {"horizon": InvalidTypeError, "dropout": InvalidValueError}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_must_be_finite(value: float):
    assert set(faults(learning_rate=value)) == {"learning_rate"}


def test_a_boolean_is_no_number_and_a_string_no_list():
    found = faults(horizon=True, past_covariates="temperature", levels=(80.0, 120.0))
    assert set(found) == {"horizon", "past_covariates", "levels"}
    assert "a list of strings" in found["past_covariates"]
    assert "each > 0 and < 100" in found["levels"]


def test_fields_that_contradict_each_other():
    assert set(faults(head="quantiles", quantiles=(0.1, 0.9))) == {"quantiles"}
    assert set(faults(head="quantiles", quantiles=(0.5, 0.1))) == {"quantiles"}
    assert set(faults(lookback=12, segment_length=24)) == {"segment_length"}
    assert set(faults(levels=(80, 80.0))) == {"levels"}


def test_numpy_scalars_and_lists_are_taken():
    given = {"horizon": np.int64(3), "dropout": np.float32(0.5), "levels": [50, np.float64(90)]}
    values = checked_values(Forecaster().set_params(**given))
    assert values["horizon"] == 3
    assert type(values["horizon"]) is int
    assert values["dropout"] == 0.5
    assert values["levels"] == (50.0, 90.0)


def test_every_field_has_help_and_a_group():
    for field in dataclasses.fields(Forecaster):
        assert field.metadata["help"], field.name
        assert field.metadata["group"], field.name
        assert not field.metadata["help"].endswith("."), field.name


def test_types_in_words():
    assert describe_type(int | None, {"ge": 1}, "steps") == "an integer ≥ 1 (steps) or None"
    assert describe_type(tuple[str, ...]) == "a list of strings"
    assert describe_type(int | typing.Literal["auto"], {"ge": 1}) == "an integer ≥ 1 or 'auto'"


def test_setting_keeps_what_the_shell_needs():
    field = setting(3, help="Size", unit="steps", group="data", ge=1, lt=9)
    assert field.default == 3
    expected = {"help": "Size", "unit": "steps", "group": "data", "range": {"ge": 1, "lt": 9}}
    assert dict(field.metadata) == expected
