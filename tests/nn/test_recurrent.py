"""Recurrent: a cell of one's own gets everything that a layer of ours has."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatewise.errors import InvalidSettingsError, InvalidStateError, InvalidTypeError
from gatewise.nn import GRU, LSTM, Recurrent, Stack
from support.compare import assert_close

I, H = 3, 4  # noqa: E741 - the field's letter
TOLERANCE = 1e-13


def lstm(x, h, c, weight_ih, weight_hh, bias_ih, bias_hh):
    """The LSTM as its paper has it; its weights have torch's names."""
    z = F.linear(x, weight_ih, bias_ih) + F.linear(h, weight_hh, bias_hh)
    i, f, g, o = z.chunk(4, dim=-1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * c + i * g
    return o * c.tanh(), c, {"i": i, "f": f, "g": g, "o": o}


LSTM_WEIGHTS = {"weight_ih": "4H I", "weight_hh": "4H H", "bias_ih": "4H", "bias_hh": "4H"}
CONFIGURATIONS = [
    {},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
    {"num_layers": 3, "residual": True},
]
each_configuration = pytest.mark.parametrize("options", CONFIGURATIONS, ids=str)


def make(cell=lstm, weights=LSTM_WEIGHTS, states=("h", "c"), **options) -> Recurrent:
    torch.manual_seed(0)
    beginning = dict.fromkeys(states, 0.0)
    return Recurrent(cell, I, H, weights=weights, states=beginning, **options).double()


def twins(**options) -> tuple[LSTM, Recurrent]:
    """Our LSTM, and the one made here, with the same weights."""
    ours = make(**options)
    layer = LSTM(I, H, **options).double()
    layer.load_state_dict(ours.state_dict())
    return layer, ours


def evaluate(layer, x: Tensor, *call, **named) -> dict[str, Tensor]:
    """What a layer returns, and the gradients of x, the states and the weights."""
    leaves = [x, *(part for states in call for part in states or ()), *layer.parameters()]
    for leaf in leaves:
        leaf.requires_grad_().grad = None
    y, states, *traced = layer(x, *call, **named)
    parts = [y, *states, *(part for trace in traced for part in trace)]
    draw = torch.Generator().manual_seed(2)
    pulls = [torch.randn(part.shape, generator=draw, dtype=part.dtype) for part in parts]
    torch.autograd.backward(parts, pulls)
    return dict(enumerate(part.detach() for part in parts)) | {
        f"grad {n}": leaf.grad for n, leaf in enumerate(leaves)
    }


def make_call(layer, T: int = 6, B: int = 3):
    draw = torch.Generator().manual_seed(1)
    rows = layer.num_layers * layer.num_directions
    x = torch.randn(T, B, I, generator=draw, dtype=torch.float64)
    hx = tuple(torch.randn(rows, B, H, generator=draw, dtype=torch.float64) for _ in range(2))
    reset = torch.rand(T, B, generator=draw) < 0.3
    if layer.batch_first:
        x, reset = x.transpose(0, 1).contiguous(), reset.transpose(0, 1)
    return x, hx, {"lengths": [T, 1, T - 2], "reset": reset}


@each_configuration
@pytest.mark.parametrize("features", [(), ("lengths",), ("reset",), ("lengths", "reset")], ids=str)
def test_an_lstm_of_ones_own(options, features):
    layer, ours = twins(**options)
    x, hx, named = make_call(layer)
    named = {name: named[name] for name in features}
    for call in ((), (hx,)):
        for trace in (False, True):
            want = evaluate(layer, x, *call, trace=trace, **named)
            assert_close(evaluate(ours, x, *call, trace=trace, **named), want, tolerance=TOLERANCE)


def test_the_trace_has_the_names():
    layer, ours = twins()
    x, *_ = make_call(layer)
    assert ours(x, trace=True)[2]._fields == layer(x, trace=True)[2]._fields


@each_configuration
@pytest.mark.parametrize("steps", [1, 4, 100])
def test_recompute(options, steps):
    layer, ours = twins(**options)
    x, hx, named = make_call(layer)
    want = evaluate(layer, x, hx, **named)
    got = evaluate(ours, x, hx, recompute=steps, **named)
    assert_close(got, want, tolerance=TOLERANCE)


def test_unbatched_and_packed():
    layer, ours = twins(num_layers=2, bidirectional=True)
    x, _, _ = make_call(layer)
    assert_close(evaluate(ours, x[:, 0]), evaluate(layer, x[:, 0]), tolerance=TOLERANCE)
    packed = pack_padded_sequence(x.detach(), torch.tensor([2, 6, 4]), enforce_sorted=False)
    (want, states), (got, ours_states) = layer(packed), ours(packed)
    assert_close(
        dict(enumerate((pad_packed_sequence(got)[0], *ours_states))),
        dict(enumerate((pad_packed_sequence(want)[0], *states))),
        tolerance=TOLERANCE,
    )


def test_inputs_are_made_once():
    calls = []

    def inputs(x, weight_ih, bias_ih, **_):
        calls.append(x.shape)
        return F.linear(x, weight_ih, bias_ih)

    def rest(z, h, c, weight_ih, weight_hh, bias_ih, bias_hh):
        eye = torch.eye(4 * H, dtype=z.dtype)
        return lstm(z, h, c, eye, weight_hh, torch.zeros_like(bias_ih), bias_hh)

    layer, ours = twins(num_layers=2)
    faster = make(rest, inputs=inputs, num_layers=2)
    faster.load_state_dict(ours.state_dict())
    x, hx, named = make_call(layer)
    got = evaluate(faster, x, hx, **named)
    assert_close(got, evaluate(layer, x, hx, **named), tolerance=TOLERANCE)
    assert calls == [(6, 3, I), (6, 3, H)]


def largest(x, h, m, weight):
    """h is what is left of the sum of an exponential, m its largest logarithm."""
    z = F.linear(x, weight)
    after = torch.maximum(m, z)
    return h * (m - after).exp() + (z - after).exp(), after


def test_states_that_begin_with_something_else():
    states = {"h": 0.0, "m": float("-inf")}
    layer = Recurrent(largest, I, H, weights={"weight": "H I"}, states=states).double()
    x = torch.randn(6, 2, I, dtype=torch.float64)
    reset = torch.zeros(6, 2, dtype=torch.bool)
    reset[2, 0] = True
    y, (h_n, m_n) = layer(x, reset=reset)
    z = F.linear(x, layer.weight_l0)
    assert_close({"h": y[:, 1]}, {"h": layer(x[:, 1])[0]}, tolerance=1e-15)
    logs = torch.stack([z[2:, 0].logsumexp(0), z[:, 1].logsumexp(0)])
    assert_close({"sum": h_n[0].log() + m_n[0]}, {"sum": logs}, tolerance=1e-14)
    assert layer.initial_state(5)[1].eq(float("-inf")).all()


def test_in_a_stack_with_a_state():
    stack = Stack(GRU(I, I), make(residual=True), nn.LayerNorm(H), make_mgu(H)).double()
    x = torch.randn(8, 3, I, dtype=torch.float64)
    whole, last = stack(x, recompute=3)
    head, state = stack(x[:5])
    tail, after = stack(x[5:], state.detach().to(torch.float64))
    assert_close({"y": torch.cat([head, tail])}, {"y": whole}, tolerance=1e-14)
    h, c = after.layers[1]
    assert_close({"h": h, "c": c}, dict(zip("hc", last.layers[1], strict=True)), tolerance=1e-14)
    traces = stack(x, lengths=[8, 2, 5], trace=True)[2]
    assert [trace._fields for trace in traces][1:] == [("i", "f", "g", "o", "c", "h"), ("f", "h")]


def make_mgu(width: int) -> Recurrent:
    def mgu(x, h, weight_ih, weight_hh, bias):
        x_f, x_n = F.linear(x, weight_ih, bias).chunk(2, dim=-1)
        w_f, w_n = weight_hh.chunk(2)
        f = torch.sigmoid(x_f + F.linear(h, w_f))
        n = torch.tanh(x_n + F.linear(f * h, w_n))
        return (1 - f) * h + f * n, {"f": f}

    return Recurrent(
        mgu, width, H, weights={"weight_ih": "2H I", "weight_hh": "2H H", "bias": "2H"}
    )


def test_function_transforms_and_second_derivatives():
    layer = make_mgu(I).double()
    x = torch.randn(3, 2, I, dtype=torch.float64)
    weights = {name: weight.detach() for name, weight in layer.named_parameters()}

    def loss(weights, x):
        return torch.func.functional_call(layer, weights, (x,))[0].square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(weights, x.unsqueeze(2))
    whole = torch.func.grad(loss)(weights, x)
    assert_close({n: g.sum(0) for n, g in each.items()}, whole, tolerance=TOLERANCE)
    leaves = [x.requires_grad_(), *layer.parameters()]
    assert torch.autograd.gradgradcheck(lambda x, *_: layer(x)[0], leaves)


def test_copies_and_names():
    layer = make_mgu(I)
    twin = copy.deepcopy(layer)
    assert list(twin.state_dict()) == ["weight_ih_l0", "weight_hh_l0", "bias_l0"]
    assert "mgu, 3, 4" in repr(twin)
    assert layer.explain().startswith("reference")
    assert all(weight.abs().max() <= 0.5 for weight in layer.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": {}}, "weights"),
        ({"weights": {"w": "2K I"}}, r"weights\['w'\]"),
        ({"weights": {"w": "0H"}}, r"weights\['w'\]"),
        ({"weights": {"h": "H"}}, "none of them x or that of a state"),
        ({"weights": {"a b": "H"}}, "names of arguments"),
        ({"weights": {"w": "H"}}, r"one that takes cell\(x, h, c, w=…\)"),
        ({"states": {}}, "states"),
        ({"states": {"h": 0.0, "_c": 0.0}}, "a named tuple may have, got '_c'"),
        ({"num_layers": 0}, "num_layers"),
        ({"dropout": 2.0}, "dropout"),
    ],
    ids=str,
)
def test_refused_by_the_constructor(change, message):
    options = {"weights": LSTM_WEIGHTS, "states": {"h": 0.0, "c": 0.0}} | change
    with pytest.raises((InvalidSettingsError, ValueError, TypeError), match=message):
        Recurrent(lstm, I, H, **options)


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda h: (h, h), InvalidTypeError, "the new h of a step, tensors, got Tensor, Tensor"),
        (lambda _: None, InvalidTypeError, "got NoneType"),
        (lambda h: h[:, :2], InvalidStateError, r"a new h of shape \(2, 4\), got shape \(2, 2\)"),
        (lambda h: (h, {"h": h}), InvalidStateError, "no state has, got 'h'"),
        (lambda h: (h, {"class": h}), InvalidStateError, "got 'class'"),
        (lambda h: (h, {"f": h.sum()}), InvalidStateError, "got 'f': torch.Size"),
        (lambda h: (h, {"f": 1.0}), InvalidStateError, "'f': 1.0"),
    ],
)
def test_refused_from_the_cell(returned, error, message):
    layer = Recurrent(lambda _, h, w: returned(h * w), I, H, weights={"w": "H"})
    with pytest.raises(error, match=message):
        layer(torch.randn(3, 2, I))


