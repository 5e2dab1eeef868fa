"""The examples in the layers' docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest

import gatewise.nn


@pytest.mark.parametrize(
    "name",
    [
        *("lstm", "gru", "rnn", "cell", "minimal", "recurrent", "slstm", "stack", "replace"),
        *("freeze", "crf", "tag_constraints"),
    ],
)
def test_examples(name):
    module = importlib.import_module(f"gatewise.nn.{name}")
    result = doctest.testmod(module, extraglobs={"LSTM": gatewise.nn.LSTM})
    assert result.attempted > 0
    assert result.failed == 0
