"""The references against torch in float64: outputs and all gradients, first and second order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gatewise.errors import InvalidValueError
from gatewise.ops.reference import (
    gru_layer,
    gru_step,
    lstm_layer,
    lstm_step,
    rnn_layer,
    rnn_step,
)
from support.compare import assert_as_accurate, assert_close
from support.lstm_case import LSTMCase, evaluate, torch_layer

CASES = [
    LSTMCase(),
    LSTMCase(bias=False),
    LSTMCase(D=2),
    LSTMCase(P=3),
    LSTMCase(D=2, P=3, bias=False),
    LSTMCase(T=1, B=1, I=1, H=1),
    LSTMCase(T=17, contiguous=False, D=2),
    LSTMCase(B=0),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_lstm_agrees_with_torch(case):
    ours = evaluate(lstm_layer, case, torch.float64)
    assert_close(ours, evaluate(torch_layer, case, torch.float64), tolerance=1e-14)


@pytest.mark.parametrize(
    ("kind", "ours"),
    [
        ("gru", gru_layer),
        ("rnn_tanh", lambda *a: rnn_layer(*a, nonlinearity="tanh")),
        ("rnn_relu", lambda *a: rnn_layer(*a, nonlinearity="relu")),
    ],
)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("D", [1, 2])
def test_gru_and_rnn_agree_with_torch(kind, ours, bias, D):
    T, B, I, H = 6, 3, 4, 5  # noqa: E741
    G = 3 if kind == "gru" else 1
    shapes = [(T, B, I), (D, B, H)]
    shapes += ([(G * H, I), (G * H, H)] + [(G * H,)] * 2 * bias) * D
    draw = torch.Generator().manual_seed(0)
    values = [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]
    pulls = [
        torch.randn(shape, generator=draw, dtype=torch.float64)
        for shape in ((T, B, D * H), (D, B, H))
    ]

    def run(layer) -> dict[str, Tensor]:
        x, h0, *weights = (value.clone().requires_grad_() for value in values)
        y, h_n = layer(x, h0, weights)
        torch.autograd.backward([y, h_n], pulls)
        grads = {f"grad{n}": value.grad for n, value in enumerate([x, h0, *weights])}
        return {"y": y, "h_n": h_n} | grads

    def torchs(x, h0, weights):
        operation = getattr(torch, kind)
        return operation(x, h0, weights, bias, 1, 0.0, False, D == 2, False)

    assert_close(run(lambda *a: ours(*a)[:2]), run(torchs), tolerance=1e-14)


def _small(H: int, G: int, *, P: int = 0, D: int = 1) -> list[Tensor]:
    """Return x, states and weights of a small layer, all to be differentiated."""
    draw = torch.Generator().manual_seed(1)
    T, B, I = 3, 2, 2  # noqa: E741
    shapes = [(T, B, I), (D, B, P or H)] + ([(D, B, H)] if G == 4 else [])
    shapes += [(G * H, I), (G * H, P or H), (G * H,), (G * H,)] * D
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


@pytest.mark.parametrize("options", OPTIONS, ids=OPTION_NAMES)
def test_lstm_gradients_of_first_and_second_order(options):
    def run(x, h0, c0, *weights):
        y, h_n, c_n, trace = lstm_layer(x, h0, c0, weights, trace=True, **options)
        return y, h_n, c_n, trace["f"], trace["c"]

    inputs = _small(2, 4, P=1)
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("options", OPTIONS, ids=OPTION_NAMES)
def test_lstm_gradients_in_both_directions(options):
    def run(x, h0, c0, *weights):
        return lstm_layer(x, h0, c0, weights, **options)[:3]

    assert torch.autograd.gradcheck(run, _small(2, 4, D=2))


@pytest.mark.parametrize("options", OPTIONS[::3], ids=OPTION_NAMES[::3])
def test_gru_and_rnn_gradients(options):
    assert torch.autograd.gradcheck(
        lambda x, h0, *weights: gru_layer(x, h0, weights, **options)[:2], _small(2, 3)
    )
    assert torch.autograd.gradcheck(
        lambda x, h0, *weights: rnn_layer(x, h0, weights, **options)[:2], _small(2, 1)
    )


def test_a_step_is_a_layer_of_one_step():
    x, h0, c0, *weights = _small(4, 4, P=3)
    y, h_n, c_n, _ = lstm_layer(x[:1], h0, c0, weights)
    h, c = lstm_step(x[0], h0[0], c0[0], weights)
    assert_close({"y": h, "h": h, "c": c}, {"y": y[0], "h": h_n[0], "c": c_n[0]}, tolerance=0)
    x, h0, *weights = _small(4, 3)
    assert_close(
        {"h": gru_step(x[0], h0[0], weights)},
        {"h": gru_layer(x[:1], h0, weights)[0][0]},
        tolerance=0,
    )
    x, h0, *weights = _small(4, 1)
    assert_close(
        {"h": rnn_step(x[0], h0[0], weights, nonlinearity="relu")},
        {"h": rnn_layer(x[:1], h0, weights, nonlinearity="relu")[0][0]},
        tolerance=0,
    )


def test_gru_and_rnn_traces_hold_their_equations():
    x, h0, *weights = _small(4, 3)
    y, _, trace = gru_layer(x, h0, weights, trace=True)
    before = torch.cat([h0[0][None], trace["h"][0][:-1]])
    mixed = (1 - trace["z"][0]) * trace["n"][0] + trace["z"][0] * before
    assert_close({"y": mixed, "h": trace["h"][0]}, {"y": y, "h": y}, tolerance=1e-15)
    x, h0, *weights = _small(4, 1)
    y, _, trace = rnn_layer(x, h0, weights, trace=True)
    assert_close({"h": trace["h"][0]}, {"h": y}, tolerance=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_in_float32(dtype):
    case = LSTMCase(T=17, H=16, D=2, scale=0.5)
    tensors = {name: value.to(dtype) for name, value in case.tensors(torch.float32).items()}

    def run(layer, to: torch.dtype) -> dict[str, Tensor]:
        x, h0, c0, *weights = (value.to(to) for value in tensors.values())
        return dict(zip(("y", "h_n", "c_n"), layer(x, h0, c0, weights)[:3], strict=True))

    exact = run(lstm_layer, torch.float64)
    ours = run(lstm_layer, dtype)
    assert {value.dtype for value in ours.values()} == {dtype}
    assert_as_accurate(ours, exact, run(torch_layer, dtype))
    rounded = {name: value.to(dtype) for name, value in run(lstm_layer, torch.float32).items()}
    assert_close(ours, rounded, tolerance=0)


def test_padding_and_discarded_states_never_reach_a_result():
    case = LSTMCase(T=6, B=4, D=2, lengths=True, seed=2)
    options = case.sequence_options()
    padding = torch.arange(case.T).unsqueeze(1) >= options["lengths"]

    def run(fill: float) -> dict[str, Tensor]:
        x, h0, c0, *weights = case.tensors(torch.float64).values()
        x = torch.where(padding.unsqueeze(-1), fill, x).requires_grad_()
        weights = [weight.requires_grad_() for weight in weights]
        y, h_n, c_n, _ = lstm_layer(x, h0, c0, weights, **options)
        grads = torch.autograd.grad((y.sum() + h_n.sum() + c_n.sum()), [x, *weights])
        return {"y": y, "h_n": h_n} | {f"grad{n}": grad for n, grad in enumerate(grads)}

    assert_close(run(float("nan")), run(0.0), tolerance=0)
    assert (run(1.0)["grad0"][padding] == 0).all()


def test_non_finite_input_propagates():
    x, h0, c0, *weights = _small(3, 4)
    poisoned = x.detach().clone()
    poisoned[1, 0, 0] = float("nan")
    y, h_n, _, _ = lstm_layer(poisoned, h0, c0, weights)
    assert y[1:, 0].isnan().all()
    assert h_n[0, 0].isnan().all()
    assert y[0].isfinite().all()
    assert y[:, 1].isfinite().all()


def test_a_wrong_number_of_weights_is_refused():
    x, h0, c0, *weights = _small(3, 4)
    with pytest.raises(InvalidValueError, match="weights: expected 2, 3, 4 or 5"):
        lstm_layer(x, h0, c0, weights[:1])
