"""Which kernel runs: one decision, made before the call and open to question."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gatewise.errors import InvalidStateError
from gatewise.ops import native, operators, reference
from gatewise.ops._operands import Operands
from gatewise.ops.backends import Backend, asked


@dataclass(frozen=True)
class KernelChoice:
    """What runs and why.

    Args:
        backend: ``native`` or ``reference``; ``none`` if what was asked for cannot run.
        isa: Instruction set of the native kernel (``avx512``, ``avx2``, ``scalar``), or ``torch``.
        reason: Why, in words.
    """

    backend: str
    isa: str
    reason: str

    def __str__(self) -> str:
        return f"{self.backend} ({self.isa}): {self.reason}"


class LayerResult(NamedTuple):
    """Outputs of one layer: y T×B×(D·P), the final states, and the trace if asked for."""

    y: Tensor
    states: tuple[Tensor, ...]
    trace: dict[str, Tensor] | None


def run_layer(
    cell: str,
    x: Tensor,
    states: tuple[Tensor, ...],
    weights: Sequence[Tensor],
    *,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    trace: bool = False,
    backend: Backend = "auto",
) -> LayerResult:
    """Run one recurrent layer in all its directions.

    Args:
        cell: Name of the cell: ``lstm``, ``gru``, ``rnn_tanh``, ``rnn_relu``.
        x: Input, T×B×I.
        states: Initial states, h D×B×P, then for the LSTM c D×B×H.
        weights: Flat list, `gatewise.ops.reference.layer` has its order and shapes.
        lengths: Valid steps of each sequence, [B], each from 1 to T.
        reset: True cuts the sequence before that step, T×B.
        trace: Whether to return every gate and state.
        backend: The kernel to use; ``auto`` chooses.

    Returns:
        The output, the final states, and with ``trace`` a dict of D×T×B×H tensors.

    Raises:
        InvalidStateError: ``native`` was asked for, and no native kernel can do what is asked.
    """
    inputs = (x, *states, *weights)
    name, by = asked(backend)
    obstacle = None if name == "reference" else _obstacle(inputs, trace=trace)
    if name == "reference" or (obstacle and name == "auto"):
        mathematics = reference.CELLS[cell]
        return LayerResult(
            *reference.layer(
                mathematics, x, states, weights, lengths=lengths, reset=reset, trace=trace
            )
        )
    if obstacle:
        raise InvalidStateError(
            by, "a call that the native kernel can run", obstacle, "Use backend='auto'."
        )
    operands = Operands(cell, x, states, weights, lengths, reset)
    return LayerResult(*operators.recurrent(operands, trace=trace))


def explain(weights: Sequence[Tensor], *, backend: Backend = "auto") -> KernelChoice:
    """Say which kernel a layer with these weights runs on, and why.

    Args:
        weights: The weights of one layer.
        backend: As in `run_layer`.
    """
    name, by = asked(backend)
    if name == "reference":
        return KernelChoice("reference", "torch", f"{by} asks for it")
    obstacle = _obstacle(weights, trace=False)
    if obstacle and name == "native":
        reason = f"{by} asks for native, which cannot run {obstacle}; a call raises"
        return KernelChoice("none", "none", reason)
    if obstacle:
        return KernelChoice("reference", "torch", f"the native kernel cannot run {obstacle}")
    isa = native.isa_name()
    chosen = "asked for by GATEWISE_ISA" if os.environ.get("GATEWISE_ISA") else "the best here"
    others = "take the reference" if name == "auto" else f"raise, since {by} asks for native"
    return KernelChoice(
        "native",
        isa,
        f"{weights[0].dtype} on the CPU; {isa} is {chosen}. Empty batches and function transforms "
        f"{others}; second derivatives and those of a trace take the reference",
    )


def _obstacle(tensors: Sequence[Tensor], *, trace: bool) -> str | None:
    """Say what keeps the native kernel from running, or None."""
    dtype = tensors[0].dtype
    for tensor in tensors:
        if tensor.is_cpu and tensor.dtype == dtype and dtype in native.DTYPES:
            continue
        if tensor.device.type != "cpu":
            return f"tensors on {tensor.device}: it is for the CPU"
        if tensor.dtype not in native.DTYPES:
            return f"{tensor.dtype}: it is for float32 and float64"
        if tensor.dtype != dtype:
            return f"{tensor.dtype} together with {dtype}"
    if trace and operators.is_recorded():
        return "trace=True under compilation: the reference records gates there"
    if tensors[0].dim() == 3 and 0 in tensors[0].shape:
        return "an empty input"
    if _transformed(tensors):
        return "a function transform (torch.func, forward-mode differentiation)"
    return None


def _transformed(tensors: Sequence[Tensor]) -> bool:
    if torch.compiler.is_compiling():
        return False
    if torch._C._functorch.peek_interpreter_stack() is not None:  # noqa: SLF001 # pyright: ignore
        return True
    level = forward_ad._current_level  # noqa: SLF001 - there is no public query
    return level >= 0 and any(forward_ad.unpack_dual(t).tangent is not None for t in tensors)
