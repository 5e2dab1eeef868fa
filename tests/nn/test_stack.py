"""Stack: one state, lengths and resets through any sequence of layers."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError
from gatewise.nn import LSTM, Stack, StackState
from support.backends import CHOICES
from support.compare import assert_close, assert_equal

TOLERANCE = 1e-12
T, B = 6, 4
LENGTHS = torch.tensor([6, 2, 5, 1])

each_backend = pytest.mark.parametrize("backend", CHOICES)
both_layouts = pytest.mark.parametrize("batch_first", [False, True], ids=["T B", "B T"])


def _stack(batch_first: bool = False, bidirectional: bool = False, backend: str = "auto") -> Stack:
    torch.manual_seed(0)
    D = 2 if bidirectional else 1
    return Stack(
        nn.Linear(3, 4),
        LSTM(4, 5, 2, bidirectional=bidirectional, proj_size=3, backend=backend),
        nn.LayerNorm(3 * D),
        nn.Dropout(0.2),
        LSTM(3 * D, 5, backend=backend),
        nn.GELU(),
        nn.Linear(5, 2),
        batch_first=batch_first,
    ).double()


def _input(stack: Stack) -> Tensor:
    x = torch.randn(T, B, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x.transpose(0, 1) if stack.batch_first else x


def _flat(y: Tensor, state: StackState) -> dict[str, Tensor]:
    parts = [tensor for pair in state.layers for tensor in pair]
    return {"y": y} | {f"state{n}": part for n, part in enumerate(parts)}


@each_backend
def test_it_calls_its_layers_one_after_the_other(backend):
    stack = _stack(backend=backend).eval()
    x = _input(stack)
    reset = torch.rand(T, B, generator=torch.Generator().manual_seed(2)) < 0.3
    y, states, traces = x, [], []
    for layer in stack:
        if isinstance(layer, LSTM):
            y, state, trace = layer(y, lengths=LENGTHS, reset=reset, trace=True)
            states.append(state)
            traces.append(trace)
        else:
            y = layer(y)
    valid = (torch.arange(T).unsqueeze(1) < LENGTHS).unsqueeze(-1)
    got_y, got_state, got_traces = stack(x, lengths=LENGTHS, reset=reset, trace=True)
    want = _flat(torch.where(valid, y, 0), StackState(tuple(states)))
    assert_equal(_flat(got_y, got_state), want)
    for got, trace in zip(got_traces, traces, strict=True):
        assert_equal(got._asdict(), trace._asdict())


@each_backend
@both_layouts
def test_streaming_step_by_step_equals_the_whole(batch_first, backend):
    stack = _stack(batch_first, backend=backend).eval()
    x, axis = _input(stack), 1 if batch_first else 0
    for state in (None, stack.initial_state(B)):
        steps = []
        for step in x.split(1, dim=axis):
            y, state = stack(step, state)
            steps.append(y)
        got = _flat(torch.cat(steps, dim=axis), state)
        assert_close(got, _flat(*stack(x)), tolerance=TOLERANCE)


@each_backend
def test_layouts_agree(backend):
    time_first, batch_first = (_stack(first, True, backend).eval() for first in (False, True))
    assert_equal(time_first.state_dict(), batch_first.state_dict())
    x = _input(time_first)
    reset = torch.rand(T, B, generator=torch.Generator().manual_seed(2)) < 0.3
    y, state = time_first(x, lengths=LENGTHS, reset=reset)
    got_y, got_state = batch_first(x.transpose(0, 1), lengths=LENGTHS, reset=reset.T)
    assert_close(_flat(got_y.transpose(0, 1), got_state), _flat(y, state), tolerance=TOLERANCE)


@each_backend
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "two ways"])
def test_lengths_equal_each_sequence_on_its_own(bidirectional, backend):
    stack = _stack(bidirectional=bidirectional, backend=backend).eval()
    x = _input(stack)
    y, state = stack(x, lengths=LENGTHS)
    for b, length in enumerate(LENGTHS.tolist()):
        alone = _flat(*stack(x[:length, b : b + 1]))
        own = StackState(tuple((h[:, b : b + 1], c[:, b : b + 1]) for h, c in state.layers))
        assert_close(_flat(y[:length, b : b + 1], own), alone, tolerance=TOLERANCE)
        assert (y[length:, b] == 0).all()


@each_backend
def test_an_unbatched_sequence(backend):
    stack = _stack(backend=backend).eval()
    x = _input(stack)[:, 0]
    y, state = stack(x, lengths=[4], reset=torch.tensor([False, True, False] * 2))
    batched, _ = stack(x[:, None], lengths=[4], reset=torch.tensor([[False], [True], [False]] * 2))
    assert y.shape == (T, 2)
    assert_close({"y": y}, {"y": batched[:, 0]}, tolerance=TOLERANCE)
    again, _ = stack(x, state)
    assert_close({"y": again[:1]}, {"y": stack(x[:1], state)[0]}, tolerance=TOLERANCE)


def test_the_state_is_detached_and_moved():
    stack = _stack()
    x = _input(stack)
    _, state = stack(x)
    assert all(part.requires_grad for pair in state.layers for part in pair)
    cut = state.detach()
    assert not any(part.requires_grad for pair in cut.layers for part in pair)
    assert_equal(_flat(x, cut), _flat(x, state))
    narrow = state.to(torch.float32)
    assert all(part.dtype == torch.float32 for pair in narrow.layers for part in pair)
    zeros = stack.initial_state(B)
    assert [tuple(part.shape) for pair in zeros.layers for part in pair] == [
        (2, B, 3),
        (2, B, 5),
        (1, B, 5),
        (1, B, 5),
    ]
    assert all(torch.equal(part, torch.zeros_like(part)) for pair in zeros.layers for part in pair)
    assert {part.dtype for pair in zeros.layers for part in pair} == {x.dtype}


def test_gradients_reach_every_parameter_and_cut_where_the_state_is_detached():
    stack = _stack()
    x = _input(stack).requires_grad_()
    _, state = stack(x[:3])
    stack(x[3:], state)[0].sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in stack.parameters())
    assert x.grad[0].abs().sum() > 0
    x.grad = None
    stack(x[3:], stack(x[:3])[1].detach())[0].sum().backward()
    assert x.grad[:3].abs().sum() == 0


def test_it_is_an_ordinary_module():
    stack = _stack()
    assert len(stack) == 7
    assert stack[1] is stack.recurrent[0]
    assert "layers.1.weight_ih_l0" in stack.state_dict()
    x = _input(stack)
    stack.eval()
    for twin in (copy.deepcopy(stack), pickle.loads(pickle.dumps(stack))):  # noqa: S301 - ours
        assert_equal(_flat(*twin(x)), _flat(*stack(x)))
    assert "batch_first=True" in repr(_stack(batch_first=True))


def test_a_stack_may_have_no_recurrent_layer():
    stack = Stack(nn.Linear(3, 2))
    y, state = stack(torch.ones(T, B, 3), lengths=LENGTHS)
    assert state.layers == ()
    assert (y[1:, 3] == 0).all()
    assert (y[0] != 0).all()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: nn.LSTM(3, 4), "expected gatewise.nn.LSTM, got torch.nn.LSTM.*replace"),
        (lambda: nn.GRU(3, 4), "expected gatewise.nn.GRU, got torch.nn.GRU.*replace"),
        (lambda: nn.GRUCell(3, 4), "acts on each step alone, got GRUCell"),
        (lambda: nn.BatchNorm1d(3), "acts on each step alone, got BatchNorm1d"),
        (lambda: LSTM(3, 4, batch_first=True), r"Stack\(..., batch_first=True\)"),
    ],
    ids=["LSTM", "GRU", "GRUCell", "BatchNorm1d", "batch_first"],
)
def test_layers_that_do_not_fit_are_refused(layer, message):
    with pytest.raises(GatewiseError, match=message) as refusal:
        Stack(nn.Linear(3, 3), layer())
    assert str(refusal.value).startswith("Stack(layers[1])")


def test_wrong_states_and_lengths_are_refused():
    stack = _stack()
    x = _input(stack)
    state = stack.initial_state(B)
    with pytest.raises(GatewiseError, match=r"Stack\(state\): expected the states of 2 recurrent"):
        stack(x, StackState(state.layers[:1]))
    with pytest.raises(GatewiseError, match="h_0"):
        stack(x, stack.initial_state(B + 1))
    with pytest.raises(GatewiseError, match="lengths from 1 to T=6, got 7 for sequence 2"):
        stack(x, lengths=[1, 2, 7, 3])
    with pytest.raises(GatewiseError, match="reset"):
        stack(x, reset=torch.zeros(B, T, dtype=torch.bool))


@both_layouts
def test_integers_are_tokens(batch_first):
    torch.manual_seed(0)
    stack = Stack(nn.Embedding(7, 4), LSTM(4, 5), nn.Linear(5, 7), batch_first=batch_first)
    tokens = torch.randint(7, (T, B))
    given = tokens.T if batch_first else tokens
    y, state = stack(given, lengths=LENGTHS)
    y = y.transpose(0, 1) if batch_first else y
    assert y.shape == (T, B, 7)
    for b, length in enumerate(LENGTHS):
        alone, after = stack(tokens[:length, b])
        assert alone.shape == (length, 7)
        assert_close({"y": y[:length, b]}, {"y": alone}, tolerance=1e-6)
        assert_close({"h": state.layers[0][0][:, b]}, {"h": after.layers[0][0]}, tolerance=1e-6)
