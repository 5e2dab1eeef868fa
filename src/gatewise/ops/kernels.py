"""The compiled kernels: what there is for, and the instruction sets in use on this machine."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

from gatewise import _native
from gatewise.errors import InvalidValueError
from gatewise.ops import reference
from gatewise.ops.reference.options import CellOptions

DTYPES = {torch.float32: _native.Dtype.float32, torch.float64: _native.Dtype.float64}
"""The dtypes of tensors with a kernel."""

CELLS = {cell.name: cell for cell in _native.Cell}
"""The cells with a kernel."""

ACTIVATIONS = {function.name: function for function in _native.Activation}
"""The functions with a kernel."""

IN_PARTS = _native.Dtype.float32_bf16x6
"""What the kernels call float32 that is multiplied in tile registers, in parts of bfloat16."""

_OF_FEW_SETS = (IN_PARTS,)
"""The precisions that a machine, or the set that was asked for, may lack."""


def _load_kernels(dtype: _native.Dtype) -> _native.Kernels | None:
    """Return what is in use for a precision; None for one that few sets have."""
    best, asked = _native.best_kernels(dtype), os.environ.get("GATEWISE_ISA")
    kernels = _native.kernels(asked, dtype) if asked else best
    if kernels is None and best is not None and dtype not in _OF_FEW_SETS:
        raise InvalidValueError(
            "GATEWISE_ISA",
            f"an instruction set of this build and machine (the best is {best.isa})",
            repr(asked),
            "Unset it to take the best.",
        )
    return kernels


BF16_SETS = ("amx", "avx512_bf16")
"""The instruction sets that multiply in bfloat16; best first."""

AMX_CELLS = (
    "lstm",
    "gru",
    "rnn_tanh",
    "rnn_relu",
    "min_gru",
    "min_gru_positive",
    "min_lstm",
    "min_lstm_positive",
)
"""The plain cells that ``amx`` has; the others it runs as ``avx512_bf16`` does."""

KERNELS = {
    dtype: kernels for dtype in _native.Dtype if (kernels := _load_kernels(dtype)) is not None
}
"""What is in use for each precision."""


def isa_name(*, bf16: bool = False, cell: str | None = None, plain: bool = True) -> str:
    """Return the name of the instruction set in use, for a cell if one is named.

    One of ``avx512``, ``avx2``, ``neon``, ``scalar``, and for products in bfloat16 those of
    `BF16_SETS` as well; the others emulate them.
    """
    isa = KERNELS[_native.Dtype.bfloat16 if bf16 else _native.Dtype.float32].isa
    if isa == "amx" and cell is not None and not (plain and cell in AMX_CELLS):
        return "avx512_bf16"
    return isa


class LargeLayer(NamedTuple):
    """Sizes of a layer.

    Args:
        rows: In a step, on average over its steps.
        rows_in_all: In all steps, of a cell whose products do not wait for h and so take many steps
            at once; fewer do if there are ``rows`` of them in a step.
        units: H.
        columns: H times gates.
    """

    rows: int
    rows_in_all: int
    units: int
    columns: int


LARGE = LargeLayer(rows=32, rows_in_all=384, units=128, columns=256)
"""From which on float32 is multiplied in tile registers, where there are any: packing and registers
that are not full cost more below (measured)."""


def in_parts(cell: str, dtype: torch.dtype, options: CellOptions, hidden: int) -> bool:
    """Say whether a layer multiplies float32 in tile registers if it has `enough_rows`."""
    if IN_PARTS not in KERNELS or cell not in AMX_CELLS or options.bf16 or not options.plain:
        return False
    large = hidden >= LARGE.units and hidden * reference.CELLS[cell].gates >= LARGE.columns
    return large and dtype in (torch.float32, torch.bfloat16)  # which kernels take in float32


def enough_rows(cell: str, rows_in_all: int, steps: int) -> bool:
    """Say whether so many rows in all steps are enough for products in tile registers."""
    in_a_step = rows_in_all >= LARGE.rows * steps
    return in_a_step or (not reference.CELLS[cell].feeds_back and rows_in_all >= LARGE.rows_in_all)


def precision_of(dtype: torch.dtype, options: CellOptions) -> _native.Dtype:
    """Return what the kernels call the precision of a layer of float32 or float64."""
    return _native.Dtype.bfloat16 if options.bf16 else DTYPES[dtype]
