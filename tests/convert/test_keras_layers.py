"""from_keras and to_keras: 200 random layers of Keras there and back, and layers of ours."""

from __future__ import annotations

import doctest
from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import gatewise as gw
import gatewise.nn as gwn
from gatewise.convert import KerasRecurrent, KerasSequential, _keras_build, keras_modules
from gatewise.convert._keras_weights import ORDERS
from support.compare import assert_close
from support.keras_cases import Case, flat, random_case

TOLERANCE = 1e-5


def converts(case: Case) -> nn.Module:
    """Return the twin of a layer; raise unless it computes what that does."""
    module = gw.from_keras(case.layer)
    assert_close(case.torch(module), case.keras(), tolerance=TOLERANCE)
    return module


def there_and_back(case: Case) -> None:
    """Raise unless the twin of a layer, and the twin of that, compute what it does."""
    back = gw.to_keras(converts(case))
    assert_close(case.keras(back), case.keras(), tolerance=TOLERANCE)
    assert type(back) is type(case.layer)
    for got, held in zip(back.get_weights(), case.layer.get_weights(), strict=True):
        assert np.array_equal(got, held)
    assert len(back.trainable_weights) == len(case.layer.trainable_weights)


@pytest.mark.parametrize("block", range(10))
def test_random_layers(block):
    for seed in range(20 * block, 20 * block + 20):
        there_and_back(random_case(seed))


def ignores_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = KerasRecurrent.forward
    monkeypatch.setattr(KerasRecurrent, "forward", lambda self, x, mask=None: forward(self, x))


def stays_in_time_order(monkeypatch: pytest.MonkeyPatch) -> None:
    step_outputs = keras_modules.step_outputs

    def wrong(y, steps, *, reverse, zero):
        return step_outputs(y, steps, reverse=False, zero=zero)

    monkeypatch.setattr(keras_modules, "step_outputs", wrong)


def without_transposition(monkeypatch: pytest.MonkeyPatch) -> None:
    to_torch_layout = _keras_build.to_torch_layout

    def wrong(kind, weights):
        weight_ih, weight_hh, *biases = to_torch_layout(kind, weights)
        return [weight_ih, weight_hh.reshape(weight_hh.T.shape).T, *biases]

    monkeypatch.setattr(_keras_build, "to_torch_layout", wrong)


SABOTAGE = {
    "LSTM's gates swapped": lambda patch: patch.setitem(ORDERS, "LSTM", (1, 0, 2, 3)),
    "GRU's gates in Keras' order": lambda patch: patch.setitem(ORDERS, "GRU", (0, 1, 2)),
    "masks ignored": ignores_masks,
    "outputs in time order": stays_in_time_order,
    "matrices not transposed": without_transposition,
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_wrong_conversion_is_noticed(name, monkeypatch):
    SABOTAGE[name](monkeypatch)
    with pytest.raises(AssertionError, match="relative error"):
        list(map(converts, map(random_case, range(60))))


def random_layer(seed: int) -> nn.Module:
    draw = np.random.default_rng(seed)
    kind = str(draw.choice(["LSTM", "GRU", "RNN"]))
    options: dict[str, Any] = {
        "num_layers": int(draw.integers(1, 4)),
        "bias": bool(draw.integers(2)),
        "batch_first": True,
        "bidirectional": bool(draw.integers(2)),
    }
    if options["num_layers"] > 1:
        options["dropout"] = 0.2
    if kind == "LSTM":
        options["activation"] = str(draw.choice(["tanh", "relu", "softsign"]))
        options["gate_activation"] = str(draw.choice(["sigmoid", "hardsigmoid"]))
    if kind == "GRU":
        options["reset_after"] = bool(draw.integers(2))
    if kind == "RNN":
        options["nonlinearity"] = str(draw.choice(["tanh", "relu"]))
    else:
        options |= {"input_dropout": 0.1, "recurrent_dropout": 0.3}
    sizes = map(int, draw.integers(1, 9, 2))
    return getattr(gwn, kind)(*sizes, **options).eval()


@pytest.mark.parametrize("seed", range(30))
def test_layers_of_ours(seed):
    torch.manual_seed(seed)
    layer = random_layer(seed)
    x = torch.randn(3, 5, layer.input_size)
    with torch.no_grad():
        want = flat(layer(x)[0])
    theirs = gw.to_keras(layer)
    assert_close(flat(theirs(x.numpy())), want, tolerance=TOLERANCE)
    back = gw.from_keras(theirs)
    with torch.no_grad():
        assert_close(flat(back(x)), want, tolerance=TOLERANCE)


def test_nothing_is_shared_and_nothing_drawn():
    layer = keras.layers.LSTM(4)
    layer.build((None, None, 3))
    before = torch.random.get_rng_state()
    module = gw.from_keras(layer)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not module.training
    held = [array.copy() for array in layer.get_weights()]
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(1)
    for array, kept in zip(layer.get_weights(), held, strict=True):
        assert np.array_equal(array, kept)


@pytest.mark.parametrize(
    "activation",
    [
        *("linear", "relu", "softmax", "log_softmax", "leaky_relu", "gelu", "silu", "hard_silu"),
        *("elu", "selu", "celu", "softplus", "soft_shrink", "hard_shrink", "tanh_shrink", "mish"),
        *("hard_tanh", "hard_sigmoid", "log_sigmoid", "relu6", "softsign", "tanh", "sigmoid"),
    ],
)
def test_dense_and_its_activation(activation):
    x = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32) * 3
    layer = keras.layers.Dense(5, activation=activation)
    want = flat(layer(x))
    module = gw.from_keras(layer)
    assert_close(flat(module(torch.from_numpy(x))), want, tolerance=TOLERANCE)
    back = gw.to_keras(module)
    assert type(back) is keras.layers.Dense
    assert back.get_config()["activation"] == activation
    assert_close(flat(back(x)), want, tolerance=TOLERANCE)


