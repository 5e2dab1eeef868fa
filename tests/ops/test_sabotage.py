"""The comparison must reject every wrong layer, at the tolerance at which kernels are judged."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from gatewise.ops.reference import CELLS
from support.compare import assert_as_accurate
from support.layer_case import LayerCase, evaluate, reference_of, torch_of
from support.sabotage import wrong_layers

WRONG = {cell: wrong_layers(cell) for cell in CELLS}

each_cell = pytest.mark.parametrize("cell", CELLS)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


def case_of(cell: str) -> LayerCase:
    """Everything at once, so that nothing can hide: directions, lengths, resets, trace."""
    P = 3 if cell.startswith("lstm") else 0
    return LayerCase(cell=cell, T=7, B=5, D=2, P=P, lengths=True, reset=True, trace=True, seed=3)


@cache
def exact(cell: str) -> dict[str, Tensor]:
    return evaluate(reference_of(cell), case_of(cell), torch.float64)


@cache
def yardsticks(cell: str) -> list[dict[str, Tensor]]:
    """torch's results, and those of inputs moved by a rounding error."""
    return [evaluate(torch_of(cell), case_of(cell), torch.float32, moved) for moved in range(3)]


@each_dtype
@each_cell
def test_the_right_one_is_accepted(cell, dtype):
    candidate = evaluate(reference_of(cell), case_of(cell), dtype)
    assert_as_accurate(candidate, exact(cell), yardsticks(cell)[0])


@each_dtype
@pytest.mark.parametrize(
    ("cell", "wrong"), [(cell, wrong) for cell in CELLS for wrong in WRONG[cell]]
)
def test_a_wrong_one_is_rejected(cell, wrong, dtype):
    candidate = evaluate(WRONG[cell][wrong], case_of(cell), dtype)
    with pytest.raises(AssertionError, match="relative error"):
        assert_as_accurate(candidate, exact(cell), yardsticks(cell)[0])
    # At the tolerance of the random cases, too.
    with pytest.raises(AssertionError, match="relative error"):
        assert_as_accurate(candidate, exact(cell), *yardsticks(cell), factor=20.0)


@each_cell
def test_every_wrong_one_computes_something_of_the_right_shape(cell):
    shapes = {name: value.shape for name, value in exact(cell).items()}
    for wrong in WRONG[cell].values():
        candidate = evaluate(wrong, case_of(cell), torch.float64)
        assert {name: value.shape for name, value in candidate.items()} == shapes


def test_nan_and_wrong_dtypes_are_rejected():
    right, yardstick = exact("lstm"), yardsticks("lstm")[0]
    with pytest.raises(AssertionError, match="relative error nan"):
        assert_as_accurate({**right, "h_n": right["h_n"] * torch.nan}, right, yardstick)
    with pytest.raises(AssertionError, match=r"torch\.float32"):
        assert_as_accurate({**right, "h_n": right["h_n"].float()}, right, yardstick)
