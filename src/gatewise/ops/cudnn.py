"""CUDA tensors: torch's own operations, which take cuDNN, where they can do what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from gatewise.ops._operands import Operands

CELLS = ("lstm", "gru", "rnn_tanh", "rnn_relu")
"""The cells that torch has an operation for, named alike."""


def obstacle(operands: Operands, *, trace: bool) -> str | None:
    """Say what torch's operation cannot do of what is asked, or None."""
    if operands.cell not in CELLS or not operands.options.plain or operands.options.reverse:
        return "this cell with its options"
    if operands.lengths is not None or operands.reset is not None:
        return "lengths and resets"
    if trace:
        return "a trace"
    return None


def run(operands: Operands) -> tuple[Tensor, tuple[Tensor, ...], None]:
    """Run a layer without obstacles; returns what `gatewise.ops.operators.recurrent` does."""
    cell, x, states, weights, *_ = operands
    directions, bf16 = states[0].shape[0], operands.options.bf16
    with torch.autocast(x.device.type, torch.bfloat16) if bf16 else nullcontext():
        y, *final = getattr(torch, cell)(
            x,
            tuple(states) if len(states) > 1 else states[0],
            list(weights),
            has_biases=len(weights) // directions >= 4,
            num_layers=1,
            dropout=0.0,
            train=True,  # lets cuDNN keep what a backward needs
            bidirectional=directions == 2,
            batch_first=False,
        )
    return y.to(x.dtype), tuple(part.to(x.dtype) for part in final), None


def name_of(weights: Sequence[Tensor]) -> str:
    """Say what torch's operation runs on tensors like these."""
    return "cudnn" if torch.backends.cudnn.is_acceptable(weights[0]) else "torch.cuda"
