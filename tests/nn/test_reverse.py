"""reverse=True: a layer against time is the layer with time on every sequence turned round."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

import gatewise.nn
from gatewise.errors import InvalidValueError
from support.backends import CHOICES
from support.compare import assert_close

T, B, I, H = 6, 4, 3, 5  # noqa: E741 - the field's letter
LENGTHS = [4, 6, 1, 5]

LAYERS = {
    "LSTM": ("LSTM", {}),
    "LSTM, deep": ("LSTM", {"num_layers": 2, "residual": True, "proj_size": 3}),
    "LSTM, options": ("LSTM", {"peephole": True, "layer_norm": True, "cell_clip": 1.0}),
    "LSTM, batch norm": ("LSTM", {"batch_norm_steps": 4}),
    "LSTM, learned state": ("LSTM", {"coupled_gates": True, "learn_initial_state": True}),
    "GRU": ("GRU", {"num_layers": 2}),
    "GRU, reset before": ("GRU", {"reset_after": False, "zoneout": 0.1}),
    "RNN": ("RNN", {"nonlinearity": "relu"}),
    "MinLSTM": ("MinLSTM", {"num_layers": 2}),
}

each_layer = pytest.mark.parametrize("name", LAYERS)
each_backend = pytest.mark.parametrize("backend", CHOICES)


def twins(name: str, **options):
    """The layer against time, and the same with time; in evaluation, so that norms are fixed."""
    kind, own = LAYERS[name]
    torch.manual_seed(0)
    turned = getattr(gatewise.nn, kind)(I, H, reverse=True, **own, **options).double().eval()
    for weight in turned.parameters():
        torch.nn.init.uniform_(weight, -0.7, 0.7)
    plain = copy.deepcopy(turned)
    plain.reverse = False
    return turned, plain


def by_hand(plain, x: Tensor, lengths, reset) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Run each sequence alone, turned round; return the output, final states and the trace."""
    rows = []
    for b, length in enumerate(lengths):
        cuts = None
        if reset is not None:  # a cut between t − 1 and t is one before step length − t
            own = reset[:length, b].flip(0)
            cuts = torch.cat([torch.zeros(1, dtype=torch.bool), own[:-1]])
        y, states, trace = plain(x[:length, b].flip(0), reset=cuts, trace=True)
        states = (states,) if isinstance(states, Tensor) else states

        def back(part: Tensor, axis: int, length: int = length) -> Tensor:
            padding = list(part.shape)
            padding[axis] = T - length
            return torch.cat([part.flip(axis), part.new_zeros(padding)], axis)

        rows.append((back(y, 0), *states, *(back(part, 1) for part in trace)))
    y, *others = (torch.stack(parts, -2) for parts in zip(*rows, strict=True))
    count = len(others) - len(plain(x[:1], trace=True)[2])
    return y, others[:count], others[count:]


@each_layer
@each_backend
@pytest.mark.parametrize("features", [(), ("lengths",), ("reset",), ("lengths", "reset")], ids=str)
def test_each_sequence_turned_round(name, backend, features):
    turned, plain = twins(name, backend=backend)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(T, B, I, generator=draw, dtype=torch.float64).requires_grad_()
    reset = torch.rand(T, B, generator=draw) < 0.4 if "reset" in features else None
    lengths = LENGTHS if "lengths" in features else None
    y, states, trace = turned(x, lengths=lengths, reset=reset, trace=True)
    states = [states] if isinstance(states, Tensor) else list(states)
    want_y, want_states, want_trace = by_hand(plain, x, lengths or [T] * B, reset)
    got, want = [y, *states, *trace], [want_y, *want_states, *want_trace]
    assert_close(dict(enumerate(got)), dict(enumerate(want)), tolerance=1e-13)
    pulls = [torch.randn(part.shape, generator=draw, dtype=part.dtype) for part in got]
    grads = [
        torch.autograd.grad(parts, [x, *layer.parameters()], pulls, allow_unused=True)
        for parts, layer in ((got, turned), (want, plain))
    ]
    left, right = (
        {n: torch.zeros(1) if g is None else g for n, g in enumerate(each)} for each in grads
    )
    assert_close(left, right, tolerance=1e-12)


@each_layer
def test_recompute(name):
    turned, _ = twins(name)
    x = torch.randn(T, B, I, dtype=torch.float64).requires_grad_()
    call = {"lengths": LENGTHS, "reset": torch.rand(T, B) < 0.4}
    found = [
        torch.autograd.grad(turned(x, recompute=steps, **call)[0].square().sum(), x)[0]
        for steps in (None, 1, 4)
    ]
    for other in found[1:]:
        assert_close({"x": other}, {"x": found[0]}, tolerance=1e-13)


def test_the_state_goes_on_against_time():
    turned, _ = twins("LSTM, deep")
    x = torch.randn(T, B, I, dtype=torch.float64)
    whole, last = turned(x)
    late, state = turned(x[4:])
    early, final = turned(x[:4], state)
    assert_close({"y": torch.cat([early, late])}, {"y": whole}, tolerance=1e-14)
    assert_close(dict(enumerate(final)), dict(enumerate(last)), tolerance=1e-14)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN", "MinGRU", "MinLSTM"])
def test_not_in_both_directions_and_not_unnoticed(kind):
    make = getattr(gatewise.nn, kind)
    with pytest.raises(InvalidValueError, match=r"\(reverse\): expected False with bidirectional"):
        make(I, H, bidirectional=True, reverse=True)
    with pytest.raises(RuntimeError, match="reverse=False as in this"):
        make(I, H).load_state_dict(make(I, H, reverse=True).state_dict())
    assert "reverse=True" in repr(make(I, H, reverse=True))


def test_frozen():
    turned, _ = twins("LSTM")
    x = torch.randn(T, B, I, dtype=torch.float64)
    want = turned(x, lengths=LENGTHS)[0]
    got = gatewise.nn.freeze(turned)(x, lengths=LENGTHS)[0]
    assert_close({"y": got}, {"y": want}, tolerance=0.0)
