"""replace: every recurrent layer of torch in a model becomes ours, and nothing else changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import gatewise.nn
from gatewise.nn import replace
from support.compare import assert_close, assert_equal
from support.twins import CONFIGURATIONS, results, twins


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(4, 5, 2, bidirectional=True, batch_first=True, dropout=0.3)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(10, 4), nn.LSTM(4, 4))])
        self.shared = self.blocks[0][1]
        self.alias = self.shared
        self.gru = nn.GRU(4, 4, 2)
        self.rnn = nn.RNN(4, 4, nonlinearity="relu")
        self.cell = nn.LSTMCell(4, 4)

    def forward(self, x):
        y = self.encoder(x)[0]
        y = self.blocks[0](y)[0]
        y = self.alias(self.shared(y)[0])[0]
        return self.rnn(self.gru(y)[0])[0]


def test_a_model_keeps_its_results_parameters_and_structure():
    torch.manual_seed(0)
    model = Model().double().eval()
    x = torch.randn(3, 6, 4, dtype=torch.float64)
    parameters = dict(model.named_parameters())
    names, before = list(model.state_dict()), model(x)
    state = torch.random.get_rng_state()
    assert replace(model) is model
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(isinstance(module, nn.RNNBase) for module in model.modules())
    assert type(model.encoder) is gatewise.nn.LSTM
    assert type(model.gru) is gatewise.nn.GRU
    assert type(model.rnn) is gatewise.nn.RNN
    assert type(model.cell) is nn.LSTMCell
    assert model.shared is model.alias is model.blocks[0][1]
    assert list(model.state_dict()) == names
    assert all(weight is parameters[name] for name, weight in model.named_parameters())
    assert_close({"y": model(x)}, {"y": before}, tolerance=1e-13)


BARE = [
    *(("LSTM", options) for options in CONFIGURATIONS),
    ("GRU", {"num_layers": 2, "bidirectional": True}),
    ("RNN", {"nonlinearity": "relu", "bias": False}),
]


@pytest.mark.parametrize(("kind", "options"), BARE, ids=str)
def test_a_bare_layer_is_returned_anew(kind, options):
    theirs, ours = twins(4, 5, kind=kind, **options)
    fresh = replace(theirs)
    assert type(fresh) is type(ours)
    assert repr(fresh) == repr(ours)
    x = torch.randn(3, 3, 4, dtype=torch.float64)
    assert_equal(results(fresh, x), results(ours, x))


def test_hooks_modes_buffers_and_attributes_are_kept():
    model = nn.Sequential(nn.LSTM(4, 5, 2, dropout=0.5))
    calls = []
    layer = model[0]
    handle = layer.register_forward_hook(lambda *_: calls.append("after"))
    layer.register_forward_pre_hook(lambda *_: calls.append("before"))
    layer.register_full_backward_hook(lambda *_: calls.append("backward"))
    layer.register_buffer("scale", torch.ones(1))
    layer.note = "mine"
    layer.eval()
    layer.weight_ih_l0.requires_grad_(False)
    replace(model)
    assert not model[0].training
    assert model.training
    assert model[0].note == "mine"
    assert model[0].dropout == 0.5
    assert not model[0].weight_ih_l0.requires_grad
    assert "0.scale" in model.state_dict()
    model(torch.randn(3, 2, 4, requires_grad=True))[0].sum().backward()
    assert calls == ["before", "after", "backward"]
    handle.remove()
    model(torch.randn(3, 2, 4))
    assert calls == ["before", "after", "backward", "before"]


def test_an_optimizer_goes_on():
    model = nn.Sequential(nn.LSTM(4, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    replace(model)
    before = model[0].weight_hh_l0.detach().clone()
    model(torch.randn(3, 2, 4))[0].sum().backward()
    optimizer.step()
    assert not torch.equal(model[0].weight_hh_l0, before)


class Custom(nn.LSTM):
    def forward(self, x, hx=None):
        return super().forward(-x, hx)


def test_what_may_compute_something_else_is_left_and_listed():
    model = nn.ModuleDict({"mine": Custom(4, 5), "plain": nn.LSTM(4, 5), "other": nn.LSTM(4, 5)})
    model["patched"] = nn.LSTM(4, 5)
    model["patched"].forward = lambda x: x
    nn.utils.parametrizations.weight_norm(model["other"], "weight_hh_l0")
    with pytest.warns(UserWarning, match="left as they were") as warned:
        replace(model)
    (message,) = [str(warning.message) for warning in warned]
    assert "mine (Custom, a subclass)" in message
    assert "other (ParametrizedLSTM, a subclass)" in message
    assert "patched (its forward was replaced)" in message
    assert type(model["plain"]) is gatewise.nn.LSTM
    assert type(model["mine"]) is Custom
    assert type(model["patched"]) is nn.LSTM


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_weight_norm_of_the_old_kind_goes_over():
    model = nn.Sequential(nn.LSTM(4, 5).double())
    nn.utils.weight_norm(model[0], "weight_hh_l0")
    x = torch.randn(3, 2, 4, dtype=torch.float64)
    with torch.no_grad():
        model[0].weight_hh_l0_g.mul_(1.7)
    before = results(model, x)
    replace(model)
    assert type(model[0]) is gatewise.nn.LSTM
    assert_close(results(model, x), before, tolerance=1e-13)
    nn.utils.remove_weight_norm(model[0], "weight_hh_l0")
    assert_close({"y": model(x)[0]}, {"y": before["y"]}, tolerance=1e-13)


def test_a_second_time_changes_nothing():
    model = replace(nn.Sequential(nn.LSTM(4, 5), nn.Linear(5, 1)))
    layer = model[0]
    assert replace(model)[0] is layer
    assert replace(nn.Linear(2, 2)).in_features == 2
    twin = copy.deepcopy(model)
    assert twin[0] is not layer
    assert_equal(twin.state_dict(), model.state_dict())
