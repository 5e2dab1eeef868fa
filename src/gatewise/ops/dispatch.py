"""Which kernel runs: one decision, made before the call and open to question."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatewise.errors import InvalidStateError
from gatewise.ops import cudnn, kernels, native, operators
from gatewise.ops._operands import Operands
from gatewise.ops._surroundings import is_recorded, is_transformed, learns
from gatewise.ops.apart import run_apart
from gatewise.ops.backends import Backend, asked
from gatewise.ops.packed import PackedWeights
from gatewise.ops.recompute import run_in_pieces
from gatewise.ops.reference import CELLS, PLAIN, CellOptions
from gatewise.ops.reference.batch_norm import Statistics
from gatewise.ops.reference.philox import dropout_mask as reference_mask


@dataclass(frozen=True)
class KernelChoice:
    """What runs and why.

    Args:
        backend: ``native`` or ``reference``; for CUDA tensors ``cudnn`` or ``torch.cuda``; ``none``
            if what was asked for cannot run.
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
    options: CellOptions = PLAIN,
    seed: Tensor | None = None,
    restart: Sequence[Tensor] = (),
    statistics: Statistics | None = None,
    packed: PackedWeights | None = None,
    recompute: int | None = None,
    backend: Backend = "auto",
) -> LayerResult:
    """Run one recurrent layer in all its directions.

    Args:
        cell: Name of the cell, one of `gatewise.ops.reference.CELLS`: ``lstm``, ``gru`` ….
        x: Input, T×B×I.
        states: Initial states, h D×B×P, then D×B×H for each other state of the cell.
        weights: Flat list, `gatewise.ops.reference.layer` has its order and shapes.
        lengths: Valid steps of each sequence, [B], each from 1 to T.
        reset: True cuts the sequence before that step, T×B.
        trace: Whether to return every gate and state.
        options: Of the cell.
        seed: Of the masks, int64 with one element; None for no dropout.
        restart: The states after a cut, h D×P, then the others, D×H; empty for what the cell
            begins with, which is mostly zeros.
        statistics: Of batch norm, with that option; in training not under function transforms.
        packed: Of these weights, if they are kept between calls; made at the first of them. The
            operator under compilation, the reference and cuDNN read the weights themselves.
        recompute: Keep the state of every so many steps only and run again between, in training;
            None keeps what backward needs. Not with ``trace``, nor under function transforms, and
            differentiable once.
        backend: The kernel to use; ``auto`` chooses.

    Returns:
        The output, the final states, and with ``trace`` a dict of D×T×B×H tensors.

    Raises:
        InvalidStateError: ``native`` was asked for, and no native kernel can do what is asked.
    """
    name, by = asked(backend)
    if reset is not None and not restart and CELLS[cell].initial:
        restart = CELLS[cell].begin(states)
    operands = Operands(
        cell, x, states, weights, lengths, reset, seed, restart, options, statistics, packed
    )
    obstacle = None
    if name != "reference":
        obstacle = _obstacle((x, *states, *weights, *restart), cell, options, trace=trace)
    if obstacle and name == "native":
        raise InvalidStateError(
            by, "a call that the native kernel can run", obstacle, "Use backend='auto'."
        )
    if options.batch_norm:
        _check_statistics(operands)
        through = operators.through_reference
        return LayerResult(
            *run_apart(operands, lambda part: _run(through, part, recompute, trace=trace))
        )
    run = operators.recurrent
    if name == "reference" or obstacle is not None:
        run = operators.through_reference
        if (
            name == "auto"
            and _on_cuda(operands.tensors())
            and not is_transformed(operands.tensors())
        ):
            run = _on_cudnn_or_reference
    elif x.dtype is torch.bfloat16:  # which the kernels take in float32
        wide = operands.replaced([tensor.float() for tensor in operands.tensors()])
        return _narrow(_run(run, wide, recompute, trace=trace))
    return _run(run, operands, recompute, trace=trace)


