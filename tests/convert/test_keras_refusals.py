"""What has no twin is refused by name: the layer, the option, and what would work."""

from __future__ import annotations

import keras
import pytest
import torch
from torch import nn

import gatewise as gw
import gatewise.nn as gwn
from gatewise.convert import KerasRecurrent, KerasSequential
from gatewise.errors import InvalidStateError, InvalidTypeError, InvalidValueError

layers = keras.layers


def built(layer):
    layer.build((2, 5, 3))
    return layer


def branching():
    given = keras.Input((5, 3))
    return keras.Model(given, layers.Add()([layers.LSTM(4)(given), layers.LSTM(4)(given)]))


def twice():
    given = keras.Input((5, 3))
    layer = layers.LSTM(3, return_sequences=True)
    return keras.Model(given, layer(layer(given)))


def two_outputs():
    given = keras.Input((5, 3))
    x = layers.LSTM(3, return_sequences=True)(given)
    return keras.Model(given, [x, layers.Dense(2)(x)])


def with_state():
    given = keras.Input((5, 3))
    x, h, c = layers.LSTM(3, return_sequences=True, return_state=True)(given)
    return keras.Model(given, layers.LSTM(3)(x, initial_state=[h, c]))


def chain_with_state():
    given = keras.Input((5, 3))
    x, *_ = layers.LSTM(3, return_sequences=True, return_state=True)(given)
    return keras.Model(given, layers.Dense(2)(x))


def another_mask():
    given = keras.Input((5, 3))
    mask = keras.ops.any(keras.ops.not_equal(given, 1.0), axis=-1)
    return keras.Model(given, layers.LSTM(3)(layers.Dense(2)(given), mask=mask))


def mask_of_ids(*, mask_zero, value):
    given = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 3, mask_zero=mask_zero)(given)
    return keras.Model(given, layers.LSTM(3)(x, mask=keras.ops.not_equal(given, value)))


def always_dropping():
    given = keras.Input((5, 3))
    return keras.Model(given, layers.Dropout(0.5)(layers.LSTM(3)(given), training=True))


class Own(layers.LSTM):
    pass


def other_sides():
    back = layers.LSTM(4, activation="relu", go_backwards=True)
    return layers.Bidirectional(layers.LSTM(4), backward_layer=back)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: built(layers.LSTM(2, stateful=True)),
            r"LSTM layer 'lstm.*\(stateful\): .*module.layer",
        ),
        (
            lambda: built(layers.LSTM(2, activation="exponential")),
            r"\(activation\): expected one of tanh, ",
        ),
        (lambda: built(layers.LSTM(2, activation=None)), r"\(activation\): .*got 'linear'"),
        (
            lambda: built(layers.LSTM(2, recurrent_activation="leaky_relu")),
            r"LSTM layer 'lstm.*\(recurrent_activation\): .*hard_sigmoid",
        ),
        (
            lambda: built(layers.GRU(2, activation="relu")),
            r"GRU layer .*\(activation\): .*tanh, got 'relu'.*LSTM",
        ),
        (
            lambda: built(layers.GRU(2, recurrent_activation="hard_sigmoid")),
            r"\(recurrent_activation\)",
        ),
        (
            lambda: built(layers.SimpleRNN(2, activation="sigmoid")),
            r"SimpleRNN .*tanh or relu, got 'sigmoid'",
        ),
        (lambda: built(other_sides()), r"Bidirectional layer .*\(backward_layer\)"),
        (lambda: built(layers.Dense(2, activation="squareplus")), r"Dense layer .*\(activation\)"),
        (lambda: built(layers.Dense(2, lora_rank=1)), r"\(lora_rank\): .*Merge"),
        (lambda: layers.Dropout(0.5, noise_shape=(2, 1, 3)), r"\(noise_shape\)"),
        (
            lambda: built(layers.Conv1D(2, 2)),
            r"Conv1D layer 'conv1d.*expected one of LSTM, .*one by one",
        ),
        (branching, r"Functional model .*which is called otherwise.*one by one"),
        (twice, r"Functional model .*which is called otherwise"),
        (two_outputs, r"Functional model .*which is called otherwise"),
        (with_state, r"Functional model .*which is called otherwise"),
        (another_mask, r"Functional model .*LSTM layer .*which is called otherwise"),
        (lambda: mask_of_ids(mask_zero=False, value=0), r"LSTM layer .*which is called otherwise"),
        (lambda: mask_of_ids(mask_zero=True, value=1), r"LSTM layer .*which is called otherwise"),
        (always_dropping, r"Dropout layer .*which is called otherwise"),
        (chain_with_state, r"LSTM layer .*\(return_state\): .*by itself"),
    ],
)
def test_from_keras_refuses(make, message):
    with pytest.raises(InvalidValueError, match=message):
        gw.from_keras(make())


