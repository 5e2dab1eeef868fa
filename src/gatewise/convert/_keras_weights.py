"""The weights of recurrent layers in Keras' layout and in torch's, both ways.

Keras multiplies from the right, so its matrices are transposed; its GRU stacks z, r, h where
torch's has r, z, n. It has one bias where torch has two, but in a GRU with ``reset_after``, where
the two are rows of one array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

ORDERS: Final = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "SimpleRNN": (0,)}
"""Where each gate of ours stands in Keras; each order is its own inverse."""


def expected_shapes(
    kind: str, units: int, inputs: int, *, bias: bool, reset_after: bool
) -> list[tuple[int, ...]]:
    """Return the shapes that Keras' arrays of a layer have."""
    gates = len(ORDERS[kind]) * units
    shapes: list[tuple[int, ...]] = [(inputs, gates), (units, gates)]
    if bias:
        shapes.append((2, gates) if kind == "GRU" and reset_after else (gates,))
    return shapes


def to_torch_layout(kind: str, weights: Sequence[Tensor]) -> list[Tensor]:
    """Return weight_ih, weight_hh and, with a third of Keras' arrays, bias_ih and bias_hh."""
    kernel, recurrent, *bias = weights
    ours = [_reordered(kind, kernel.T), _reordered(kind, recurrent.T)]
    for array in bias:
        rows = array.unbind() if array.dim() == 2 else (array, torch.zeros_like(array))
        ours += [_reordered(kind, row) for row in rows]
    return ours


def to_keras_layout(kind: str, weights: Sequence[Tensor], *, reset_after: bool) -> list[Tensor]:
    """Return Keras' kernel, recurrent kernel and bias of weight_ih, weight_hh and two biases."""
    weight_ih, weight_hh, *biases = (_reordered(kind, weight) for weight in weights)
    arrays = [weight_ih.T, weight_hh.T]
    if biases:
        both = torch.stack(biases)
        arrays.append(both if kind == "GRU" and reset_after else both.sum(0))
    return arrays


def named(weights: Sequence[Tensor], suffix: str) -> Mapping[str, Tensor]:
    """Return weights in torch's order by torch's names."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return {f"{name}_{suffix}": weight for name, weight in zip(names, weights, strict=False)}


def _reordered(kind: str, rows: Tensor) -> Tensor:
    order = ORDERS[kind]
    if order == tuple(range(len(order))):
        return rows
    parts = rows.chunk(len(order))
    return torch.cat([parts[gate] for gate in order])
