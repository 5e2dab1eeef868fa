"""from_torch and to_torch: twins with copies of everything that computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import gatewise as gw
import gatewise.nn as gwn
from gatewise.errors import InvalidStateError, InvalidTypeError, InvalidValueError
from support.compare import assert_close

LAYERS = [
    nn.LSTM(3, 5),
    nn.LSTM(3, 5, 2, bias=False, batch_first=True, dropout=0.3, bidirectional=True, proj_size=2),
    nn.GRU(3, 5, 2, bidirectional=True),
    nn.RNN(3, 5, nonlinearity="relu", batch_first=True),
    nn.RNN(3, 5, bias=False),
]
CELLS = [nn.LSTMCell(3, 5), nn.GRUCell(3, 5, bias=False), nn.RNNCell(3, 5, nonlinearity="relu")]

each = pytest.mark.parametrize("theirs", [*LAYERS, *CELLS], ids=str)


def flat(result) -> dict:
    if isinstance(result, torch.Tensor):
        return {"": result}
    return {f"{n}{key}": t for n, part in enumerate(result) for key, t in flat(part).items()}


@each
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_there_and_back(theirs):
    theirs = theirs.double().eval()
    x = torch.randn(*([4, 2, 3] if theirs in LAYERS else [2, 3]), dtype=torch.float64)
    before = torch.random.get_rng_state()
    ours = gw.from_torch(theirs)
    back = gw.to_torch(ours)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert type(ours).__module__.startswith("gatewise.nn")
    assert type(back) is type(theirs)
    assert repr(back) == repr(theirs)
    want = flat(theirs(x))
    assert_close(flat(ours(x)), want, tolerance=1e-14)
    assert_close(flat(back(x)), want, tolerance=0.0)


@each
def test_nothing_is_shared(theirs):
    ours = gw.from_torch(theirs)
    held = {weight.data_ptr() for weight in theirs.parameters()}
    assert not held & {weight.data_ptr() for weight in ours.parameters()}
    assert not held & {weight.data_ptr() for weight in gw.to_torch(ours).parameters()}


def test_modes_go_along():
    theirs = nn.GRU(3, 5).eval()
    theirs.bias_hh_l0.requires_grad_(False)
    for twin in (gw.from_torch(theirs), gw.to_torch(gw.from_torch(theirs))):
        assert not twin.training
        learning = {name for name, weight in twin.named_parameters() if weight.requires_grad}
        assert learning == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0"}


def test_torchs_twin_learns():
    twin = gw.to_torch(gwn.LSTM(3, 5, init="orthogonal", precision="bf16"))
    twin(torch.randn(4, 2, 3))[0].sum().backward()
    assert all(weight.grad is not None for weight in twin.parameters())


class Own(nn.LSTM):
    pass


@pytest.mark.parametrize("module", [nn.Linear(2, 2), Own(2, 2), gwn.LSTM(2, 2)], ids=str)
def test_from_torch_refuses(module):
    with pytest.raises(InvalidTypeError, match=r"one of torch.nn's LSTM, .*gatewise.replace"):
        gw.from_torch(module)


@pytest.mark.parametrize("module", [nn.LSTM(2, 2), gwn.MinGRU(2, 2), gwn.Stack()], ids=str)
def test_to_torch_refuses_another_module(module):
    with pytest.raises(InvalidTypeError, match=r"one of gatewise.nn's LSTM, "):
        gw.to_torch(module)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (gwn.LSTM(2, 2, peephole=True, cell_clip=3.0), "peephole=True, cell_clip=3.0"),
        (gwn.LSTM(2, 2, weight_dropout=0.5), "weight_dropout=0.5"),
        (gwn.GRU(2, 2, reset_after=False), "reset_after=False"),
        (gwn.RNN(2, 2, reverse=True, learn_initial_state=True), "reverse=True, learn_init"),
    ],
    ids=str,
)
def test_to_torch_refuses_what_torch_lacks(layer, message):
    with pytest.raises(InvalidValueError, match=message):
        gw.to_torch(layer)


def test_tied_and_computed_weights():
    tied = nn.LSTM(4, 4, 2)
    tied.weight_hh_l1 = tied.weight_hh_l0
    x = torch.randn(3, 2, 4)
    assert_close({"y": gw.from_torch(tied)(x)[0]}, {"y": tied(x)[0]}, tolerance=1e-6)
    pruned = nn.LSTM(4, 4)
    prune.l1_unstructured(pruned, "weight_hh_l0", 0.5)
    with pytest.raises(InvalidStateError, match="Remove the reparametrisation first"):
        gw.from_torch(pruned)
