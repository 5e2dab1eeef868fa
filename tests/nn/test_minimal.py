"""MinGRU and MinLSTM: the paper's own parallel form, extremes, initial values, company."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gatewise.errors import InvalidSettingsError, InvalidStateError
from gatewise.nn import LSTM, MinGRU, MinLSTM, Stack
from support.backends import CHOICES
from support.compare import assert_close

each_kind = pytest.mark.parametrize("kind", [MinGRU, MinLSTM], ids=lambda kind: kind.kind)
each_candidate = pytest.mark.parametrize("candidate", ["linear", "positive"])
each_backend = pytest.mark.parametrize("backend", CHOICES)
T, B, I, H = 40, 3, 5, 19  # noqa: E741 - the field's letter


def make(kind, *sizes: int, seed: int = 0, **options):
    draw = torch.Generator().manual_seed(seed)
    return kind(*(sizes or (I, H)), generator=draw, **options).double()


def log_g(a: Tensor) -> Tensor:
    return torch.where(a >= 0, (a.relu() + 0.5).log(), F.logsigmoid(a))


def parallel_scan(log_stays: Tensor, log_values: Tensor) -> Tensor:
    """Feng et al. 2024, appendix B: h_t of h_t = stays_t·h_{t-1} + v_t; the first value is h_0."""
    sums = F.pad(log_stays, (0, 0, 0, 0, 1, 0)).cumsum(0)
    return (sums + (log_values - sums).logcumsumexp(0)).exp()[1:]


def in_logarithms(layer, x: Tensor, h0: Tensor) -> Tensor:
    """The output of one layer with positive candidates, by the paper's parallel form."""
    raw = F.linear(x, layer.weight_ih_l0, layer.bias_ih_l0)
    if layer.kind == "MinGRU":
        z, n = raw.chunk(2, dim=-1)
        log_stays, log_fresh, candidate = -F.softplus(z), -F.softplus(-z), n
    else:
        f, i, candidate = raw.chunk(3, dim=-1)
        apart = F.softplus(-f) - F.softplus(-i)
        log_stays, log_fresh = -F.softplus(apart), -F.softplus(-apart)
    return parallel_scan(log_stays, torch.cat([h0.log(), log_fresh + log_g(candidate)]))


@each_kind
@each_backend
def test_the_papers_parallel_form(kind, backend):
    layer = make(kind, candidate="positive", backend=backend)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(T, B, I, generator=draw, dtype=torch.float64).requires_grad_()
    h0 = torch.rand(1, B, H, generator=draw, dtype=torch.float64).requires_grad_()
    weights = [x, h0, *layer.parameters()]
    pull = torch.randn(T, B, H, generator=draw, dtype=torch.float64)
    ours, theirs = layer(x, h0)[0], in_logarithms(layer, x, h0)
    assert_close({"y": ours}, {"y": theirs}, tolerance=1e-12)
    grads = [torch.autograd.grad(y, weights, pull) for y in (ours, theirs)]
    assert_close(dict(enumerate(grads[0])), dict(enumerate(grads[1])), tolerance=1e-12)


@each_kind
@each_candidate
@each_backend
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_extreme_gates(kind, candidate, backend, dtype):
    layer = make(kind, 1, 4, candidate=candidate, backend=backend).to(dtype)
    gates = layer.weight_ih_l0.shape[0] // 4 - 1
    with torch.no_grad():
        layer.weight_ih_l0.zero_()
        layer.bias_ih_l0.zero_()
        columns = [torch.tensor([1e4, -1e4, 1e4, -1e4]), torch.tensor([1e4, 1e4, -1e4, -1e4])]
        for gate in range(gates):
            layer.bias_ih_l0[4 * gate : 4 * gate + 4] = columns[gate]
        layer.bias_ih_l0[-4:] = 2.0
    h0 = torch.full((1, 1, 4), 3.0, dtype=dtype)
    y = layer(torch.zeros(1, 1, 1, dtype=dtype), h0)[0]
    fresh = 2.5 if candidate == "positive" else 2.0
    want = {
        "MinGRU": [fresh, 3.0, fresh, 3.0],
        # Where both gates are open, and where both vanish alike, they share.
        "MinLSTM": [(3 + fresh) / 2, fresh, 3.0, (3 + fresh) / 2],
    }[kind.kind]
    assert_close({"y": y[0, 0]}, {"y": torch.tensor(want, dtype=dtype)}, tolerance=1e-6)
    y.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in layer.parameters())


