"""The comparison must reject every wrong LSTM, at the tolerance at which kernels are judged."""

from __future__ import annotations

import pytest
import torch

from gatewise.ops import reference
from support.compare import assert_as_accurate
from support.lstm_case import LSTMCase, evaluate, torch_layer
from support.sabotage import wrong_layers

WRONG = wrong_layers()
# Everything at once, so that nothing can hide: directions, projection, lengths, resets, trace.
CASE = LSTMCase(T=7, B=5, D=2, P=3, lengths=True, reset=True, trace=True, seed=3)


@pytest.fixture(scope="module")
def exact():
    return evaluate(reference.lstm_layer, CASE, torch.float64)


@pytest.fixture(scope="module")
def yardstick():
    return evaluate(torch_layer, CASE, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_the_right_one_is_accepted(dtype, exact, yardstick):
    candidate = evaluate(reference.lstm_layer, CASE, dtype)
    assert_as_accurate(candidate, exact, yardstick)


@pytest.fixture(scope="module")
def moved_yardsticks():
    return [evaluate(torch_layer, CASE, torch.float32, moved) for moved in range(3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_one_is_rejected(wrong, dtype, exact, yardstick, moved_yardsticks):
    candidate = evaluate(WRONG[wrong], CASE, dtype)
    with pytest.raises(AssertionError, match="relative error"):
        assert_as_accurate(candidate, exact, yardstick)
    # At the tolerance of the random cases, too.
    with pytest.raises(AssertionError, match="relative error"):
        assert_as_accurate(candidate, exact, *moved_yardsticks, factor=20.0)


def test_every_wrong_one_computes_something_of_the_right_shape(exact):
    for wrong in WRONG.values():
        candidate = evaluate(wrong, CASE, torch.float64)
        assert {k: v.shape for k, v in candidate.items()} == {k: v.shape for k, v in exact.items()}


def test_nan_and_wrong_dtypes_are_rejected(exact, yardstick):
    with pytest.raises(AssertionError, match="relative error nan"):
        assert_as_accurate({**exact, "h_n": exact["h_n"] * torch.nan}, exact, yardstick)
    with pytest.raises(AssertionError, match=r"torch\.float32"):
        assert_as_accurate({**exact, "h_n": exact["h_n"].float()}, exact, yardstick)
