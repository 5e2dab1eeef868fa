"""Layers that multiply float32 in tile registers, as parts in bfloat16."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch

import gatewise as gw
from gatewise.ops import dispatch, kernels
from gatewise.ops.kernels import LargeLayer
from gatewise.ops.reference import CELLS, PLAIN, CellOptions
from support.backends import layer_of
from support.compare import assert_as_accurate, assert_equal
from support.layer_case import LayerCase, evaluate, reference_of, torch_of

SIZES = [
    LayerCase(T=1, B=1, I=1, H=1, scale=0.5),
    LayerCase(T=4, B=37, I=20, H=33, D=2),
    LayerCase(T=17, B=16, I=64, H=128),
    LayerCase(T=9, B=33, I=31, H=17, lengths=True, reset=True, trace=True, D=2),
    LayerCase(T=6, B=5, I=7, H=67, bias=False, contiguous=False),
    LayerCase(T=17, B=40, I=16, H=16, scale=4.0),
]
CASES = [replace(size, cell=cell) for cell in kernels.AMX_CELLS for size in SIZES]
CASES.append(LayerCase(T=6, B=20, I=9, H=40, P=17, D=2, lengths=True, reset=True))


@pytest.fixture
def in_parts(monkeypatch):
    """Multiply float32 in tile registers, however small the layer."""
    if kernels.IN_PARTS not in kernels.KERNELS:
        pytest.skip("needs a processor with AMX, and GATEWISE_ISA unset or amx")
    monkeypatch.setattr(kernels, "LARGE", LargeLayer(1, 1, 1, 1))


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_accurate_as_torch(case):
    exact = evaluate(reference_of(case.cell), case, torch.float64)
    yardsticks = [evaluate(torch_of(case.cell), case, torch.float32, moved) for moved in range(3)]
    ours = evaluate(layer_of("native", case.cell), case, torch.float32)
    assert_as_accurate(ours, exact, *yardsticks)


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_results_are_those_of_parts_in_training_inference_and_frozen(kind, monkeypatch):
    layer, x = getattr(gw.nn, kind)(70, 130, num_layers=2).eval(), torch.randn(9, 40, 70)
    trained = layer(x)[0].detach()
    with torch.no_grad():
        inferred = layer(x)[0]
    frozen = gw.freeze(layer)(x)[0]
    assert_equal(
        {"inferred": inferred, "frozen": frozen}, dict.fromkeys(["inferred", "frozen"], trained)
    )
    monkeypatch.setattr(kernels, "LARGE", LargeLayer(10**9, 10**9, 1, 1))
    by_multiply_adds = layer(x)[0].detach()
    torch.testing.assert_close(by_multiply_adds, trained, rtol=1e-5, atol=1e-5)
    assert not by_multiply_adds.equal(trained)


@pytest.mark.usefixtures("in_parts")
def test_numbers_of_any_size():
    # Cells that hold what they are given: tiny and huge inputs through tiny and huge weights.
    scales = torch.logspace(-30, 30, 64)
    ours, theirs = gw.nn.RNN(64, 40, nonlinearity="relu"), torch.nn.RNN(64, 40, nonlinearity="relu")
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        for layer in (ours, theirs):
            layer.weight_ih_l0 /= scales
    x = torch.randn(5, 20, 64) * scales
    found = {}
    for name, layer, given in (
        ("ours", ours, x),
        ("theirs", theirs, x),
        ("exact", copy.deepcopy(theirs).double(), x.double()),
    ):
        given.requires_grad_()
        y, _ = layer(given)
        grads = torch.autograd.grad(y.square().sum(), [given, *layer.parameters()])
        found[name] = dict(
            enumerate([y.detach(), grads[0] * scales, grads[1] / scales, *grads[2:]])
        )
    assert_as_accurate(found["ours"], found["exact"], found["theirs"])


@pytest.mark.usefixtures("in_parts")
def test_what_is_not_finite_stays_in_its_row():
    layer, x = gw.nn.LSTM(33, 50), torch.randn(6, 40, 33)
    want = layer(x)[0]
    x[2, 4, 7], x[3, 20, 2] = math.inf, math.nan
    y = layer(x)[0]
    for row, step in ((4, 2), (20, 3)):
        assert y[:step, row].isfinite().all()
        assert y[step:, row].isnan().any(-1).all()
    others = [b for b in range(40) if b not in (4, 20)]
    assert y[:, others].equal(want[:, others])


@pytest.mark.parametrize(
    ("cell", "dtype", "options", "hidden", "want"),
    [
        ("lstm", torch.float32, PLAIN, 128, True),
        ("lstm", torch.float32, PLAIN, 127, False),
        ("gru", torch.float32, PLAIN, 128, True),
        ("lstm", torch.bfloat16, PLAIN, 128, True),
        ("rnn_tanh", torch.float32, PLAIN, 256, True),
        ("rnn_tanh", torch.float32, PLAIN, 255, False),
        ("min_gru", torch.float32, PLAIN, 128, True),
        ("min_gru", torch.float32, PLAIN, 127, False),
        ("lstm", torch.float64, PLAIN, 512, False),
        ("lstm", torch.float32, CellOptions(bf16=True), 512, False),
        ("lstm", torch.float32, CellOptions(peephole=True), 512, False),
        ("slstm", torch.float32, PLAIN, 512, False),
    ],
)
def test_large_layers_are_in_parts_and_say_so(cell, dtype, options, hidden, want):
    want = want and kernels.IN_PARTS in kernels.KERNELS
    assert kernels.in_parts(cell, dtype, options, hidden) == want
    gates = CELLS[cell].gates
    explained = dispatch.explain(
        [torch.zeros(gates * hidden, 3, dtype=dtype)], cell, options=options
    )
    rows = "32 rows a step on average"
    if not CELLS[cell].feeds_back:
        rows = f"{rows}, or 384 in all,"
    assert (f"amx from {rows} on" in explained.reason) == want


@pytest.mark.parametrize(
    ("kind", "steps", "rows", "lengths", "want"),
    [
        ("LSTM", 2, 31, None, False),
        ("LSTM", 2, 32, None, True),
        ("LSTM", 2, 32, [2] * 31 + [1], False),
        ("LSTM", 2, 33, [2] * 31 + [1] * 2, True),
        ("LSTM", 48, 8, None, False),
        ("MinGRU", 48, 8, None, True),
        ("MinGRU", 384, 1, [383], False),
        ("MinLSTM", 2, 32, None, True),
    ],
)
def test_steps_of_enough_rows_are_in_parts(kind, steps, rows, lengths, want, monkeypatch):
    layer, x = getattr(gw.nn, kind)(8, 128), torch.randn(steps, rows, 8, requires_grad=True)

    def run():
        y, _ = layer(x, lengths=lengths)
        return [y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])]

    chosen = run()
    monkeypatch.setattr(kernels, "LARGE", LargeLayer(10**9, 10**9, 1, 1))
    by_multiply_adds = run()
    in_parts = want and kernels.IN_PARTS in kernels.KERNELS
    differ = [not one.equal(other) for one, other in zip(chosen, by_multiply_adds, strict=True)]
    assert differ == [in_parts] * len(differ)


def test_a_frozen_layer_packs_for_few_rows_and_for_many():
    layer = gw.nn.GRU(20, 128).eval()
    inputs = [torch.randn(3, rows, 20) for rows in (4, 40, 4, 40)]
    with torch.no_grad():
        want = [layer(x)[0] for x in inputs]
        frozen = gw.freeze(layer)
        assert all(frozen(x)[0].equal(y) for x, y in zip(inputs, want, strict=True))