@each_backend
def test_gates_that_both_vanish_keep_their_ratio(backend):
    layer = make(MinLSTM, 1, 1, backend=backend).float()
    with torch.no_grad():
        layer.weight_ih_l0.zero_()
        layer.bias_ih_l0.copy_(torch.tensor([-200.0, -200.0 + math.log(3.0), 5.0]))
    y = layer(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))[0]
    assert_close({"y": y}, {"y": torch.full_like(y, 0.25 * 1 + 0.75 * 5)}, tolerance=1e-5)
    y.backward()
    grad = layer.bias_ih_l0.grad
    # Of f/(f + i): each logarithm moves it by f·i, the one up, the other down.
    want = torch.tensor([-4 * 0.25 * 0.75, 4 * 0.25 * 0.75, 0.75])
    assert_close({"bias": grad}, {"bias": want}, tolerance=1e-5)


@each_kind
def test_parameters_are_drawn_as_linear_draws_them(kind):
    layer = make(kind, 4, 300, num_layers=2)
    gates = 2 if kind is MinGRU else 3
    assert {name: tuple(weight.shape) for name, weight in layer.named_parameters()} == {
        "weight_ih_l0": (gates * 300, 4),
        "bias_ih_l0": (gates * 300,),
        "weight_ih_l1": (gates * 300, 300),
        "bias_ih_l1": (gates * 300,),
    }
    for number, width in ((0, 4), (1, 300)):
        for name in ("weight", "bias"):
            weight = getattr(layer, f"{name}_ih_l{number}")
            assert 0.97 / math.sqrt(width) < weight.abs().max() <= 1 / math.sqrt(width)


def test_chrono_and_forget_bias():
    draw = torch.Generator().manual_seed(0)
    gru = MinGRU(2, 500, init="chrono", chrono_steps=50, generator=draw)
    keep = -gru.bias_ih_l0[:500]
    assert 0 <= keep.min() < 0.2
    assert math.log(45) < keep.max() <= math.log(49)
    lstm = MinLSTM(2, 500, init="chrono", chrono_steps=50, generator=draw)
    f, i, _ = lstm.bias_ih_l0.chunk(3)
    assert torch.equal(f, -i)
    assert math.log(45) < f.max() <= math.log(49)
    assert torch.equal(MinLSTM(2, 3, forget_bias=1.5).bias_ih_l0[:3], torch.full((3,), 1.5))


@each_kind
def test_trace(kind):
    layer = make(kind, bidirectional=True)
    y, h_n, trace = layer(torch.randn(6, 2, I).double(), trace=True)
    assert trace._fields == (("z", "n", "h") if kind is MinGRU else ("f", "i", "g", "h"))
    stays = 1 - trace.z if kind is MinGRU else trace.f
    before = torch.cat([torch.zeros(1, 2, H).double(), trace.h[0, :-1]])
    h = stays[0] * before + (1 - stays[0]) * trace[-2][0]
    assert_close({"h": h}, {"h": y[..., :H]}, tolerance=1e-14)
    assert h_n.shape == (2, 2, H)


@each_kind
def test_beside_other_layers_in_a_stack(kind):
    stack = Stack(LSTM(I, 6), nn.LayerNorm(6), kind(6, 6, residual=True), nn.Linear(6, 2)).double()
    x = torch.randn(8, 3, I).double()
    whole, _ = stack(x)
    head, state = stack(x[:5])
    tail, _ = stack(x[5:], state)
    assert_close({"y": torch.cat([head, tail])}, {"y": whole}, tolerance=1e-14)
    pieces, _ = stack(x, recompute=3)
    assert_close({"y": pieces}, {"y": whole}, tolerance=1e-14)


@each_kind
def test_candidates_travel_with_the_weights(kind):
    state = make(kind, candidate="positive").state_dict()
    twin = make(kind, seed=5, candidate="positive")
    twin.load_state_dict(state)
    assert_close({"w": twin.weight_ih_l0}, {"w": state["weight_ih_l0"]}, tolerance=0.0)
    with pytest.raises(RuntimeError, match="candidate='linear' as in this"):
        make(kind).load_state_dict(state)


@each_kind
def test_explain_names_the_kernel(kind):
    assert "float32 on the CPU" in kind(3, 4).explain()


@each_kind
def test_refused(kind):
    with pytest.raises(InvalidSettingsError, match="chrono_steps"):
        kind(3, 0, chrono_steps=5)
    with pytest.raises(TypeError, match="weight_dropout"):
        kind(3, 4, weight_dropout=0.5)
    with pytest.raises(InvalidStateError, match=r"a last axis of input_size=3"):
        kind(3, 4)(torch.zeros(2, 2, 5))
