"""The series that ships with the package, and the examples in the docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pandas as pd
import pytest

import gatewise.data
from gatewise.data import load_example

from .tables import panel_of

MODULES = [info.name for info in pkgutil.iter_modules(gatewise.data.__path__)]


def test_the_example_is_the_series_that_its_note_describes() -> None:
    frame = load_example()
    assert list(frame.columns) == ["unique_id", "ds", "y"]
    assert len(frame) == 2284
    assert frame["y"].isna().sum() == 59
    assert frame["ds"].iloc[[0, -1]].tolist() == [
        pd.Timestamp("1958-03-29"),
        pd.Timestamp("2001-12-29"),
    ]
    assert frame["y"].iloc[[0, -1]].tolist() == [316.1, 371.5]
    np.testing.assert_allclose(frame["y"].sum(), 756816.5, atol=0.05)


def test_the_example_is_understood() -> None:
    panel = panel_of(load_example())
    assert (panel.schema.frequency, panel.schema.season_length) == ("W-SAT", 52)
    assert panel.schema.calendar == ("day_of_year",)
    assert panel.counts["missing_y"] == 59
    assert panel.counts["gaps_filled"] == 0


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(f"gatewise.data.{name}")
    failed, _ = doctest.testmod(module, extraglobs=vars(gatewise.data))
    assert failed == 0
