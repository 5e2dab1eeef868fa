"""residual=True: a layer's output is its h plus its input where the widths agree."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatewise.nn
from support.backends import CHOICES
from support.compare import assert_close, assert_equal
from support.twins import results, twins

TOLERANCE = 1e-13
T, B, H = 6, 3, 4
LENGTHS = [4, 6, 1]

CASES = {
    "first layer too": ("LSTM", 4, {"num_layers": 3}),
    "not in the first": ("LSTM", 3, {"num_layers": 3}),
    "both ways": ("LSTM", 8, {"num_layers": 2, "bidirectional": True}),
    "both ways, projected": ("LSTM", 5, {"num_layers": 2, "bidirectional": True, "proj_size": 2}),
    "one layer": ("LSTM", 4, {}),
    "GRU": ("GRU", 8, {"num_layers": 2, "bidirectional": True}),
    "RNN": ("RNN", 3, {"num_layers": 2, "nonlinearity": "relu"}),
}

each_case = pytest.mark.parametrize("case", CASES)
each_backend = pytest.mark.parametrize("backend", CHOICES)


def make(case: str, **options):
    """Return the layer under test, and its layers apart, plain and of torch."""
    kind, width, own = CASES[case]
    plain, _ = twins(width, H, kind=kind, **own)
    layer = getattr(gatewise.nn, kind)(width, H, residual=True, **own, **options).double()
    with torch.no_grad():
        for ours, theirs in zip(layer.parameters(), plain.parameters(), strict=True):
            ours.copy_(theirs)
    return layer, [_alone(plain, n) for n in range(layer.num_layers)]


def _alone(plain, number: int):
    weights = {
        n.replace(f"_l{number}", "_l0"): w
        for n, w in plain.named_parameters()
        if f"_l{number}" in n
    }
    options = {"nonlinearity": plain.nonlinearity} if plain.mode.startswith("RNN") else {}
    width = weights["weight_ih_l0"].shape[1]
    if plain.proj_size:
        options["proj_size"] = plain.proj_size
    layer = type(plain)(width, H, bidirectional=plain.bidirectional, **options).double()
    layer.load_state_dict(weights)
    return layer


def by_hand(apart, x: Tensor, lengths=None, between=lambda x: x) -> tuple[Tensor, Tensor]:
    """Run torch's layers one after the other, adding; return the output and h_n."""
    valid = torch.arange(T)[:, None, None] < torch.tensor(lengths or [T] * B)[:, None]
    states = []
    for number, layer in enumerate(apart):
        x = between(x) if number else x
        packed = pack_padded_sequence(x, lengths or [T] * B, enforce_sorted=False)
        y, final = layer(packed)
        y = pad_packed_sequence(y, total_length=T)[0]
        states.append(final[0] if isinstance(final, tuple) else final)
        x = y + torch.where(valid, x, 0) if y.shape == x.shape else y
    return x, torch.cat(states)


def an_input(layer) -> Tensor:
    draw = torch.Generator().manual_seed(5)
    return torch.randn(T, B, layer.input_size, generator=draw, dtype=torch.float64)


def first_state(final) -> Tensor:
    return final[0] if isinstance(final, tuple) else final


@each_backend
@each_case
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_the_sum_is_that_of_layers_run_apart(case, lengths, backend):
    layer, apart = make(case, backend=backend)
    x = an_input(layer).requires_grad_()
    y, final = layer(x, lengths=lengths)
    want, h_n = by_hand(apart, x, lengths)
    got = {"y": y, "h_n": first_state(final)}
    assert_close(got, {"y": want, "h_n": h_n}, tolerance=TOLERANCE)
    weights = list(layer.parameters())
    theirs = [w for each in apart for w in each.parameters()]
    pull = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    slopes = torch.autograd.grad(y, [x, *weights], pull)
    expected = torch.autograd.grad(want, [x, *theirs], pull)
    assert_close(dict(enumerate(slopes)), dict(enumerate(expected)), tolerance=TOLERANCE)
    plain = type(layer)(layer.input_size, H, **CASES[case][2]).double()
    plain.load_state_dict({n: w for n, w in layer.state_dict().items() if "extra" not in n})
    assert not torch.allclose(plain(x, lengths=lengths)[0], y)  # else it adds nothing


@each_backend
@each_case
def test_packed_batch_first_and_unbatched(case, backend):
    layer, apart = make(case, backend=backend)
    x = an_input(layer)
    packed = layer(pack_padded_sequence(x, LENGTHS, enforce_sorted=False))[0]
    got = {"y": pad_packed_sequence(packed, total_length=T)[0]}
    assert_close(got, {"y": by_hand(apart, x, LENGTHS)[0]}, tolerance=TOLERANCE)
    want = by_hand(apart, x)[0]
    assert_close({"y": layer(x[:, 1])[0]}, {"y": want[:, 1]}, tolerance=TOLERANCE)
    layer.batch_first = True
    y = layer(x.transpose(0, 1))[0]
    assert_close({"y": y}, {"y": want.transpose(0, 1)}, tolerance=TOLERANCE)


