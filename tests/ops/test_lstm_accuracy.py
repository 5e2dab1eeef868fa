"""Every LSTM kernel against the float64 reference, by the yardstick of torch's own operation."""

from __future__ import annotations

import pytest
import torch

from gatewise.ops import reference
from support.backends import BACKENDS, layer_of
from support.compare import assert_as_accurate
from support.lstm_case import LSTMCase, evaluate, torch_layer

# One vector of a kernel holds 4, 8 or 16 numbers; each edge is met from both sides.
WIDTHS = sorted({w for n in (4, 8, 16) for w in (n - 1, n, n + 1, 2 * n + 3)})

FEATURES = [
    ("lengths",),
    ("reset",),
    ("lengths", "reset"),
    ("trace",),
    ("lengths", "reset", "trace"),
]

CASES = [
    *(LSTMCase(H=width, I=5, seed=width) for width in WIDTHS),
    *(LSTMCase(H=5, I=width, seed=width) for width in WIDTHS),
    *(LSTMCase(H=w, I=w, D=2, B=2, seed=w) for w in (7, 16, 17, 35)),
    *(LSTMCase(T=T, B=B, H=17, I=9, D=2) for T in (1, 2, 3, 17) for B in (1, 2, 5)),
    LSTMCase(T=1, B=1, H=1, I=1),
    LSTMCase(T=17, B=1, H=64, I=64),
    LSTMCase(T=4, B=37, H=33, I=20, D=2),
    LSTMCase(B=0, D=2),
    *(LSTMCase(H=17, I=9, P=P, D=2, bias=P != 3) for P in (1, 3, 8, 16)),
    LSTMCase(H=17, bias=False, D=2),
    LSTMCase(H=17, I=9, contiguous=False, D=2),
    LSTMCase(H=16, I=16, scale=4.0, T=17),
    *(
        LSTMCase(T=T, B=B, H=H, I=7, D=D, P=P, seed=T, **dict.fromkeys(features, True))
        for T, B, H, D, P in (
            (2, 3, 4, 2, 0),
            (17, 5, 17, 2, 0),
            (6, 5, 16, 2, 5),
            (9, 33, 8, 1, 0),
        )
        for features in FEATURES
    ),
    LSTMCase(lengths=True, reset=True, trace=True, contiguous=False, D=2, H=9, bias=False),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_all_gradients(case, backend):
    exact = evaluate(reference.lstm_layer, case, torch.float64)
    yardstick = evaluate(torch_layer, case, torch.float32)
    for dtype in (torch.float32, torch.float64):
        assert_as_accurate(evaluate(layer_of(backend), case, dtype), exact, yardstick)
