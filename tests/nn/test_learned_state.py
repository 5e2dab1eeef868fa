"""learn_initial_state=True: parameters for the state before the first step."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import gatewise.nn
from gatewise.nn import GRU, LSTM, Stack
from support.backends import CHOICES
from support.compare import assert_close, assert_equal

TOLERANCE = 1e-13
T, B, I, H = 5, 3, 3, 4  # noqa: E741 - the field's letters
LENGTHS = [4, 5, 1]

CONFIGURATIONS = [
    ("LSTM", {}),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": 2}),
    ("LSTM", {"num_layers": 3, "bias": False}),
    ("GRU", {"num_layers": 2, "bidirectional": True}),
    ("RNN", {"bidirectional": True}),
]

each_configuration = pytest.mark.parametrize(("kind", "options"), CONFIGURATIONS, ids=str)
each_backend = pytest.mark.parametrize("backend", CHOICES)


def make(kind: str, dtype=torch.float64, **options):
    """Return a layer with learned states that are not zero, and the same without."""
    torch.manual_seed(0)
    learned = getattr(gatewise.nn, kind)(I, H, learn_initial_state=True, **options).to(dtype)
    plain = getattr(gatewise.nn, kind)(I, H, **options).to(dtype)
    for name, weight in learned.named_parameters():
        if name.startswith("initial"):
            nn.init.uniform_(weight, -1, 1)
    plain.load_state_dict({n: w for n, w in learned.state_dict().items() if n[:7] != "initial"})
    return learned, plain


def by_hand(learned, batch: int | None = B):
    """The hx that the learned states amount to, built from the parameters' names."""
    suffixes = [
        f"l{layer}{suffix}"
        for layer in range(learned.num_layers)
        for suffix in ("", "_reverse")[: learned.num_directions]
    ]
    states = []
    for state in "hc" if isinstance(learned, LSTM) else "h":
        rows = [getattr(learned, f"initial_{state}_{suffix}") for suffix in suffixes]
        column = torch.stack(rows)
        states.append(column if batch is None else torch.stack([column] * batch, dim=1))
    return tuple(states) if len(states) == 2 else states[0]


def an_input(seed: int = 5) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(T, B, I, generator=draw, dtype=torch.float64)


def named(y, final, *trace) -> dict[str, Tensor]:
    states = final if isinstance(final, tuple) else (final,)
    return {"y": y.data if isinstance(y, PackedSequence) else y} | dict(
        zip(("h_n", "c_n"), states, strict=False)
    )


def test_the_parameters_follow_torchs_and_are_zero_at_first():
    torch.manual_seed(7)
    layer = LSTM(I, H, 2, bidirectional=True, proj_size=2, learn_initial_state=True)
    after = torch.random.get_rng_state()
    torch.manual_seed(7)
    theirs = nn.LSTM(I, H, 2, bidirectional=True, proj_size=2)
    assert torch.equal(torch.random.get_rng_state(), after)
    suffixes = ["l0", "l0_reverse", "l1", "l1_reverse"]
    own = [f"initial_{state}_{suffix}" for state in "hc" for suffix in suffixes]
    names = [name for name, _ in layer.named_parameters()]
    assert names == [*(name for name, _ in theirs.named_parameters()), *own]
    assert_equal({n: w for n, w in layer.state_dict().items() if n not in own}, theirs.state_dict())
    shapes = [tuple(layer.get_parameter(name).shape) for name in own]
    assert shapes == [(2,)] * 4 + [(4,)] * 4
    assert all((layer.get_parameter(name) == 0).all() for name in own)
    assert [w for w in layer._flat_weights if w.dim() == 1 and len(w) <= 4] == []


@each_configuration
def test_at_first_it_is_the_layer_without(kind, options):
    torch.manual_seed(0)
    learned = getattr(gatewise.nn, kind)(I, H, learn_initial_state=True, **options).double()
    torch.manual_seed(0)
    plain = getattr(gatewise.nn, kind)(I, H, **options).double()
    assert_equal(named(*learned(an_input())), named(*plain(an_input())))


