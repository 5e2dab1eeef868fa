"""Every kernel against the float64 reference, by the yardstick of torch's own operation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gatewise.ops.reference import CELLS
from support.backends import BACKENDS, layer_of
from support.compare import assert_as_accurate
from support.layer_case import LayerCase, evaluate, reference_of, torch_of

# One vector of a kernel holds 4, 8 or 16 numbers; each edge is met from both sides.
WIDTHS = sorted({w for n in (4, 8, 16) for w in (n - 1, n, n + 1, 2 * n + 3)})

FEATURES = [
    ("lengths",),
    ("reset",),
    ("lengths", "reset"),
    ("trace",),
    ("lengths", "reset", "trace"),
]

LSTM_CASES = [
    *(LayerCase(H=width, I=5, seed=width) for width in WIDTHS),
    *(LayerCase(H=5, I=width, seed=width) for width in WIDTHS),
    *(LayerCase(H=w, I=w, D=2, B=2, seed=w) for w in (7, 16, 17, 35)),
    *(LayerCase(T=T, B=B, H=17, I=9, D=2) for T in (1, 2, 3, 17) for B in (1, 2, 5)),
    LayerCase(T=1, B=1, H=1, I=1),
    LayerCase(T=17, B=1, H=64, I=64),
    LayerCase(T=4, B=37, H=33, I=20, D=2),
    LayerCase(B=0, D=2),
    *(LayerCase(H=17, I=9, P=P, D=2, bias=P != 3) for P in (1, 3, 8, 16)),
    LayerCase(H=17, bias=False, D=2),
    LayerCase(H=17, I=9, contiguous=False, D=2),
    LayerCase(H=16, I=16, scale=4.0, T=17),
    *(
        LayerCase(T=T, B=B, H=H, I=7, D=D, P=P, seed=T, **dict.fromkeys(features, True))
        for T, B, H, D, P in (
            (2, 3, 4, 2, 0),
            (17, 5, 17, 2, 0),
            (6, 5, 16, 2, 5),
            (9, 33, 8, 1, 0),
        )
        for features in FEATURES
    ),
    LayerCase(lengths=True, reset=True, trace=True, contiguous=False, D=2, H=9, bias=False),
]


# The other cells: without projections, and at the widths of four vectors side by side.
CASES = LSTM_CASES + [
    replace(case, cell=cell)
    for cell in CELLS
    if cell not in ("lstm", "lstm_coupled", "lstm_no_forget")
    for case in [
        *(case for case in LSTM_CASES if not case.P and case.H > 1),
        LayerCase(T=1, B=1, I=1, H=1, scale=0.5),
        LayerCase(H=64),
        LayerCase(H=67),
    ]
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_all_gradients(case, backend):
    exact = evaluate(reference_of(case.cell), case, torch.float64)
    # Derivatives of saturated units cancel almost to nothing, and a cell without a cell state shows
    # it: see assert_as_accurate.
    moves = range(1 if case.cell == "lstm" else 3)
    yardsticks = [evaluate(torch_of(case.cell), case, torch.float32, moved) for moved in moves]
    for dtype in (torch.float32, torch.float64):
        ours = evaluate(layer_of(backend, case.cell), case, dtype)
        assert_as_accurate(ours, exact, *yardsticks)
