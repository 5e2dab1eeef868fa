"""nn.LSTM in the place of torch.nn.LSTM: the same parameters, results and refusals."""

from __future__ import annotations

import copy
import inspect
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import gatewise.nn
from support.backends import CHOICES
from support.compare import assert_close, assert_equal
from support.twins import CONFIGURATIONS, results, twins

TOLERANCE = 1e-13

each_configuration = pytest.mark.parametrize("options", CONFIGURATIONS, ids=str)
each_backend = pytest.mark.parametrize("backend", CHOICES)


def _states(layer, batch: int | None = 3):
    D = 2 if layer.bidirectional else 1
    draw = torch.Generator().manual_seed(4)
    rows = layer.num_layers * D
    widths = (layer.proj_size or layer.hidden_size, layer.hidden_size)
    shapes = [(rows, width) if batch is None else (rows, batch, width) for width in widths]
    return tuple(torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes)


def _input(layer, T: int = 6, B: int = 3):
    draw = torch.Generator().manual_seed(5)
    shape = (B, T) if layer.batch_first else (T, B)
    return torch.randn(*shape, layer.input_size, generator=draw, dtype=torch.float64)


@each_configuration
def test_the_same_seed_gives_the_same_parameters(options):
    torch.manual_seed(7)
    theirs = nn.LSTM(4, 5, **options)
    after = torch.random.get_rng_state()
    torch.manual_seed(7)
    ours = gatewise.nn.LSTM(4, 5, **options)
    assert torch.equal(torch.random.get_rng_state(), after)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert_equal(ours.state_dict(), theirs.state_dict())
    assert repr(ours) == repr(theirs)
    assert [[w.shape for w in ws] for ws in ours.all_weights] == [
        [w.shape for w in ws] for ws in theirs.all_weights
    ]


def test_the_constructor_has_torchs_arguments_in_torchs_order():
    ours = list(inspect.signature(gatewise.nn.LSTM.__init__).parameters)
    base = list(inspect.signature(nn.RNNBase.__init__).parameters)
    assert ours[: len(base) - 1] == [name for name in base if name != "mode"]
    layer = gatewise.nn.LSTM(3, 4, 2, False, True, 0.5, True, 2, "cpu", torch.float64)
    assert repr(layer) == repr(nn.LSTM(3, 4, 2, False, True, 0.5, True, 2, "cpu", torch.float64))
    assert layer.weight_ih_l0.dtype == torch.float64
    assert repr(gatewise.nn.LSTM(3, 4, backend="reference")) == "LSTM(3, 4, backend=reference)"


@each_backend
@each_configuration
def test_results_with_and_without_initial_states(options, backend):
    theirs, ours = twins(4, 5, backend=backend, **options)
    x = _input(theirs)
    assert_close(results(ours, x), results(theirs, x), tolerance=TOLERANCE)
    hx = _states(theirs)
    assert_close(results(ours, x, hx), results(theirs, x, hx), tolerance=TOLERANCE)
    assert_close(results(ours, x, list(hx)), results(theirs, x, hx), tolerance=TOLERANCE)


@each_backend
@each_configuration
def test_results_unbatched(options, backend):
    theirs, ours = twins(4, 5, backend=backend, **options)
    x, hx = _input(theirs).reshape(-1, 4)[:6].clone(), _states(theirs, None)
    assert_close(results(ours, x), results(theirs, x), tolerance=TOLERANCE)
    assert_close(results(ours, x, hx), results(theirs, x, hx), tolerance=TOLERANCE)


@each_backend
@pytest.mark.parametrize("enforce_sorted", [True, False], ids=["sorted", "unsorted"])
@each_configuration
def test_results_packed(options, enforce_sorted, backend):
    theirs, ours = twins(4, 5, backend=backend, **options)
    lengths = [6, 4, 1] if enforce_sorted else [2, 6, 5]
    packed = pack_padded_sequence(
        _input(theirs), lengths, theirs.batch_first, enforce_sorted=enforce_sorted
    )
    for call in ((packed,), (packed, _states(theirs))):
        assert_close(results(ours, *call), results(theirs, *call), tolerance=TOLERANCE)
    output, expected = ours(packed)[0], theirs(packed)[0]
    assert type(output) is type(expected)
    for got, want in zip(output[1:], expected[1:], strict=True):
        assert (got is None) == (want is None)
        assert got is None or torch.equal(got, want)


@each_backend
def test_a_packed_trace_comes_in_the_order_of_the_user(backend):
    _, ours = twins(4, 5, backend=backend, bidirectional=True)
    x = _input(ours)
    packed = pack_padded_sequence(x, [2, 6, 5], enforce_sorted=False)
    *_, trace = ours(packed, trace=True)
    *_, expected = ours(x, lengths=[2, 6, 5], trace=True)
    assert_close(trace._asdict(), expected._asdict(), tolerance=TOLERANCE)


@each_backend
def test_dropout_draws_what_torch_draws(backend):
    theirs, ours = twins(4, 5, 3, backend=backend, dropout=0.4, bidirectional=True)
    x = _input(theirs)
    torch.manual_seed(3)
    expected = results(theirs, x)
    torch.manual_seed(3)
    assert_close(results(ours, x), expected, tolerance=TOLERANCE)
    torch.manual_seed(4)
    assert not torch.equal(ours(x)[0], expected["y"])
    assert_close(results(ours.eval(), x), results(theirs.eval(), x), tolerance=TOLERANCE)


@each_backend
def test_an_empty_batch(backend):
    theirs, ours = twins(4, 5, 2, backend=backend, bidirectional=True)
    x = _input(theirs, B=0)
    got, want = results(ours, x), results(theirs, x)
    assert {n: v.shape for n, v in got.items()} == {n: v.shape for n, v in want.items()}
    assert_close(got, want, tolerance=0)


