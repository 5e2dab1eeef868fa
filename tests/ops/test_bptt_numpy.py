"""The hand-derived LSTM against autograd and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gatewise.ops.reference import bptt_numpy
from support.compare import assert_close
from support.layer_case import LayerCase, evaluate, reference_layer


def _by_hand(x, h0, c0, weights, **_):
    """Run the page as a layer with a gradient, so that the common evaluation applies."""
    return *_ByHand.apply(x, h0, c0, *weights), None


class _ByHand(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, h0, c0, *weights):
        inputs = [value.detach().numpy() for value in (x, h0[0], c0[0], *weights)]
        y, h_n, c_n, ctx.tape = bptt_numpy.forward(*inputs)
        return torch.tensor(y), torch.tensor(h_n)[None], torch.tensor(c_n)[None]

    @staticmethod
    def backward(ctx, dy, dh_n, dc_n):
        pulls = [value.numpy() for value in (dy, dh_n[0], dc_n[0])]
        dx, dh0, dc0, *dweights = map(torch.tensor, bptt_numpy.backward(ctx.tape, *pulls))
        return dx, dh0[None], dc0[None], *dweights


@pytest.mark.parametrize(
    "case",
    [
        LayerCase(),
        LayerCase(T=1, B=1, I=1, H=1),
        LayerCase(T=40, B=2, I=3, H=8, seed=1),
        LayerCase(T=12, scale=3.0, seed=2),
    ],
    ids=str,
)
def test_outputs_and_all_gradients_agree_with_autograd(case):
    autograd = evaluate(reference_layer, case, torch.float64)
    assert_close(evaluate(_by_hand, case, torch.float64), autograd, tolerance=1e-10)


def test_gradients_agree_with_finite_differences():
    draw = np.random.default_rng(0)
    T, B, I, H = 3, 2, 2, 3  # noqa: E741
    shapes = [(T, B, I), (B, H), (B, H), (4 * H, I), (4 * H, H), (4 * H,), (4 * H,)]
    inputs = [draw.normal(size=shape) for shape in shapes]
    dy, dh_n, dc_n = draw.normal(size=(T, B, H)), draw.normal(size=(B, H)), draw.normal(size=(B, H))

    def loss() -> float:
        y, h_n, c_n, _ = bptt_numpy.forward(*inputs)
        return float((y * dy).sum() + (h_n * dh_n).sum() + (c_n * dc_n).sum())

    gradients = bptt_numpy.backward(bptt_numpy.forward(*inputs)[3], dy, dh_n, dc_n)
    for value, gradient in zip(inputs, gradients, strict=True):
        for place in np.ndindex(value.shape):
            kept = value[place]
            value[place] = kept + 1e-6
            above = loss()
            value[place] = kept - 1e-6
            below = loss()
            value[place] = kept
            assert abs((above - below) / 2e-6 - gradient[place]) < 1e-7
