"""The references against torch in float64: outputs and all gradients, first and second order."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gatewise.errors import InvalidValueError
from gatewise.ops.reference import CELLS, GRU, RNN_RELU, RNN_TANH, layer, step
from support.compare import assert_as_accurate, assert_close
from support.layer_case import (
    LayerCase,
    evaluate,
    reference_layer,
    reference_of,
    torch_layer,
    torch_of,
)

CASES = [
    LayerCase(),
    LayerCase(bias=False),
    LayerCase(D=2),
    LayerCase(P=3),
    LayerCase(D=2, P=3, bias=False),
    LayerCase(T=1, B=1, I=1, H=1),
    LayerCase(T=17, contiguous=False, D=2),
    LayerCase(B=0),
]


@pytest.mark.parametrize(
    "case",
    [replace(c, cell=cell) for cell in CELLS for c in CASES if cell == "lstm" or not c.P],
    ids=str,
)
def test_they_agree_with_torch(case):
    ours = evaluate(reference_of(case.cell), case, torch.float64)
    assert_close(ours, evaluate(torch_of(case.cell), case, torch.float64), tolerance=1e-14)


def _small(
    H: int, G: int, *, P: int = 0, D: int = 1, cells: int = 0, feeds_back: bool = True
) -> list[Tensor]:
    """Return x, states and weights of a small layer, all to be differentiated."""
    draw = torch.Generator().manual_seed(1)
    T, B, I = 3, 2, 2  # noqa: E741
    shapes = [(T, B, I), (D, B, P or H), *[(D, B, H)] * cells]
    weights = [(G * H, I), (G * H, P or H), (G * H,), (G * H,)]
    shapes += (weights if feeds_back else weights[::2]) * D
    if P:
        shapes.append((P, H))
    return [
        torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_() for shape in shapes
    ]


OPTIONS = [
    {},
    {"lengths": torch.tensor([3, 2])},
    {"reset": torch.tensor([[False, True], [True, False], [False, True]])},
    {
        "lengths": torch.tensor([2, 3]),
        "reset": torch.tensor([[False, True], [True, False], [True, True]]),
    },
]
OPTION_NAMES = ["plain", "lengths", "reset", "both"]
MINIMAL = [cell for cell in CELLS.values() if not cell.feeds_back]


@pytest.mark.parametrize("options", OPTIONS, ids=OPTION_NAMES)
def test_lstm_gradients_of_first_and_second_order(options):
    def run(x, h0, c0, *weights):
        y, h_n, c_n, trace = reference_layer(x, h0, c0, weights, trace=True, **options)
        return y, h_n, c_n, trace["f"], trace["c"]

    inputs = _small(2, 4, P=1, cells=1)
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("options", OPTIONS, ids=OPTION_NAMES)
def test_lstm_gradients_in_both_directions(options):
    def run(x, h0, c0, *weights):
        return reference_layer(x, h0, c0, weights, **options)[:3]

    assert torch.autograd.gradcheck(run, _small(2, 4, D=2, cells=1))


@pytest.mark.parametrize("options", OPTIONS[::3], ids=OPTION_NAMES[::3])
@pytest.mark.parametrize("cell", [GRU, RNN_TANH, RNN_RELU, *MINIMAL], ids=lambda cell: cell.name)
def test_gradients_of_first_and_second_order(cell, options):
    def run(x, h0, *weights):
        y, (h_n,), _ = layer(cell, x, (h0,), weights, **options)
        return y, h_n

    inputs = _small(2, cell.gates, D=2, feeds_back=cell.feeds_back)
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_a_step_is_a_layer_of_one_step(cell):
    cells = len(cell.states) - 1
    P = 3 if cell.name.startswith("lstm") else 0
    x, *others = _small(4, cell.gates, P=P, cells=cells, feeds_back=cell.feeds_back)
    states, weights = tuple(others[: len(cell.states)]), others[len(cell.states) :]
    y, final, _ = layer(cell, x[:1], states, weights)
    after = step(cell, x[0], tuple(state[0] for state in states), weights)
    assert_close(
        dict(enumerate([after[0], *after])),
        dict(enumerate([y[0], *(state[0] for state in final)])),
        tolerance=0,
    )


def test_gru_and_rnn_traces_hold_their_equations():
    x, h0, *weights = _small(4, 3)
    y, _, trace = layer(GRU, x, (h0,), weights, trace=True)
    assert list(trace) == ["r", "z", "n", "h"]
    before = torch.cat([h0[0][None], trace["h"][0][:-1]])
    mixed = (1 - trace["z"][0]) * trace["n"][0] + trace["z"][0] * before
    assert_close({"y": mixed, "h": trace["h"][0]}, {"y": y, "h": y}, tolerance=1e-15)
    x, h0, *weights = _small(4, 1)
    y, _, trace = layer(RNN_TANH, x, (h0,), weights, trace=True)
    assert list(trace) == ["h"]
    assert_close({"h": trace["h"][0]}, {"h": y}, tolerance=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_in_float32(dtype):
    case = LayerCase(T=17, H=16, D=2, scale=0.5)
    tensors = {name: value.to(dtype) for name, value in case.tensors(torch.float32).items()}

    def run(layer, to: torch.dtype) -> dict[str, Tensor]:
        x, h0, c0, *weights = (value.to(to) for value in tensors.values())
        return dict(zip(("y", "h_n", "c_n"), layer(x, h0, c0, weights)[:3], strict=True))

    exact = run(reference_layer, torch.float64)
    ours = run(reference_layer, dtype)
    assert {value.dtype for value in ours.values()} == {dtype}
    assert_as_accurate(ours, exact, run(torch_layer, dtype))
    rounded = {name: value.to(dtype) for name, value in run(reference_layer, torch.float32).items()}
    assert_close(ours, rounded, tolerance=0)


def test_padding_and_discarded_states_never_reach_a_result():
    case = LayerCase(T=6, B=4, D=2, lengths=True, seed=2)
    options = case.sequence_options()
    padding = torch.arange(case.T).unsqueeze(1) >= options["lengths"]

    def run(fill: float) -> dict[str, Tensor]:
        x, h0, c0, *weights = case.tensors(torch.float64).values()
        x = torch.where(padding.unsqueeze(-1), fill, x).requires_grad_()
        weights = [weight.requires_grad_() for weight in weights]
        y, h_n, c_n, _ = reference_layer(x, h0, c0, weights, **options)
        grads = torch.autograd.grad((y.sum() + h_n.sum() + c_n.sum()), [x, *weights])
        return {"y": y, "h_n": h_n} | {f"grad{n}": grad for n, grad in enumerate(grads)}

    assert_close(run(float("nan")), run(0.0), tolerance=0)
    assert (run(1.0)["grad0"][padding] == 0).all()


def test_non_finite_input_propagates():
    x, h0, c0, *weights = _small(3, 4, cells=1)
    poisoned = x.detach().clone()
    poisoned[1, 0, 0] = float("nan")
    y, h_n, _, _ = reference_layer(poisoned, h0, c0, weights)
    assert y[1:, 0].isnan().all()
    assert h_n[0, 0].isnan().all()
    assert y[0].isfinite().all()
    assert y[:, 1].isfinite().all()


def test_a_wrong_number_of_weights_is_refused():
    x, h0, c0, *weights = _small(3, 4, cells=1)
    with pytest.raises(InvalidValueError, match="weights: expected 2, 3, 4 or 5"):
        reference_layer(x, h0, c0, weights[:1])
