"""Pieces run as sequences of their own give what cuts inside sequences give."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gatewise.ops import operators
from gatewise.ops._operands import Operands
from gatewise.ops.apart import run_apart
from gatewise.ops.reference import PLAIN, CellOptions
from support.compare import assert_close
from support.layer_case import LayerCase, evaluate, reference_of

SHAPES = [
    LayerCase(T=5, B=3, D=2),
    LayerCase(T=1, B=1, D=2, reset=True, restart=True),
    LayerCase(T=7, B=4, D=2, lengths=True, trace=True),
    LayerCase(T=9, B=5, D=2, reset=True, restart=True, trace=True),
    LayerCase(T=9, B=5, D=2, lengths=True, reset=True, trace=True, P=3),
    LayerCase(T=9, B=5, D=1, lengths=True, reset=True, restart=True),
    LayerCase(T=8, B=1, D=1, reset=True),
]
LSTM_OPTIONS = CellOptions(peephole=True, layer_norm=True, cell_clip=0.6, zoneout_c=0.2)
CASES = [
    *SHAPES,
    *(replace(case, options=LSTM_OPTIONS) for case in SHAPES),
    *(replace(case, cell="gru", P=0) for case in SHAPES),
    *(replace(case, seed=seed) for case in SHAPES for seed in range(1, 4)),
]


def apart(cell: str):
    def layer(x, *arguments, lengths, reset, trace, restart=(), options=PLAIN):
        *states, weights = arguments
        operands = Operands(cell, x, states, weights, lengths, reset, None, restart, options)

        def run(part: Operands):
            assert part.reset is None
            assert part.states[0].shape[0] == 1
            return operators.through_reference(part, trace=trace)

        y, final, traced = run_apart(operands, run)
        return y, *final, traced

    return layer


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_traces_and_all_gradients(case):
    whole = evaluate(reference_of(case.cell), case, torch.float64)
    assert_close(evaluate(apart(case.cell), case, torch.float64), whole, tolerance=1e-13)


def test_masks_tell_directions_apart():
    case = LayerCase(T=4, B=3, D=2, options=CellOptions(recurrent_dropout=0.5, stream=2))
    x, h0, c0, *weights = case.tensors(torch.float64).values()
    seen = []

    def run(part: Operands):
        seen.append((part.options.stream, part.options.reverse))
        return operators.through_reference(part, trace=False)

    seed = torch.tensor([3])
    run_apart(Operands("lstm", x, [h0, c0], weights, seed=seed, options=case.options), run)
    assert seen == [(2, False), (3, False)]