def _run(
    run: Callable[..., Any], operands: Operands, recompute: int | None, *, trace: bool
) -> LayerResult:
    steps = operands.x.shape[0]
    if recompute is None or recompute >= steps or not learns(operands.tensors()):
        return LayerResult(*run(operands, trace=trace))
    _check_recompute(operands, trace=trace)
    pieces = run_in_pieces(operands, recompute, lambda piece: run(piece, trace=False)[:2])
    return LayerResult(*pieces, None)


def _narrow(result: LayerResult) -> LayerResult:
    """Return a result in bfloat16."""
    parts = result.trace
    return LayerResult(
        result.y.bfloat16(),
        tuple(state.bfloat16() for state in result.states),
        None if parts is None else {name: part.bfloat16() for name, part in parts.items()},
    )


def _on_cudnn_or_reference(
    operands: Operands, *, trace: bool
) -> tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor] | None]:
    if cudnn.obstacle(operands, trace=trace):
        return operators.through_reference(operands, trace=trace)
    return cudnn.run(operands)


def _on_cuda(tensors: Sequence[Tensor]) -> bool:
    return all(tensor.is_cuda for tensor in tensors)


def _check_recompute(operands: Operands, *, trace: bool) -> None:
    if trace or is_transformed(operands.tensors()):
        raise InvalidStateError(
            "recompute",
            "None",
            "a number of steps, with trace=True" if trace else "one under a function transform",
            "Recomputing keeps nothing to show." if trace else "Call the layer without it.",
        )


def _check_statistics(operands: Operands) -> None:
    if operands.statistics is None:
        raise InvalidStateError("statistics", "those of batch norm, with the option", "None")
    if operands.statistics.running and is_transformed(operands.tensors()):
        raise InvalidStateError(
            "batch norm",
            "a plain call in training, which updates running averages in place",
            "one under a function transform (torch.func, forward-mode differentiation)",
            "Call eval() on the layer first.",
        )


def reads_packed(weights: Sequence[Tensor]) -> bool:
    """Say whether a call with these weights may read packed ones in their place.

    Where torch records, fakes or transforms what is called, it has to see the weights themselves.
    """
    return not (is_recorded() or is_transformed(weights))


def explain(
    weights: Sequence[Tensor],
    cell: str,
    *,
    options: CellOptions = PLAIN,
    backend: Backend = "auto",
) -> KernelChoice:
    """Say which kernel a layer with these weights runs on, and why.

    Args:
        weights: The weights of one layer.
        cell: As in `run_layer`.
        options: Of its cell.
        backend: As in `run_layer`.
    """
    name, by = asked(backend)
    obstacle = _obstacle(weights, cell, options, trace=False)
    settled = settled_by_request(name, by, obstacle)
    if settled is not None:
        return settled
    plain = options.plain and not options.reverse
    if _on_cuda(weights) and cell in cudnn.CELLS and plain:
        reason = (
            "tensors on CUDA. Lengths, resets, traces and function transforms take the reference"
        )
        return KernelChoice(cudnn.name_of(weights), "torch", reason)
    if obstacle:
        return KernelChoice("reference", "torch", f"the native kernel cannot run {obstacle}")
    isa = kernels.isa_name(bf16=options.bf16, cell=cell, plain=options.plain)
    products = "products in bfloat16, sums and states in float32; " if options.bf16 else ""
    if options.bf16 and isa not in kernels.BF16_SETS:
        products = f"{products}{isa} emulates that and is no faster than in float32; "
    elif options.bf16 and isa != kernels.isa_name(bf16=True):
        products = (
            f"{products}no faster than in float32 here: tile registers are for "
            "the plain LSTM, GRU and RNN and the minimal cells; "
        )
    hidden = weights[0].shape[0] // CELLS[cell].gates
    if kernels.in_parts(cell, weights[0].dtype, options, hidden):
        least = f"{kernels.LARGE.rows} rows a step on average"
        if not CELLS[cell].feeds_back:
            least = f"{least}, or {kernels.LARGE.rows_in_all} in all,"
        products = products_in_parts(least)
    chosen = "asked for by GATEWISE_ISA" if os.environ.get("GATEWISE_ISA") else "the best here"
    others = "take the reference" if name == "auto" else f"raise, since {by} asks for native"
    return KernelChoice(
        "native",
        isa,
        f"{weights[0].dtype} on the CPU; {products}{isa} is {chosen}. Empty batches and "
        f"function transforms {others}; second derivatives and those of a trace take the reference",
    )


