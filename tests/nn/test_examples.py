"""The examples in the layers' docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["lstm", "cell", "stack", "replace"])
def test_examples(name):
    result = doctest.testmod(importlib.import_module(f"gatewise.nn.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
