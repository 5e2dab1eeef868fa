"""nn.GRU and nn.RNN in the place of torch's, and what they add to them."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jvp, vmap
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatewise.nn
from gatewise.errors import GatewiseError
from support.backends import CHOICES
from support.compare import assert_close, assert_equal
from support.twins import results, twins

TOLERANCE = 1e-13
T, B, I, H = 6, 3, 4, 5  # noqa: E741 - the field's letters
LENGTHS = [3, 6, 1]

KINDS = {
    "GRU": {"kind": "GRU"},
    "RNN": {"kind": "RNN"},
    "RNN-relu": {"kind": "RNN", "nonlinearity": "relu"},
}
CONFIGURATIONS = [
    {},
    {"bias": False},
    {"batch_first": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
]

each_kind = pytest.mark.parametrize("kind", KINDS)
each_backend = pytest.mark.parametrize("backend", CHOICES)
each_configuration = pytest.mark.parametrize("options", CONFIGURATIONS, ids=str)


def pair(kind: str, **options) -> tuple:
    return twins(I, H, **KINDS[kind], **options)


def draw(*shape: int, seed: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def an_input(layer) -> Tensor:
    return draw(B, T, I) if layer.batch_first else draw(T, B, I)


def a_state(layer) -> Tensor:
    return draw(layer.num_layers * (2 if layer.bidirectional else 1), B, H, seed=4)


@each_configuration
@each_kind
def test_the_same_seed_gives_the_same_parameters(kind, options):
    name, own = KINDS[kind]["kind"], {k: v for k, v in KINDS[kind].items() if k != "kind"}
    torch.manual_seed(7)
    theirs = getattr(nn, name)(I, H, **own, **options)
    torch.manual_seed(7)
    ours = getattr(gatewise.nn, name)(I, H, **own, **options)
    assert_equal(ours.state_dict(), theirs.state_dict())
    assert repr(ours) == repr(theirs)
    assert ours.mode == theirs.mode


def test_the_constructors_have_torchs_arguments_in_torchs_order():
    shared = [name for name in inspect.signature(nn.RNNBase.__init__).parameters if name != "mode"]
    shared.remove("proj_size")
    # What is ours comes after, by name only.
    for kind, given in {"GRU": shared, "RNN": [*shared[:4], "nonlinearity", *shared[4:]]}.items():
        parameters = inspect.signature(getattr(gatewise.nn, kind).__init__).parameters.values()
        kinds = [p.kind for p in parameters]
        assert [p.name for p in parameters][: len(given)] == given
        assert set(kinds[: len(given)]) == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
        assert set(kinds[len(given) :]) == {inspect.Parameter.KEYWORD_ONLY}
    given = (3, 4, 2, "relu", False, True, 0.5, True)
    relu = gatewise.nn.RNN(*given, device="cpu", dtype=torch.float64)
    assert repr(relu) == repr(nn.RNN(*given, device="cpu", dtype=torch.float64))
    assert relu.mode == "RNN_RELU"


@each_backend
@each_configuration
@each_kind
def test_results_batched_unbatched_and_packed(kind, options, backend):
    theirs, ours = pair(kind, backend=backend, **options)
    x, h0 = an_input(theirs), a_state(theirs)
    packed = pack_padded_sequence(x, LENGTHS, theirs.batch_first, enforce_sorted=False)
    alone, alone_h0 = (x[0] if theirs.batch_first else x[:, 0]).clone(), h0[:, 0].clone()
    for call in ((x,), (x, h0), (alone,), (alone, alone_h0), (packed,), (packed, h0)):
        assert_close(results(ours, *call), results(theirs, *call), tolerance=TOLERANCE)


@each_backend
@each_configuration
@each_kind
def test_lengths_do_what_packing_does(kind, options, backend):
    theirs, ours = pair(kind, backend=backend, **options)
    x = an_input(theirs)
    packed = pack_padded_sequence(x, LENGTHS, theirs.batch_first, enforce_sorted=False)
    want, want_h = theirs(packed)
    want = pad_packed_sequence(want, theirs.batch_first, total_length=T)[0]
    got, got_h = ours(x, lengths=LENGTHS)
    assert_close({"y": got, "h_n": got_h}, {"y": want, "h_n": want_h}, tolerance=TOLERANCE)


@each_backend
@each_kind
def test_resets_run_the_pieces_apart(kind, backend):
    _, ours = pair(kind, backend=backend, bidirectional=True)
    x = an_input(ours)
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[2] = True
    y, h_n = ours(x, reset=reset)
    (first, first_h), (last, last_h) = (ours(piece) for piece in x.split([2, T - 2]))
    assert_close({"y": y}, {"y": torch.cat([first, last])}, tolerance=TOLERANCE)
    assert_close({"h": h_n}, {"h": torch.stack([last_h[0], first_h[1]])}, tolerance=TOLERANCE)


@each_backend
@each_kind
def test_a_trace_shows_what_the_layers_did(kind, backend):
    _, ours = pair(kind, backend=backend, num_layers=2, bidirectional=True)
    x = an_input(ours)
    y, h_n, trace = ours(x, lengths=LENGTHS, trace=True)
    assert_close(
        dict(zip("yh", ours(x, lengths=LENGTHS), strict=True)),
        {"y": y, "h": h_n},
        tolerance=TOLERANCE,
    )
    assert trace._fields == (("r", "z", "n", "h") if kind == "GRU" else ("h",))
    for part in trace:
        assert part.shape == (4, T, B, H)
        assert all((part[:, n:, b] == 0).all() for b, n in enumerate(LENGTHS))
    assert_close({"h": torch.cat([*trace.h[-2:]], dim=-1)}, {"h": y}, tolerance=0)
    (gradient,) = torch.autograd.grad(trace[0][1].sum(), ours.weight_ih_l0_reverse)
    assert gradient.abs().sum() > 0


@each_backend
@each_kind
def test_dropout_draws_what_torch_draws(kind, backend):
    theirs, ours = pair(kind, backend=backend, num_layers=3, dropout=0.4)
    x = an_input(theirs)
    torch.manual_seed(3)
    expected = results(theirs, x)
    torch.manual_seed(3)
    assert_close(results(ours, x), expected, tolerance=TOLERANCE)


@each_backend
@each_kind
def test_an_empty_batch(kind, backend):
    theirs, ours = pair(kind, backend=backend, bidirectional=True)
    x = torch.zeros(T, 0, I, dtype=torch.float64)
    got, want = results(ours, x), results(theirs, x)
    assert {n: v.shape for n, v in got.items()} == {n: v.shape for n, v in want.items()}


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("state", [None, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@each_kind
def test_autocast_returns_torchs_dtypes_and_may_compute_in_float32(kind, dtype, state, packed):
    theirs, ours = pair(kind, dtype=torch.float32)
    ours.precision = "full"
    x = an_input(theirs).to(dtype)
    call = (pack_padded_sequence(x, [6, 5, 2]) if packed else x,)
    if state:
        call += (a_state(theirs).to(state),)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, h_n = ours(*call)
        want, want_h = theirs(*call)
    assert [y.data.dtype, h_n.dtype] == [want.data.dtype, want_h.dtype]
    wide, _ = ours(*(part.float() for part in call))
    assert torch.equal(y.data, wide.data.to(y.data.dtype))


@pytest.mark.parametrize("kind", ["GRU", "RNN"])
def test_half_precision(kind):
    theirs, ours = pair(kind, dtype=torch.bfloat16, num_layers=2)
    x = an_input(theirs).to(torch.bfloat16)
    got, want = results(ours, x), results(theirs, x)
    assert {n: v.dtype for n, v in got.items()} == {n: v.dtype for n, v in want.items()}
    assert_close(got, want, tolerance=0.05)


@each_kind
def test_copies_pickles_and_state_dicts(kind):
    theirs, ours = pair(kind, num_layers=2, bidirectional=True)
    x = an_input(ours)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301 - ours
        assert_equal(results(twin, x), results(ours, x))
    theirs.load_state_dict(ours.state_dict(), strict=True)
    with pytest.raises(RuntimeError, match="weight_ih_l1"):
        pair(kind)[1].load_state_dict(ours.state_dict())


@each_kind
def test_what_torch_code_calls(kind):
    theirs, ours = pair(kind, num_layers=2, bidirectional=True)
    x, h0 = an_input(theirs), a_state(theirs)
    assert ours.flatten_parameters() is None
    order = torch.tensor([2, 0, 1])
    assert torch.equal(ours.permute_hidden(h0, order), theirs.permute_hidden(h0, order))
    assert ours.permute_hidden(h0, None) is h0
    assert ours.get_expected_hidden_size(x, None) == theirs.get_expected_hidden_size(x, None)
    ours.check_forward_args(x, h0, None)
    with pytest.raises(RuntimeError, match="expected shape"):
        ours.check_forward_args(x, h0[:, :1], None)
    assert ours.initial_state(7).shape == (4, 7, H)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
@each_kind
def test_transforms_and_higher_derivatives(kind):
    theirs, layer = pair(kind)
    x = draw(3, 2, I)
    tangent = draw(3, 2, I, seed=6)
    weights = {name: weight.detach() for name, weight in layer.named_parameters()}

    def loss(of, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
        return functional_call(of, weights, (x,))[0].square().sum()

    got = grad(lambda w: loss(layer, x, w))(weights)
    want = grad(lambda w: loss(theirs, x, w))(weights)
    assert_close(got, want, tolerance=TOLERANCE)
    _, slope = jvp(lambda x: layer(x)[0], (x,), (tangent,))
    with forward_ad.dual_level():
        dual = layer(forward_ad.make_dual(x, tangent))[0]
        assert_close(
            {"slope": forward_ad.unpack_dual(dual).tangent}, {"slope": slope}, tolerance=TOLERANCE
        )
    each = vmap(lambda s: layer(s)[0], in_dims=1, out_dims=1)(x)
    assert_close({"y": each}, {"y": layer(x)[0]}, tolerance=TOLERANCE)
    small = x[:2, :1].clone()
    twice = hessian(lambda s: loss(layer, s, weights))(small).flatten()
    leaf = small.clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(layer, leaf, weights), leaf, create_graph=True)
    rows = [torch.autograd.grad(g, leaf, retain_graph=True)[0].flatten() for g in first.flatten()]
    assert_close({"hessian": twice}, {"hessian": torch.cat(rows)}, tolerance=1e-12)


BAD_CALLS = {
    "a tuple of states": (lambda x, h: (x, (h, h)), r"GRU\(hx\): expected a tensor h_0, got tuple"),
    "another batch": (lambda x, h: (x, h[:, :1]), r"GRU\(hx\): expected shape \(1, 3, 5\)"),
    "another dtype": (
        lambda x, h: (x, h.float()),
        r"GRU\(hx\): expected the input's torch.float64",
    ),
    "another size": (lambda x, h: (x[..., 1:], h), r"GRU\(input\): expected a last axis"),
    "no steps": (lambda x, h: (x[:0], h), r"GRU\(input\): expected at least one time step"),
}


@pytest.mark.parametrize("fault", BAD_CALLS)
def test_calls_that_do_not_fit_are_refused(fault):
    _, layer = pair("GRU")
    change, message = BAD_CALLS[fault]
    with pytest.raises(GatewiseError, match=message):
        layer(*change(draw(T, B, I), draw(1, B, H)))


def test_lengths_and_resets_that_do_not_fit_name_the_layer():
    _, layer = pair("RNN")
    x = draw(T, B, I)
    with pytest.raises(GatewiseError, match=r"RNN\(lengths\): expected lengths from 1 to T=6"):
        layer(x, lengths=[1, 2, 7])
    with pytest.raises(GatewiseError, match=r"RNN\(reset\): expected a bool tensor"):
        layer(x, reset=torch.zeros(T, B))
    packed = pack_padded_sequence(x, [6, 5, 2])
    with pytest.raises(GatewiseError, match=r"RNN\(input\): expected a padded tensor"):
        layer(packed, lengths=[6, 5, 2])


def test_a_bad_constructor_names_the_layer():
    with pytest.raises(ValueError, match=r"GRU\(hidden_size\): expected at least 1, got 0"):
        gatewise.nn.GRU(3, 0)
    with pytest.warns(UserWarning, match=r"RNN\(dropout\)"):
        gatewise.nn.RNN(3, 4, dropout=0.5)


def test_explain_names_the_kernel():
    assert "native" in gatewise.nn.GRU(3, 4).explain()
    assert "reference" in gatewise.nn.RNN(3, 4, backend="reference").explain()