def test_a_mask_of_the_graph_that_is_the_layers_own():
    assert isinstance(gw.from_keras(mask_of_ids(mask_zero=True, value=0)), KerasSequential)


def test_layers_without_weights():
    with pytest.raises(InvalidStateError, match=r"LSTM layer .*Build it, or call it once"):
        gw.from_keras(layers.LSTM(4))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (nn.LSTM(2, 2), r"a layer or model of Keras, .*torch.*LSTM"),
        (3, "got builtins.int"),
        (Own(2), r"a class of Keras' own, got .*Own.*subclass"),
    ],
    ids=str,
)
def test_from_keras_refuses_another_class(given, message):
    with pytest.raises(InvalidTypeError, match=message):
        gw.from_keras(given)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (gwn.LSTM(2, 2, peephole=True, cell_clip=3.0), "peephole=True, cell_clip=3.0"),
        (gwn.LSTM(3, 2, proj_size=1), "proj_size=1"),
        (gwn.LSTM(2, 2, layer_norm=True), "layer_norm=True"),
        (gwn.GRU(2, 2, zoneout=0.5, weight_dropout=0.5), "zoneout=0.5, weight_dropout=0.5"),
        (gwn.RNN(2, 2, learn_initial_state=True), "learn_initial_state=True"),
        (gwn.GRU(2, 2, reverse=True), "KerasRecurrent"),
        (gwn.LSTM(2, 2, activation="leaky_relu"), r"LSTM.*\(activation\): .*got 'leaky_relu'"),
    ],
    ids=str,
)
def test_to_keras_refuses_what_keras_lacks(module, message):
    with pytest.raises(InvalidValueError, match=message):
        gw.to_keras(module)


@pytest.mark.parametrize(
    "module",
    [
        gwn.MinGRU(2, 2),
        nn.LSTM(2, 2),
        nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)),
        nn.Softmax(dim=1),
        nn.LeakyReLU(),
        nn.Embedding(3, 2, max_norm=1.0),
    ],
    ids=str,
)
def test_to_keras_refuses_another_module(module):
    with pytest.raises(InvalidTypeError, match=r"expected an LSTM, GRU or RNN of gatewise.nn"):
        gw.to_keras(module)


def test_to_keras_of_nothing():
    with pytest.raises(InvalidValueError, match="at least one layer"):
        gw.to_keras(KerasSequential())


def test_layers_that_keras_recurrent_refuses():
    with pytest.raises(InvalidValueError, match=r"KerasRecurrent\(layer\): .*num_layers=2"):
        KerasRecurrent(gwn.LSTM(2, 2, num_layers=2, batch_first=True))
    with pytest.raises(InvalidValueError, match="batch_first=False"):
        KerasRecurrent(gwn.LSTM(2, 2))


def test_widths_that_do_not_fit():
    """Each layer by itself is whole."""
    model = keras.Sequential([layers.Dense(4), layers.Dense(2)])
    for layer, width in zip(model.layers, (3, 5), strict=True):
        layer.build((None, width))
    with pytest.raises(InvalidValueError, match="weights for 4 features, got for 5"):
        gw.from_keras(model)
    assert gw.from_keras(model.layers[0])(torch.randn(2, 3)).shape == (2, 4)