def test_refused_in_a_call():
    layer = make_mgu(I)
    with pytest.raises(InvalidStateError, match=r"Recurrent\(mgu\)\(input\)"):
        layer(torch.randn(3, 2, I + 1))
    with pytest.raises(
        InvalidStateError, match=r"Recurrent\(mgu\)\(hx\): expected shape \(1, 2, 4\)"
    ):
        layer(torch.randn(3, 2, I), torch.zeros(1, 3, H))
    with pytest.raises(ValueError, match="recompute"):
        layer(torch.randn(3, 2, I), trace=True, recompute=2)


def test_what_is_shown_may_have_any_axes():
    def cell(x, h, weight):
        h = torch.tanh(F.linear(x, weight) + h)
        return h, {"norm": h.norm(dim=-1), "outer": h.unsqueeze(-1) * h.unsqueeze(-2)}

    layer = Recurrent(cell, I, H, weights={"weight": "H I"}).double()
    x = torch.randn(5, H, I, dtype=torch.float64)  # as many rows as units
    lengths = [5, 2, 1, 3]
    _, _, trace = layer(x, lengths=lengths, trace=True)
    assert trace.norm.shape == (1, 5, H)
    assert trace.outer.shape == (1, 5, H, H, H)
    assert_close({"norm": trace.norm}, {"norm": trace.h.norm(dim=-1)}, tolerance=1e-14)
    outer = trace.h.unsqueeze(-1) * trace.h.unsqueeze(-2)
    assert_close({"outer": trace.outer}, {"outer": outer}, tolerance=1e-14)
    assert trace.norm[0, 2:, 1].eq(0).all()


def test_a_module_as_the_cell_keeps_its_parameters():
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(H)

        def forward(self, x, h, weight):
            return self.norm(F.linear(x, weight) + h)

    layer = Recurrent(Cell(), I, H, weights={"weight": "H I"})
    assert layer.cell.norm.weight.eq(1).all()
    layer(torch.randn(3, 2, I))[0].sum().backward()
    assert layer.cell.norm.weight.grad is not None


def test_what_inputs_returns_is_checked():
    layer = Recurrent(
        lambda z, h, w: z + h, I, H, weights={"w": "H I"}, inputs=lambda x, w: F.linear(x, w)[1:]
    )
    with pytest.raises(InvalidStateError, match=r"with the axes \(3, 2\), got .*\[2, 2, 4\]"):
        layer(torch.randn(3, 2, I))