def test_dropout_with_one_layer_warns():
    with pytest.warns(UserWarning, match="dropout.*num_layers=1"):
        gatewise.nn.LSTM(3, 4, dropout=0.5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(dtype):
    theirs, ours = twins(4, 5, 2, dtype=dtype, bidirectional=True)
    x = _input(theirs).to(dtype)
    got, want = results(ours, x), results(theirs, x)
    assert {n: v.dtype for n, v in got.items()} == {n: v.dtype for n, v in want.items()}
    assert_close(got, want, tolerance=0.05)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("options", [{}, {"proj_size": 2}, {"num_layers": 2}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_autocast_returns_torchs_dtypes_and_may_compute_in_float32(dtype, options, packed):
    theirs, ours = twins(4, 5, dtype=torch.float32, **options)
    ours.precision = "full"
    x = _input(theirs).to(dtype)
    call = pack_padded_sequence(x, [6, 5, 2]) if packed else x
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, (h_n, c_n) = ours(call)
        want, (want_h, want_c) = theirs(call)
        again, _ = ours(call, (h_n, c_n))
    assert [y.data.dtype, h_n.dtype, c_n.dtype] == [want.data.dtype, want_h.dtype, want_c.dtype]
    assert again.data.dtype == want.data.dtype
    wide, _ = ours(call.float())
    assert torch.equal(y.data, wide.data.to(y.data.dtype))


def test_autocast_leaves_float64_alone():
    _, ours = twins(4, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours(_input(ours))[0].dtype == torch.float64


@each_backend
def test_modes_without_gradients(backend):
    theirs, ours = twins(4, 5, backend=backend)
    x = _input(theirs)
    expected = theirs(x)[0].detach()
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            y = ours(x)[0]
        assert not y.requires_grad
        assert_close({"y": y.clone()}, {"y": expected}, tolerance=TOLERANCE)


@each_backend
def test_copies_and_pickles(backend):
    _, ours = twins(4, 5, 2, backend=backend, bidirectional=True)
    x = _input(ours)
    saved = io.BytesIO()
    torch.save(ours, saved)
    saved.seek(0)
    copies = [
        copy.deepcopy(ours),
        copy.copy(ours),
        pickle.loads(pickle.dumps(ours)),  # noqa: S301 - our own bytes
        torch.load(saved, weights_only=False),
    ]
    for twin in copies:
        assert twin.backend == backend
        assert_equal(results(twin, x), results(ours, x))
    with torch.no_grad():
        copies[0].weight_ih_l0.zero_()
    assert ours.weight_ih_l0.abs().sum() > 0


def test_the_state_dict_is_strict_both_ways():
    theirs, ours = twins(4, 5, 2, bidirectional=True, proj_size=3)
    fresh = nn.LSTM(4, 5, 2, bidirectional=True, proj_size=3).double()
    fresh.load_state_dict(ours.state_dict(), strict=True)
    assert_equal(fresh.state_dict(), theirs.state_dict())
    with pytest.raises(RuntimeError, match="weight_ih_l1"):
        gatewise.nn.LSTM(4, 5).load_state_dict(ours.state_dict())


def test_what_torch_code_calls():
    theirs, ours = twins(4, 5, 2, bidirectional=True, proj_size=3)
    x, hx = _input(theirs), _states(theirs)
    assert ours.flatten_parameters() is None
    assert ours.mode == theirs.mode
    assert ours._flat_weights_names == theirs._flat_weights_names
    assert [id(w) for w in ours._flat_weights] == [id(w) for w in ours.parameters()]
    for batch_sizes in (None, torch.tensor([2, 1])):
        for name in ("get_expected_hidden_size", "get_expected_cell_size"):
            expected = getattr(theirs, name)(x, batch_sizes)
            assert getattr(ours, name)(x, batch_sizes) == expected
    order = torch.tensor([2, 0, 1])
    got, want = (layer.permute_hidden(hx, order) for layer in (ours, theirs))
    assert_equal(dict(enumerate(got)), dict(enumerate(want)))
    assert ours.permute_hidden(hx, None) is hx
    ours.check_forward_args(x, hx, None)
    with pytest.raises(RuntimeError, match="expected shape"):
        ours.check_forward_args(x, (hx[0][:, :1], hx[1]), None)
    with pytest.raises(RuntimeError, match="expected 2 axes"):
        ours.check_input(x, torch.tensor([1]))


@each_backend
def test_reparametrised_weights(backend):
    theirs, ours = twins(4, 5, backend=backend)
    x = _input(theirs)
    for layer in (theirs, ours):
        nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
        with torch.no_grad():
            layer.parametrizations.weight_hh_l0.original0.mul_(1.5)
    assert_close(results(ours, x), results(theirs, x), tolerance=TOLERANCE)


@each_backend
def test_functional_call_with_other_weights(backend):
    theirs, ours = twins(4, 5, backend=backend)
    x = _input(theirs)
    others = {name: value.detach() * 0.5 for name, value in theirs.named_parameters()}
    got = torch.func.functional_call(ours, others, (x,))[0]
    want = torch.func.functional_call(theirs, others, (x,))[0]
    assert_close({"y": got}, {"y": want}, tolerance=TOLERANCE)
    assert not torch.allclose(ours(x)[0], got)


@each_backend
def test_weights_replaced_and_written(backend):
    theirs, ours = twins(4, 5, backend=backend)
    x = _input(theirs)
    for layer in (theirs, ours):
        layer.weight_hh_l0 = nn.Parameter(layer.weight_hh_l0.detach() * 2)
        layer.bias_ih_l0.data.add_(0.3)
    assert_close(results(ours, x), results(theirs, x), tolerance=TOLERANCE)
