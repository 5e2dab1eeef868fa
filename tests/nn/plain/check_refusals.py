"""What nn.LSTM refuses, with errors of the builtin classes that torch.nn.LSTM raises.

Run without the shape checks, which would refuse wrong types before the layer can.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

import gatewise.nn
from gatewise.errors import GatewiseError
from support.twins import twins

T, B = 7, 4
LENGTHS = [3, 7, 1, 6]

CONSTRUCTORS = [
    ((0, 4), {}),
    ((3, 0), {}),
    ((3, -1), {}),
    ((3.0, 4), {}),
    ((3, "4"), {}),
    ((3, 4, 0), {}),
    ((3, 4, 1.5), {}),
    ((3, 4, 5, 6), {}),
    ((3, 4), {"batch_first": 0}),
    ((3, 4), {"dropout": 2}),
    ((3, 4), {"dropout": -0.1}),
    ((3, 4), {"dropout": True}),
    ((3, 4), {"dropout": float("nan")}),
    ((3, 4), {"dropout": "x"}),
    ((3, 4), {"proj_size": 4}),
    ((3, 4), {"proj_size": -1}),
    ((3, 4), {"proj_size": 1.5}),
]


@pytest.mark.parametrize(("sizes", "options"), CONSTRUCTORS, ids=str)
def test_the_constructor_refuses_what_torch_refuses(sizes, options):
    kind = _kind_of_refusal(lambda: nn.LSTM(*sizes, **options))
    with pytest.raises(kind) as refusal:
        gatewise.nn.LSTM(*sizes, **options)
    assert isinstance(refusal.value, GatewiseError)
    assert str(refusal.value).startswith("LSTM(")


def test_several_faults_are_reported_together():
    with pytest.raises(ValueError, match="2 setting") as refusal:
        gatewise.nn.LSTM(3, 4, dropout=3, backend="gpu")
    assert "dropout" in str(refusal.value)
    assert "'auto' or 'native' or 'reference', got 'gpu'" in str(refusal.value)


def _kind_of_refusal(call) -> type[Exception]:
    with pytest.raises(Exception) as refusal:  # noqa: PT011 - which one is the question
        call()
    return type(refusal.value)


def _zeros(*shape: int, **options):
    return torch.zeros(shape, dtype=torch.float64, **options)


FORWARDS = {
    "input: integers": lambda: (torch.zeros(5, 2, 3, dtype=torch.long),),
    "input: another dtype": lambda: (_zeros(5, 2, 3).float(),),
    "input: 1-D": lambda: (_zeros(3),),
    "input: 4-D": lambda: (_zeros(1, 5, 2, 3),),
    "input: another size": lambda: (_zeros(5, 2, 4),),
    "input: no step": lambda: (_zeros(0, 2, 3),),
    "input: no step, unbatched": lambda: (_zeros(0, 3),),
    "input: another device": lambda: (_zeros(5, 2, 3, device="meta"),),
    "h_0: another dtype": lambda: (_zeros(5, 2, 3), (_zeros(1, 2, 4).float(), _zeros(1, 2, 4))),
    "h_0: another batch": lambda: (_zeros(5, 2, 3), (_zeros(1, 3, 4), _zeros(1, 2, 4))),
    "c_0: another width": lambda: (_zeros(5, 2, 3), (_zeros(1, 2, 4), _zeros(1, 2, 5))),
    "h_0: unbatched": lambda: (_zeros(5, 2, 3), (_zeros(1, 4), _zeros(1, 4))),
    "h_0: batched": lambda: (_zeros(5, 3), (_zeros(1, 1, 4), _zeros(1, 1, 4))),
    "h_0: another device": lambda: (
        _zeros(5, 2, 3),
        (_zeros(1, 2, 4, device="meta"), _zeros(1, 2, 4)),
    ),
    "hx: three": lambda: (_zeros(5, 2, 3), (_zeros(1, 2, 4),) * 3),
    "hx: a tensor": lambda: (_zeros(5, 2, 3), _zeros(2, 1, 2, 4)),
    "input: packed, another size": lambda: (pack_sequence([_zeros(5, 4)]),),
    "input: packed, too many axes": lambda: (pack_sequence([_zeros(5, 2, 3)]),),
}


@pytest.mark.parametrize("fault", FORWARDS)
def test_forward_refuses_what_torch_refuses(fault):
    theirs, ours = twins(3, 4)
    kind = _kind_of_refusal(lambda: theirs(*FORWARDS[fault]()))
    with pytest.raises(kind, match=fault.split(":")[0]) as refusal:
        ours(*FORWARDS[fault]())
    assert isinstance(refusal.value, GatewiseError)


# Here torch computes something by accident, or says so in other words.
STRICTER = {
    "c_0: another dtype": (
        RuntimeError,
        lambda: (_zeros(5, 2, 3), (_zeros(1, 2, 4), _zeros(1, 2, 4).float())),
    ),
    "input: packed, another dtype": (
        ValueError,
        lambda: (pack_sequence([_zeros(5, 3).float()]),),
    ),
    "h_0: packed, another batch": (
        RuntimeError,
        lambda: (pack_sequence([_zeros(5, 3)]), (_zeros(1, 2, 4), _zeros(1, 2, 4))),
    ),
}


@pytest.mark.parametrize("fault", STRICTER)
def test_forward_refuses_more(fault):
    kind, call = STRICTER[fault]
    with pytest.raises(kind, match=fault.split(":")[0]) as refusal:
        twins(3, 4)[1](*call())
    assert isinstance(refusal.value, GatewiseError)


def test_forward_refuses_what_is_no_tensor():
    with pytest.raises(TypeError, match=r"LSTM\(input\): expected a tensor .* got list"):
        gatewise.nn.LSTM(3, 4)([1.0, 2.0, 3.0])


BAD = {
    "lengths: zero": {"lengths": torch.tensor([3, 0, 1, 2])},
    "lengths: negative": {"lengths": [3, 1, -1, 2]},
    "lengths: more than T": {"lengths": [3, 8, 1, 2]},
    "lengths: too few": {"lengths": [3, 1, 2]},
    "lengths: two axes": {"lengths": torch.ones(4, 1, dtype=torch.int64)},
    "lengths: floats": {"lengths": torch.ones(4)},
    "lengths: bools": {"lengths": torch.ones(4, dtype=torch.bool)},
    "reset: integers": {"reset": torch.zeros(T, B, dtype=torch.int64)},
    "reset: the other layout": {"reset": torch.zeros(B, T, dtype=torch.bool)},
    "reset: too short": {"reset": torch.zeros(T - 1, B, dtype=torch.bool)},
    "reset: a list": {"reset": [False] * T},
    "reset: another device": {"reset": torch.zeros(T, B, dtype=torch.bool, device="meta")},
}


@pytest.mark.parametrize("fault", BAD)
def test_refusals_name_the_argument(fault):
    layer = gatewise.nn.LSTM(3, 4)
    with pytest.raises(GatewiseError, match=rf"^LSTM\({fault.split(':')[0]}\): expected .*, got"):
        layer(torch.zeros(T, B, 3), **BAD[fault])


def test_a_bad_length_is_named_with_its_sequence():
    layer = gatewise.nn.LSTM(3, 4)
    with pytest.raises(ValueError, match="from 1 to T=7, got 9 for sequence 2"):
        layer(torch.zeros(T, B, 3), lengths=[7, 1, 9, 0])


@pytest.mark.parametrize("option", ["lengths", "reset"])
def test_packed_input_has_no_lengths_and_resets(option):
    layer = gatewise.nn.LSTM(3, 4)
    packed = pack_padded_sequence(torch.zeros(T, B, 3), [7, 6, 3, 1])
    value = torch.tensor(LENGTHS) if option == "lengths" else torch.zeros(T, B, dtype=torch.bool)
    with pytest.raises(ValueError, match="PackedSequence"):
        layer(packed, **{option: value})


@pytest.mark.parametrize("make", [gatewise.nn.RNN, gatewise.nn.RNNCell])
def test_an_unknown_nonlinearity_is_refused(make):
    with pytest.raises(ValueError, match=r"\(nonlinearity\): expected 'tanh' or 'relu', got 'elu'"):
        make(3, 4, nonlinearity="elu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forget_gate": "relu"}, "expected 'sigmoid' or 'exponential', got 'relu'"),
        ({"forget_gate": True}, "expected 'sigmoid' or 'exponential', got True"),
        ({"heads": 1.5}, r"\(heads\): expected a number that divides hidden_size=8, got 1.5"),
    ],
)
def test_an_slstm_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        gatewise.nn.SLSTM(3, 8, **change)


@pytest.mark.parametrize("make", [gatewise.nn.MinGRU, gatewise.nn.MinLSTM])
def test_an_unknown_candidate_is_refused(make):
    with pytest.raises(
        ValueError, match=r"\(candidate\): expected 'linear' or 'positive', got 'x'"
    ):
        make(3, 4, candidate="x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"cell": None},
            r"\(cell\): expected a function cell\(x, .*, got NoneType",
        ),
        ({"num_layers": 1.5}, r"\(num_layers\): expected an int, got float 1.5"),
        ({"batch_first": 0}, r"\(batch_first\): expected a bool, got int 0"),
        ({"states": {"h": "0"}}, r"\(states\): expected the states' names"),
        (
            {"inputs": 3},
            r"\(inputs\): expected a function inputs\(x, .*, got int",
        ),
    ],
)
def test_a_layer_of_ones_own_refuses(change, message):
    usual = {"cell": torch.add, "input_size": 3, "hidden_size": 4, "weights": {"w": "H"}}
    with pytest.raises((TypeError, ValueError), match=message):
        gatewise.nn.Recurrent(**(usual | change))


def test_a_gru_refuses_what_is_no_tensor():
    layer = gatewise.nn.GRU(3, 4)
    with pytest.raises(TypeError, match=r"GRU\(input\): expected a tensor"):
        layer([1.0])
    with pytest.raises(TypeError, match=r"GRU\(hx\): expected a tensor h_0, got tuple"):
        layer(torch.zeros(2, 1, 3), (torch.zeros(1, 1, 4),) * 2)


def test_an_unknown_backend_is_refused():
    expected = r"use_backend\(backend\): expected 'auto' or 'native' or 'reference', got 'gpu'"
    with pytest.raises(ValueError, match=expected), gatewise.use_backend("gpu"):
        raise AssertionError


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (lambda: gatewise.nn.XLSTM(8, 2, slstm_at=1), "XLSTM(slstm_at)"),
        (lambda: gatewise.nn.XLSTM(8, "2"), "XLSTM(num_blocks)"),
        (lambda: gatewise.nn.MLSTMBlock(None), "MLSTMBlock(size)"),
        (lambda: gatewise.nn.MLSTMBlock(8, inner_size=8.0), "MLSTMBlock(inner_size)"),
        (lambda: gatewise.nn.MLSTMBlock(8, bias=1), "MLSTMBlock(bias)"),
        (lambda: gatewise.nn.SLSTMBlock(8, heads="2"), "SLSTMBlock(heads)"),
        (lambda: gatewise.nn.SLSTMBlock(8, position="last"), "SLSTMBlock(position)"),
        (lambda: gatewise.nn.MLSTM(3, 8, chunk_size=2.5), "MLSTM(chunk_size)"),
        (lambda: gatewise.nn.MLSTM(3, 8, heads=True), "MLSTM(heads)"),
        (lambda: gatewise.nn.MLSTM(3, 8)(torch.zeros(2, 1, 3), torch.zeros(1)), "MLSTM(hx)"),
    ],
)
def test_newer_cells_name_what_is_wrong(make, place):
    with pytest.raises(GatewiseError) as refusal:
        make()
    assert str(refusal.value).startswith(f"{place}: expected ")
