"""SLSTM: equations written out once more, heads that do not mix, extremes, company."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gatewise.errors import InvalidSettingsError, InvalidStateError, InvalidValueError
from gatewise.nn import LSTM, SLSTM, SLSTMTrace, Stack, freeze
from support.backends import CHOICES
from support.compare import assert_close

T, B, I, H = 7, 3, 5, 12  # noqa: E741 - the field's letter

each_backend = pytest.mark.parametrize("backend", CHOICES)
each_gate = pytest.mark.parametrize("forget_gate", ["sigmoid", "exponential"])


def make(*sizes: int, **options) -> SLSTM:
    draw = torch.Generator().manual_seed(0)
    return SLSTM(*(sizes or (I, H)), generator=draw, **options).double()


def make_x(*shape: int) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(*(shape or (T, B, I)), generator=draw, dtype=torch.float64)


def unstabilised(layer: SLSTM, x: Tensor) -> Tensor:
    """Equations (8) to (14) of the paper, without a stabiliser, head by head, unit by unit."""
    width = layer.hidden_size // layer.heads
    h = x.new_zeros(x.shape[1], layer.hidden_size)
    c, n = h, h
    outputs = []
    for x_t in x:
        raw = x_t @ layer.weight_ih_l0.T + layer.bias_ih_l0 + layer.bias_hh_l0
        seen = []
        for gate in range(4):
            for head in range(layer.heads):
                units = slice(head * width, (head + 1) * width)
                rows = layer.weight_hh_l0[gate * layer.hidden_size :][units]
                seen.append(h[:, units] @ rows.T)
        i, f, z, o = (raw + torch.cat(seen, 1)).chunk(4, 1)
        f = f.sigmoid() if layer.forget_gate == "sigmoid" else f.exp()
        c, n = f * c + i.exp() * z.tanh(), f * n + i.exp()
        h = o.sigmoid() * c / n
        outputs.append(h)
    return torch.stack(outputs)


@each_backend
@each_gate
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_equations_of_the_paper(backend, forget_gate, heads):
    layer = make(heads=heads, forget_gate=forget_gate, backend=backend)
    x = make_x().requires_grad_()
    ours, theirs = layer(x)[0], unstabilised(layer, x)
    assert_close({"y": ours}, {"y": theirs}, tolerance=1e-12)
    leaves = [x, *layer.parameters()]
    pull = make_x(T, B, H)
    grads = [dict(enumerate(torch.autograd.grad(y, leaves, pull))) for y in (ours, theirs)]
    assert_close(*grads, tolerance=1e-11)


def test_heads_do_not_see_each_other():
    layer = make(heads=3)
    state = layer.initial_state(B)
    moved = (state[0].clone(), *state[1:])
    moved[0][..., :4] += 1
    x = make_x(1, B, I)
    difference = (layer(x, moved)[0] - layer(x, state)[0]).abs().amax((0, 1))
    assert (difference[:4] > 1e-6).all()
    assert difference[4:].eq(0).all()
    assert layer.weight_hh_l0.shape == (4 * H, H // 3)


@each_backend
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_gates_that_no_exponential_holds(backend, dtype):
    layer = make(1, 4, forget_gate="exponential", backend=backend).to(dtype)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.zero_()
        layer.bias_ih_l0[:4] = torch.tensor([1e4, -1e4, 1e4, -1e4])
        layer.bias_ih_l0[4:8] = torch.tensor([1e4, 1e4, -1e4, -1e4])
        layer.bias_ih_l0[8:12] = 1.0
    y, states, trace = layer(torch.zeros(5, 2, 1, dtype=dtype), trace=True)
    assert all(part.isfinite().all() for part in (y, *states, *trace))
    # Every value that came in is the same, and so is their mean, whatever its weights are.
    assert_close({"y": y}, {"y": torch.full_like(y, 0.5 * math.tanh(1.0))}, tolerance=1e-6)
    y.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in layer.parameters())


@each_backend
def test_the_stabiliser_begins_at_minus_infinity_after_a_cut(backend):
    layer = make(heads=2, backend=backend, bidirectional=True)
    x = make_x()
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[3] = True
    whole, states = layer(x, reset=reset)
    head, tail = layer(x[:3]), layer(x[3:])
    assert_close({"y": torch.cat([head[0], tail[0]])}, {"y": whole}, tolerance=1e-14)
    assert_close({"m": tail[1][3][0]}, {"m": states[3][0]}, tolerance=1e-14)
    begin = layer.initial_state(B)
    assert begin[3].eq(float("-inf")).all()
    assert all(part.eq(0).all() for part in begin[:3])


@each_backend
def test_a_sequence_goes_on(backend):
    layer = make(heads=4, num_layers=2, backend=backend)
    x = make_x()
    whole, last = layer(x)
    head, state = layer(x[:3])
    tail, after = layer(x[3:], state)
    assert_close({"y": torch.cat([head, tail])}, {"y": whole}, tolerance=1e-13)
    assert_close(
        dict(zip("hcnm", after, strict=True)), dict(zip("hcnm", last, strict=True)), tolerance=1e-13
    )


def test_trace():
    layer = make(heads=2)
    y, (_, c, n, m), trace = layer(make_x(), lengths=[T, 2, 5], trace=True)
    assert isinstance(trace, SLSTMTrace)
    before = torch.cat([torch.full((1, B, H), -math.inf), trace.m[0, :-1]])
    largest = torch.maximum(trace.log_f[0] + before, trace.log_i[0])
    assert_close({"m": trace.m[0, :, 0]}, {"m": largest[:, 0]}, tolerance=1e-14)
    h = trace.o * trace.c / trace.n
    assert_close({"h": h[0, :, 0]}, {"h": y[:, 0]}, tolerance=1e-14)
    for part, name in ((c, "c"), (n, "n"), (m, "m")):
        assert_close({name: part[0, 1]}, {name: getattr(trace, name)[0, 1, 1]}, tolerance=0.0)
    assert all(part[0, 2:, 1].eq(0).all() for part in trace)


def test_beside_other_layers_frozen_and_recomputed():
    stack = Stack(LSTM(I, H), nn.LayerNorm(H), make(H, H, heads=3, residual=True)).double().eval()
    x = make_x()
    whole, state = stack(x)
    assert len(state.detach().layers[1]) == 4
    assert_close({"y": stack(x, recompute=2)[0]}, {"y": whole}, tolerance=1e-14)
    freeze(stack)
    for _ in range(2):
        assert_close({"y": stack(x)[0]}, {"y": whole}, tolerance=1e-14)


def test_second_derivatives():
    layer = make(2, 4, heads=2)
    x = make_x(3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], x)


def test_forget_bias():
    layer = SLSTM(3, 8, forget_bias=2.0)
    assert layer.bias_ih_l0[8:16].eq(2.0).all()
    assert layer.bias_hh_l0[8:16].eq(0.0).all()


@pytest.mark.parametrize("heads", [0, 5, 24])
def test_heads_divide_the_units(heads):
    with pytest.raises(InvalidValueError, match=r"SLSTM\(heads\): .* divides hidden_size=12"):
        SLSTM(I, H, heads=heads)


def test_refused():
    with pytest.raises(InvalidSettingsError, match="hidden_size"):
        SLSTM(I, -1, dropout=3.0)
    with pytest.raises(InvalidStateError, match=r"SLSTM\(hx\): expected 4 tensors"):
        SLSTM(I, H)(torch.zeros(T, B, I), (torch.zeros(1, B, H),) * 2)
    with pytest.raises(RuntimeError, match=r"heads=1.*as in this"):
        SLSTM(I, H).load_state_dict(SLSTM(I, H, heads=2).state_dict())