@each_backend
@each_case
@pytest.mark.parametrize("hole", [float("nan"), float("inf"), 7.0])
def test_nothing_of_the_padding_comes_through(case, hole, backend):
    layer, _ = make(case, backend=backend)
    x = an_input(layer)
    valid = (torch.arange(T).unsqueeze(1) < torch.tensor(LENGTHS)).unsqueeze(-1)
    holed = torch.where(valid, x, hole).requires_grad_()
    y, _ = layer(holed, lengths=LENGTHS)
    assert_equal({"y": y}, {"y": layer(x, lengths=LENGTHS)[0]})
    assert (y.masked_select(~valid) == 0).all()
    y.sum().backward()
    assert (holed.grad.masked_select(~valid) == 0).all()
    assert all(weight.grad.isfinite().all() for weight in layer.parameters())


@each_backend
def test_dropout_acts_on_the_sum(backend):
    layer, apart = make("first layer too", backend=backend, dropout=0.5)
    x = an_input(layer)
    torch.manual_seed(3)
    y, _ = layer(x)
    torch.manual_seed(3)
    want, _ = by_hand(apart, x, between=lambda x: torch.dropout(x, 0.5, train=True))
    assert_close({"y": y}, {"y": want}, tolerance=TOLERANCE)
    layer.eval()
    assert_close({"y": layer(x)[0]}, {"y": by_hand(apart, x)[0]}, tolerance=TOLERANCE)


@each_backend
@each_case
def test_states_and_traces_hold_h_alone(case, backend):
    layer, apart = make(case, backend=backend)
    x, D = an_input(layer), layer.num_directions
    y, final, trace = layer(x, lengths=LENGTHS, trace=True)
    last = torch.tensor(LENGTHS) - 1
    top = torch.cat([*trace.h[-D:]], dim=-1)
    below = by_hand(apart[:-1], x, LENGTHS)[0] if len(apart) > 1 else x
    added = below if below.shape == top.shape else torch.zeros_like(top)
    valid = (torch.arange(T).unsqueeze(1) < torch.tensor(LENGTHS)).unsqueeze(-1)
    assert_close({"y": y}, {"y": top + torch.where(valid, added, 0)}, tolerance=TOLERANCE)
    ends = trace.h[::D, last, torch.arange(B)]
    assert_close({"h_n": first_state(final)[::D]}, {"h_n": ends}, tolerance=TOLERANCE)


@each_backend
def test_resets_and_given_states(backend):
    layer, apart = make("both ways", backend=backend)
    x = an_input(layer)
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[2] = True
    pieces = [layer(piece)[0] for piece in x.split([2, T - 2])]
    assert_close({"y": layer(x, reset=reset)[0]}, {"y": torch.cat(pieces)}, tolerance=TOLERANCE)
    hx = tuple(torch.ones(4, B, H, dtype=torch.float64) for _ in range(2))
    first = apart[0](x, tuple(s[:2] for s in hx))[0] + x
    second = apart[1](first, tuple(s[2:] for s in hx))[0] + first
    assert_close({"y": layer(x, hx)[0]}, {"y": second}, tolerance=TOLERANCE)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_autocast_adds_in_float32(kind):
    torch.manual_seed(0)
    layer = getattr(gatewise.nn, kind)(4, 4, 2, residual=True, precision="full")
    x = torch.randn(T, B, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)[0]
        dtype = getattr(torch.nn, kind)(4, 4, 2)(x)[0].dtype
    assert y.dtype == dtype
    assert_equal({"y": y}, {"y": layer(x)[0].to(dtype)})


def test_half_precision():
    layer, apart = make("first layer too")
    x = an_input(layer)
    y = layer.to(torch.bfloat16)(x.to(torch.bfloat16))[0]
    assert y.dtype == torch.bfloat16
    assert_close({"y": y}, {"y": by_hand(apart, x)[0]}, tolerance=0.03)


def test_a_layer_that_can_add_nothing_warns():
    with pytest.warns(UserWarning, match=r"RNN\(residual\): expected False.*got True with 3 and 8"):
        layer = gatewise.nn.RNN(3, 4, bidirectional=True, residual=True)
    plain = gatewise.nn.RNN(3, 4, bidirectional=True)
    with torch.no_grad():
        for ours, theirs in zip(plain.parameters(), layer.parameters(), strict=True):
            ours.copy_(theirs)
    x = torch.randn(T, B, 3)
    assert_equal(results(layer, x), results(plain, x))
