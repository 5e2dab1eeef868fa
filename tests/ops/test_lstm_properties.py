"""What must hold of any LSTM over sequences, whatever its weights; for every kernel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from support.backends import BACKENDS, layer_of
from support.compare import assert_close
from support.layer_case import LayerCase

TOLERANCE = 1e-12

pytestmark = pytest.mark.parametrize("backend", BACKENDS)


def _named(y: Tensor, h_n: Tensor, c_n: Tensor, *_) -> dict[str, Tensor]:
    return {"y": y, "h_n": h_n, "c_n": c_n}


def _inputs(case: LayerCase) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    x, h0, c0, *weights = case.tensors(torch.float64).values()
    return x, h0, c0, weights


@pytest.mark.parametrize("split", [1, 4, 8])
def test_splitting_and_carrying_the_state_equals_the_whole(backend, split):
    layer = layer_of(backend)
    x, h0, c0, weights = _inputs(LayerCase(T=9, H=17, P=5))
    first = layer(x[:split], h0, c0, weights)
    second = layer(x[split:], first[1], first[2], weights)
    whole = _named(*layer(x, h0, c0, weights))
    joined = {"y": torch.cat([first[0], second[0]]), "h_n": second[1], "c_n": second[2]}
    assert_close(joined, whole, tolerance=TOLERANCE)


def test_step_by_step_equals_the_whole(backend):
    layer = layer_of(backend)
    x, h0, c0, weights = _inputs(LayerCase(T=9, H=17))
    h, c, steps = h0, c0, []
    for step in x.split(1):
        y, h, c, _ = layer(step, h, c, weights)
        steps.append(y)
    whole = _named(*layer(x, h0, c0, weights))
    assert_close({"y": torch.cat(steps), "h_n": h, "c_n": c}, whole, tolerance=TOLERANCE)


def test_permuting_the_batch_permutes_the_result(backend):
    layer = layer_of(backend)
    case = LayerCase(T=6, B=7, H=9, D=2, lengths=True, reset=True)
    x, h0, c0, weights = _inputs(case)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    options = case.sequence_options()
    whole = _named(*layer(x, h0, c0, weights, **options))
    permuted = layer(
        x[:, order],
        h0[:, order],
        c0[:, order],
        weights,
        lengths=options["lengths"][order],
        reset=options["reset"][:, order],
    )
    expected = {name: value[:, order] for name, value in whole.items()}
    assert_close(_named(*permuted), expected, tolerance=TOLERANCE)


def test_lengths_equal_each_sequence_on_its_own(backend):
    layer = layer_of(backend)
    case = LayerCase(T=8, B=6, H=9, P=4, D=2, lengths=True, seed=5)
    x, h0, c0, weights = _inputs(case)
    lengths = case.sequence_options()["lengths"]
    assert len(set(lengths.tolist())) > 3
    y, h_n, c_n, trace = layer(x, h0, c0, weights, lengths=lengths, trace=True)
    for b, length in enumerate(lengths.tolist()):
        row = slice(b, b + 1)
        alone = layer(x[:length, row], h0[:, row], c0[:, row], weights, trace=True)
        together = {"y": y[:length, row], "h_n": h_n[:, row], "c_n": c_n[:, row]}
        together |= {name: value[:, :length, row] for name, value in trace.items()}
        assert_close(together, _named(*alone) | alone[3], tolerance=TOLERANCE)
        assert (y[length:, b] == 0).all()
        assert all((value[:, length:, b] == 0).all() for value in trace.values())


def test_time_turned_around_equals_the_other_direction(backend):
    layer = layer_of(backend)
    x, h0, c0, weights = _inputs(LayerCase(T=7, H=9, D=2))
    count = len(weights) // 2
    y, h_n, c_n, _ = layer(x, h0, c0, weights)
    swapped = [*weights[count:], *weights[:count]]
    turned = layer(x.flip(0), h0.flip(0), c0.flip(0), swapped)
    expected = {
        "y": torch.cat(y.flip(0).chunk(2, dim=-1)[::-1], dim=-1),
        "h_n": h_n.flip(0),
        "c_n": c_n.flip(0),
    }
    assert_close(_named(*turned), expected, tolerance=TOLERANCE)


@pytest.mark.parametrize("cuts", [(0,), (3,), (0, 1, 5), (2, 3, 6), (6,), range(7)], ids=str)
@pytest.mark.parametrize("length", [7, 5], ids=["whole", "padded"])
def test_reset_equals_the_pieces_run_apart(backend, cuts, length):
    layer = layer_of(backend)
    x, h0, c0, weights = _inputs(LayerCase(T=7, B=1, H=9, D=2))
    reset = torch.zeros(7, 1, dtype=torch.bool)
    reset[list(cuts)] = True
    lengths = None if length == 7 else torch.tensor([length])
    y, h_n, c_n, _ = layer(x, h0, c0, weights, lengths=lengths, reset=reset)

    begins = sorted({0, *(cut for cut in cuts if cut < length)})
    ends = [*begins[1:], length]
    pieces = []
    for begin, end in zip(begins, ends, strict=True):
        h, c = torch.zeros_like(h0), torch.zeros_like(c0)
        if begin == 0 and 0 not in cuts:
            h[0], c[0] = h0[0], c0[0]
        if end == length:
            h[1], c[1] = h0[1], c0[1]
        pieces.append(layer(x[begin:end], h, c, weights))
    expected = {
        "y": torch.cat([*(piece[0] for piece in pieces), torch.zeros_like(y[length:])]),
        "h_n": torch.stack([pieces[-1][1][0], pieces[0][1][1]]),
        "c_n": torch.stack([pieces[-1][2][0], pieces[0][2][1]]),
    }
    assert_close({"y": y, "h_n": h_n, "c_n": c_n}, expected, tolerance=TOLERANCE)


def test_the_trace_holds_the_equations(backend):
    layer = layer_of(backend)
    case = LayerCase(T=6, B=3, H=9, P=4, D=2, lengths=True, seed=1)
    x, h0, c0, weights = _inputs(case)
    lengths = case.sequence_options()["lengths"]
    y, h_n, _, trace = layer(x, h0, c0, weights, lengths=lengths, trace=True)
    assert {name: tuple(value.shape) for name, value in trace.items()} == {
        **dict.fromkeys("ifgoc", (2, 6, 3, 9)),
        "h": (2, 6, 3, 4),
    }
    last = lengths - 1
    before = torch.cat([c0[0][None], trace["c"][0][:-1]])
    valid = (torch.arange(6).unsqueeze(1) < lengths).unsqueeze(-1)
    c = trace["f"][0] * before + trace["i"][0] * trace["g"][0]
    h = (trace["o"] * trace["c"].tanh()) @ torch.stack([weights[4].T, weights[9].T])[:, None]
    shown = {"c": trace["c"][0], "h": trace["h"], "y": y, "h_n": h_n[0]}
    expected = {
        "c": torch.where(valid, c, 0),
        "h": h,
        "y": torch.cat([trace["h"][0], trace["h"][1]], dim=-1),
        "h_n": trace["h"][0][last, torch.arange(3)],
    }
    assert_close(shown, expected, tolerance=TOLERANCE)


def test_a_repetition_gives_the_same_bits(backend):
    layer = layer_of(backend)
    case = LayerCase(T=9, B=5, H=33, D=2, lengths=True)
    x, h0, c0, weights = _inputs(case)
    first = _named(*layer(x, h0, c0, weights, **case.sequence_options()))
    again = _named(*layer(x, h0, c0, weights, **case.sequence_options()))
    assert_close(again, first, tolerance=0)