@each_backend
@each_configuration
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_results_and_gradients_are_those_of_states_given_by_hand(kind, options, lengths, backend):
    learned, plain = make(kind, backend=backend, **options)
    x = an_input()
    got = named(*learned(x, lengths=lengths))
    want = named(*plain(x, by_hand(learned), lengths=lengths))
    assert_close(got, want, tolerance=TOLERANCE)
    assert not torch.allclose(got["y"], plain(x, lengths=lengths)[0])  # else they do nothing
    draw = torch.Generator().manual_seed(1)
    pulls = [torch.randn(v.shape, generator=draw, dtype=v.dtype) for v in got.values()]
    names = [name for name, _ in learned.named_parameters() if name.startswith("initial")]
    initial = [learned.get_parameter(name) for name in names]
    slopes, expected = (
        torch.autograd.grad(list(values.values()), initial, pulls) for values in (got, want)
    )
    assert all(slope.abs().max() > 1e-6 for slope in slopes)
    assert_close(
        dict(zip(names, slopes, strict=True)),
        dict(zip(names, expected, strict=True)),
        tolerance=TOLERANCE,
    )


@each_backend
@each_configuration
def test_every_layout(kind, options, backend):
    learned, plain = make(kind, backend=backend, **options)
    x = an_input()
    packed = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    want = named(*plain(packed, by_hand(learned)))
    assert_close(named(*learned(packed)), want, tolerance=TOLERANCE)
    want = named(*plain(x[:, 0], by_hand(learned, None)))
    assert_close(named(*learned(x[:, 0])), want, tolerance=TOLERANCE)
    *_, trace = learned(x, trace=True)
    *_, expected = plain(x, by_hand(learned), trace=True)
    assert_close(trace._asdict(), expected._asdict(), tolerance=TOLERANCE)
    want = named(*plain(x, by_hand(learned)))
    learned.batch_first = True
    want["y"] = want["y"].transpose(0, 1)
    assert_close(named(*learned(x.transpose(0, 1))), want, tolerance=TOLERANCE)


@each_configuration
def test_a_given_state_takes_the_place_of_the_learned_one(kind, options):
    learned, plain = make(kind, **options)
    zeros = plain.initial_state(B)
    assert_equal(named(*learned(an_input(), zeros)), named(*plain(an_input(), zeros)))


@each_configuration
def test_initial_state_returns_them_for_each_sequence(kind, options):
    learned, _ = make(kind, **options)
    got, want = named(Tensor(), learned.initial_state(7)), named(Tensor(), by_hand(learned, 7))
    assert_equal(got, want)
    got["h_n"].sum().backward()
    assert (learned.initial_h_l0.grad == 7).all()
    with torch.no_grad():
        begun = named(Tensor(), learned.initial_state(7))
        begun["h_n"][:, 2] = 0  # one sequence begins anew, alone
    others = [0, 1, 3, 4, 5, 6]
    assert_equal({"h": begun["h_n"][:, others]}, {"h": want["h_n"][:, others]})
    assert_equal(named(Tensor(), learned.initial_state(7)), want)


@each_backend
def test_an_empty_batch(backend):
    learned, _ = make("LSTM", num_layers=2, backend=backend)
    y, (h_n, _) = learned(torch.zeros(T, 0, I, dtype=torch.float64))
    assert (y.shape, h_n.shape) == ((T, 0, H), (2, 0, H))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_they_move_with_the_weights(kind, dtype):
    learned, plain = make(kind, torch.float32)
    assert_equal(
        named(*learned.to(dtype)(an_input().to(dtype))),
        named(*plain.to(dtype)(an_input().to(dtype), by_hand(learned))),
    )
    assert {weight.dtype for weight in learned.parameters()} == {dtype}
    assert learned.half().initial_h_l0.dtype == torch.float16


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_autocast_gives_the_dtypes_of_a_layer_without(kind, dtype):
    learned, plain = make(kind, torch.float32)
    x = an_input().to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, want = named(*learned(x)), named(*plain(x))
    assert [v.dtype for v in got.values()] == [v.dtype for v in want.values()]
    plain.precision = "bf16"
    wide = named(*plain(x.float(), by_hand(learned)))
    assert_equal(got, {name: v.to(got[name].dtype) for name, v in wide.items()})