def test_weights_that_are_computed():
    linear, layer = nn.Linear(3, 4), gwn.LSTM(3, 4, batch_first=True)
    prune.l1_unstructured(linear, "weight", 0.5)
    prune.l1_unstructured(layer, "weight_hh_l0", 0.5)
    x = torch.randn(2, 5, 3)
    assert_close(flat(gw.to_keras(linear)(x.numpy())), flat(linear(x)), tolerance=TOLERANCE)
    assert_close(flat(gw.to_keras(layer)(x.numpy())), flat(layer(x)[0]), tolerance=TOLERANCE)


def test_a_model_of_torchs_modules():
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2))
    theirs = gw.to_keras(model.eval())
    assert [type(layer).__name__ for layer in theirs.layers] == ["Dense", "Dropout", "Dense"]
    assert theirs.built
    x = torch.randn(5, 3)
    assert_close(flat(theirs(x.numpy())), flat(model(x)), tolerance=TOLERANCE)
    stack = gwn.Stack(gwn.LSTM(3, 4), nn.Linear(4, 2), nn.Tanh(), batch_first=True)
    x = torch.randn(2, 5, 3)
    theirs = gw.to_keras(stack)
    assert theirs.input_shape == (None, None, 3)
    assert_close(flat(theirs(x.numpy())), flat(stack(x)[0]), tolerance=TOLERANCE)


def test_what_a_converted_model_is():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None,)),
            layers.Embedding(9, 3, mask_zero=True),
            layers.LSTM(4),
            layers.Dense(2, "softmax"),
        ]
    )
    module = gw.from_keras(model)
    assert isinstance(module, KerasSequential)
    assert [type(part).__name__ for part in module] == [
        *("KerasEmbedding", "KerasRecurrent", "Linear", "Softmax"),
    ]
    assert isinstance(module[1].layer, gwn.LSTM)
    assert list(module.state_dict())[:2] == ["0.weight", "1.layer.weight_ih_l0"]
    back = gw.to_keras(module)
    assert [type(layer).__name__ for layer in back.layers] == ["Embedding", "LSTM", "Dense"]
    ids = np.array([[0, 0, 4, 2], [3, 0, 5, 0], [0, 0, 0, 0]])
    assert_close(flat(module(torch.from_numpy(ids))), flat(model(ids)), tolerance=TOLERANCE)
    assert_close(flat(back(ids)), flat(model(ids)), tolerance=TOLERANCE)


def test_examples():
    done = doctest.testmod(keras_modules)
    assert done.attempted > 0
    assert done.failed == 0


def test_a_recorded_graph_takes_every_mask():
    """Where the values of a mask cannot be looked at."""
    layer = keras.layers.LSTM(4, return_sequences=True)
    layer.build((None, None, 3))
    module = gw.from_keras(layer)
    x = torch.randn(2, 4, 3)
    in_front, between = torch.tensor(
        [[[1, 1, 0, 0], [1, 1, 1, 1]], [[0, 1, 0, 1], [1, 0, 0, 0]]]
    ).bool()
    graph = torch.export.export(module, (x, in_front)).module()
    for mask in (in_front, between):
        assert_close(flat(graph(x, mask)), flat(module(x, mask)), tolerance=1e-6)


def test_it_learns():
    layer = keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True))
    layer.build((None, None, 3))
    module = gw.from_keras(layer).train()
    mask = torch.tensor([[True, False, True, True], [False, False, True, False]])
    x = torch.randn(2, 4, 3, requires_grad=True)
    module(x, mask).square().sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in module.parameters())
    assert torch.equal(x.grad.abs().sum(-1) > 0, mask)
