"""The way of CUDA tensors, as far as it can be gone without a GPU."""

from __future__ import annotations

import pytest
import torch

from gatewise.ops import cudnn, dispatch
from gatewise.ops._operands import Operands
from gatewise.ops.reference import CellOptions
from support.compare import assert_close
from support.layer_case import LayerCase, reference_of


def operands_of(case: LayerCase) -> Operands:
    x, *others = case.tensors(torch.float64).values()
    return Operands(case.cell, x, others[: case.states], others[case.states :])


@pytest.mark.parametrize(
    "case",
    [
        LayerCase(D=2),
        LayerCase(P=3, bias=False),
        LayerCase(cell="gru", D=2),
        LayerCase(cell="rnn_tanh"),
        LayerCase(cell="rnn_relu", bias=False, scale=0.3),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_torchs_operation_computes_the_layer(case):
    operands = operands_of(case)
    assert cudnn.obstacle(operands, trace=False) is None
    y, final, trace = cudnn.run(operands)
    assert trace is None
    expected = reference_of(case.cell)(operands.x, *operands.states, operands.weights)
    assert_close(dict(enumerate([y, *final])), dict(enumerate(expected[:-1])), tolerance=1e-12)


def test_what_it_cannot_do():
    plain = operands_of(LayerCase(B=2))
    assert cudnn.obstacle(plain, trace=True)
    for change in (
        {"cell": "lstm_coupled"},
        {"options": CellOptions(peephole=True)},
        {"options": CellOptions(reverse=True)},
        {"lengths": torch.tensor([1, 2])},
        {"reset": torch.zeros(5, 2, dtype=torch.bool)},
    ):
        assert cudnn.obstacle(plain._replace(**change), trace=False)


def test_cuda_tensors_are_sent_there(monkeypatch):
    """Which way a call goes, with tensors that only seem to be on a GPU."""
    case = LayerCase(cell="gru")
    given = operands_of(case)
    monkeypatch.setattr(dispatch, "_on_cuda", lambda tensors: True)
    monkeypatch.setattr(dispatch, "_obstacle", lambda *_, **__: "tensors on cuda:0")
    taken, run = [], cudnn.run

    def count(operands: Operands):
        taken.append(operands.cell)
        return run(operands)

    monkeypatch.setattr(cudnn, "run", count)
    call = ("gru", given.x, tuple(given.states), given.weights)
    dispatch.run_layer(*call)
    assert taken == ["gru"]
    dispatch.run_layer(*call, lengths=torch.tensor([1, 2, 3]))
    dispatch.run_layer(*call, trace=True)
    dispatch.run_layer(*call, backend="reference")
    assert taken == ["gru"]
    # Pieces against time are not for it.
    whole = operands_of(LayerCase(cell="gru", D=2))
    weights = [weight.requires_grad_() for weight in whole.weights]
    both = ("gru", whole.x, tuple(whole.states), weights)
    pieces, plain = dispatch.run_layer(*both, recompute=2), reference_of("gru")
    expected = plain(whole.x, *whole.states, weights)[0]
    assert_close({"y": pieces.y.detach()}, {"y": expected.detach()}, tolerance=1e-12)
    assert taken == ["gru"] * 4  # three pieces with time
    assert dispatch.explain(given.weights, "gru").backend in ("cudnn", "torch.cuda")
    assert dispatch.explain(given.weights, "gru", backend="reference").backend == "reference"
    normed = dispatch.explain(given.weights, "gru", options=CellOptions(layer_norm=True))
    assert normed.backend == "reference"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    case = LayerCase(T=17, B=8, I=16, H=32, D=2)
    on_cpu = operands_of(case)
    on_gpu = [t.cuda() for t in on_cpu.tensors()]
    moved = on_cpu.replaced(on_gpu)
    run = dispatch.run_layer
    ours = run(moved.cell, moved.x, tuple(moved.states), moved.weights)
    expected = run(on_cpu.cell, on_cpu.x, tuple(on_cpu.states), on_cpu.weights)
    assert_close({"y": ours.y.cpu()}, {"y": expected.y}, tolerance=1e-10)
    assert dispatch.explain(moved.weights, moved.cell).backend == "cudnn"