def products_in_parts(least: str) -> str:
    """Say what multiplies float32 from so many rows on, for `explain`."""
    return (
        f"{kernels.KERNELS[kernels.IN_PARTS].isa} from {least} on, where a product of float32 is "
        "the sum of six of parts in bfloat16, and as exact; "
    )


def settled_by_request(name: Backend, by: str, obstacle: str | None) -> KernelChoice | None:
    """Return the choice if what was asked for leaves only one, else None.

    Args:
        name: The kernel that was asked for, or ``auto``.
        by: What asked for it.
        obstacle: What keeps the native kernel from running, or None.
    """
    if name == "reference":
        return KernelChoice("reference", "torch", f"{by} asks for it")
    if obstacle and name == "native":
        reason = f"{by} asks for native, which cannot run {obstacle}; a call raises"
        return KernelChoice("none", "none", reason)
    return None


def dropout_mask(
    seed: Tensor,
    stream: int,
    step: int,
    word: int,
    probability: float,
    like: Tensor,
    *,
    backend: Backend = "auto",
) -> Tensor:
    """Return a mask of inverted dropout: 0 or 1 / (1 − probability), whatever draws it the same.

    Args:
        seed: int64, one element.
        stream: What tells layers and directions of one seed apart.
        step: Time step of the counter, see `gatewise.ops.reference.philox`.
        word: Which of the counter's four words.
        probability: Of a zero.
        like: Rows × units, whose shape, dtype and device the mask gets.
        backend: The kernel to use; ``auto`` chooses.
    """
    obstacle = _obstacle((like,), "lstm", PLAIN, trace=False)
    has_kernel = like.dtype in kernels.DTYPES and obstacle is None and not is_recorded()
    if asked(backend).backend != "reference" and has_kernel and like.numel():
        return native.mask(seed, stream, step, word, probability, like)
    mask = reference_mask(seed, stream, step, word, probability, *like.shape)
    return mask.to(dtype=like.dtype, device=like.device)


def join(parts: Sequence[Tensor]) -> Tensor:
    """Put what layers give above each other, D×… each: `torch.cat`, without its fresh memory.

    The gates of a few layers are many megabytes; see `gatewise.ops.native.new_large`.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    kept = first.is_cpu and first.dtype in kernels.DTYPES and not learns(parts)
    if not kept or is_recorded() or is_transformed(parts):
        return torch.cat(list(parts))
    shape = (sum(part.shape[0] for part in parts), *first.shape[1:])
    return torch.cat(list(parts), out=native.new_large(first, shape))


def _obstacle(
    tensors: Sequence[Tensor], cell: str, options: CellOptions, *, trace: bool
) -> str | None:
    """Say what keeps the native kernel from running, or None."""
    dtype = tensors[0].dtype
    known = dtype in kernels.DTYPES or dtype is torch.bfloat16
    if cell not in kernels.CELLS:
        return f"the cell {cell}"
    for tensor in tensors:
        if known and tensor.is_cpu and tensor.dtype == dtype:
            continue
        if tensor.device.type != "cpu":
            return f"tensors on {tensor.device}: it is for the CPU"
        if tensor.dtype != dtype:
            return f"{tensor.dtype} together with {dtype}"
        return f"{dtype}: it is for float32, float64 and bfloat16"
    if options.batch_norm:
        return "recurrent batch norm"
    if options.bf16 and dtype is torch.float64:
        return "products in bfloat16 of torch.float64"
    for function in (options.activation, options.gate_activation):
        if function not in kernels.ACTIVATIONS:
            return f"the activation {function}: it has {', '.join(kernels.ACTIVATIONS)}"
    if cell == "gru_before" and options.layer_norm:
        return "layer norms with the reset gate before the product"
    if trace and is_recorded():
        return "trace=True under compilation: the reference records gates there"
    if tensors[0].dim() == 3 and 0 in tensors[0].shape:
        return "an empty input"
    if is_transformed(tensors):
        return "a function transform (torch.func, forward-mode differentiation)"
    return None