def test_they_are_trained():
    """An input of zeros says nothing: what the first output is, the state alone can learn."""
    torch.manual_seed(0)
    layer = GRU(I, H, learn_initial_state=True)
    x, target = torch.zeros(1, 2, I), torch.tensor([0.5, -0.5, 0.25, 0.0])
    for weight in layer.parameters():
        weight.requires_grad_(False)
    layer.initial_h_l0.requires_grad_()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = (layer(x)[0] - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


def test_transforms_and_a_stack():
    learned, plain = make("LSTM")
    weights = {name: weight.detach() for name, weight in learned.named_parameters()}
    x = an_input()

    def loss(weights, x):
        return functional_call(learned, weights, (x,))[0].square().sum()

    each = vmap(grad(loss), in_dims=(None, 1))(weights, x)
    learned(x)[0].square().sum().backward()
    for name in ("initial_h_l0", "initial_c_l0", "weight_hh_l0"):
        got, want = each[name].sum(0), learned.get_parameter(name).grad
        assert_close({name: got}, {name: want}, tolerance=TOLERANCE)
    stack = Stack(nn.Linear(I, I).double(), learned)
    y, _ = stack(x)
    assert_close({"y": y}, {"y": plain(stack[0](x), by_hand(learned))[0]}, tolerance=TOLERANCE)
    begun = stack.initial_state(B)
    assert_equal({"y": stack(x, begun)[0]}, {"y": y})


def test_copies_and_state_dicts_hold_them():
    learned, plain = make("LSTM", num_layers=2)
    want = named(*learned(an_input()))
    for twin in (copy.deepcopy(learned), pickle.loads(pickle.dumps(learned))):  # noqa: S301 - ours
        assert_equal(named(*twin(an_input())), want)
    fresh = LSTM(I, H, 2, learn_initial_state=True, dtype=torch.float64)
    fresh.load_state_dict(learned.state_dict(), strict=True)
    assert_equal(named(*fresh(an_input())), want)
    with pytest.raises(RuntimeError, match=r"Unexpected.*initial_h_l0.*initial_c_l1"):
        plain.load_state_dict(learned.state_dict())
    with pytest.raises(RuntimeError, match=r"Missing.*initial_h_l0.*initial_c_l1"):
        learned.load_state_dict(plain.state_dict())
    assert repr(learned) == "LSTM(3, 4, num_layers=2, learn_initial_state=True)"


@each_backend
@each_configuration
def test_a_reset_puts_the_learned_state(kind, options, backend):
    learned, _ = make(kind, backend=backend, **options)
    x, cut = torch.randn(T, 1, I, dtype=torch.float64), 2
    reset = torch.zeros(T, 1, dtype=torch.bool)
    reset[cut] = True
    weights = list(learned.parameters())

    def gradients(y: Tensor) -> dict[str, Tensor]:
        pull = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
        return dict(enumerate(torch.autograd.grad((y * pull).sum(), weights)))

    whole = learned(x, reset=reset)[0]
    apart = torch.cat([learned(x[:cut])[0], learned(x[cut:])[0]])
    assert_close({"y": whole}, {"y": apart}, tolerance=TOLERANCE)
    assert_close(gradients(whole), gradients(apart), tolerance=TOLERANCE)
    # Whatever state came in, a cut at the first step discards it.
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[0] = True
    if learned.num_directions == 1:
        hx = learned.initial_state(B)
        other = tuple(2 * part for part in hx) if isinstance(hx, tuple) else 2 * hx
        same = learned(an_input(), other, reset=reset)[0]
        assert_close({"y": same}, {"y": learned(an_input())[0]}, tolerance=TOLERANCE)
