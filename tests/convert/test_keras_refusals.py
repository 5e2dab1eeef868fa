"""What has no twin is refused by name: the layer, the option, and what would work."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
import torch
from torch import nn

import gatewise as gw
import gatewise.nn as gwn
from gatewise.convert import KerasRecurrent, KerasSequential
from gatewise.errors import GatewiseError, InvalidStateError, InvalidTypeError, InvalidValueError

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


def chain_of_two_outputs():
    given = keras.Input((5, 3))
    forth, _ = layers.Bidirectional(layers.LSTM(3), merge_mode=None)(given)
    return keras.Model(given, layers.Dense(2)(forth))


def against_time():
    return built(
        layers.Bidirectional(layers.LSTM(2, go_backwards=True), backward_layer=layers.LSTM(2))
    )


def quantized():
    layer = layers.Dense(2)
    layer.build((None, 3))
    layer.quantize("int8")
    return layer


def another_mask():
    given = keras.Input((5, 3))
    mask = keras.ops.any(keras.ops.not_equal(given, 1.0), axis=-1)
    return keras.Model(given, layers.LSTM(3)(layers.Dense(2)(given), mask=mask))


def constant(layer, **arguments):
    given = keras.Input((5, 3))
    return keras.Model(given, layer(given, **arguments))


def mask_over_another_axis(axis, *, keepdims=False):
    """Whose features are as many as its steps."""
    given = keras.Input((5, 5))
    mask = keras.ops.any(keras.ops.not_equal(given, 0.0), axis=axis, keepdims=keepdims)
    return keras.Model(given, layers.LSTM(3)(layers.Masking(0.0)(given), mask=mask))


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
        (chain_of_two_outputs, r"Bidirectional layer .*\(merge_mode\): .*by itself"),
        (against_time, r"Bidirectional layer .*\(layer\): .*go_backwards=False"),
        (quantized, r"Dense layer .*\(dtype\): .*got 'QuantizedDTypePolicy'.*before quantization"),
    ],
)
def test_from_keras_refuses(make, message):
    with pytest.raises(InvalidValueError, match=message):
        gw.from_keras(make())


def test_a_mask_of_the_graph_that_is_the_layers_own():
    assert isinstance(gw.from_keras(mask_of_ids(mask_zero=True, value=0)), KerasSequential)
    assert isinstance(gw.from_keras(mask_over_another_axis(-1)), KerasSequential)


STATE = [np.ones((2, 4), np.float32), np.zeros((2, 4), np.float32)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: constant(layers.LSTM(4), initial_state=STATE),
        lambda: constant(layers.LSTM(4), initial_state=[torch.ones(2, 4)] * 2),
        lambda: constant(layers.Bidirectional(layers.GRU(4)), initial_state=STATE),
        lambda: constant(layers.LSTM(4), mask=np.array([[True] * 4 + [False]] * 2)),
        lambda: mask_over_another_axis(1),
        lambda: mask_over_another_axis(-1, keepdims=True),
    ],
)
def test_arguments_of_a_graph_that_a_row_has_not(make, tmp_path):
    """Live, and from a file."""
    model = make()
    model.save(tmp_path / "model.keras")
    for given in (model, tmp_path / "model.keras"):
        with pytest.raises(InvalidValueError, match=r"layer '(lstm|bidir).*called otherwise"):
            gw.from_keras(given)


def test_layers_without_weights():
    with pytest.raises(InvalidStateError, match=r"LSTM layer .*Build it, or call it once"):
        gw.from_keras(layers.LSTM(4))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (nn.LSTM(2, 2), r"a layer or model of Keras, .*torch.*LSTM"),
        (3, "got builtins.int"),
        (Own(2), r"a class of Keras' own, got .*Own.*subclass"),
        (keras.initializers.Zeros(), r"a layer or model of Keras, .*Zeros"),
        (keras.regularizers.L2(), r"a layer or model of Keras, .*L2"),
        (keras.optimizers.Adam(), r"a layer or model of Keras, .*Adam"),
        (keras.losses.MeanSquaredError(), r"a layer or model of Keras, .*MeanSquaredError"),
        (keras.random.SeedGenerator(0), r"a layer or model of Keras, .*SeedGenerator"),
        (keras.Variable(0.0), r"a layer or model of Keras, .*Variable"),
        (keras.Input((3,)), r"a layer or model of Keras, .*KerasTensor"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_from_keras_refuses_another_class(given, message):
    with pytest.raises(InvalidTypeError, match=message):
        gw.from_keras(given)


def tanh(x):
    """Not that of Keras, though Keras writes its name alone."""
    return 2 * x


def softmax(x):
    return x


def two_sides_with_a_function():
    """Bidirectional makes its sides of what Keras wrote down; so the function comes later."""
    layer = built(layers.Bidirectional(layers.LSTM(2)))
    layer.backward_layer.cell.activation = tanh
    return layer


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (lambda: built(layers.LSTM(2, activation=tanh)), "activation"),
        (lambda: built(layers.LSTM(2, activation=torch.tanh)), "activation"),
        (lambda: built(layers.LSTM(2, activation=nn.functional.relu)), "activation"),
        (lambda: built(layers.LSTM(2, activation=partial(keras.ops.relu))), "activation"),
        (lambda: built(layers.GRU(2, recurrent_activation=tanh)), "recurrent_activation"),
        (lambda: built(layers.SimpleRNN(2, activation=tanh)), "activation"),
        (two_sides_with_a_function, "activation"),
        (lambda: built(layers.Dense(2, activation=softmax)), "activation"),
        (lambda: layers.Activation(tanh), "activation"),
        (
            lambda: keras.Sequential([keras.Input((3,)), layers.Dense(2, activation=tanh)]),
            "activation",
        ),
    ],
)
def test_a_function_of_somebodys_own(make, option):
    message = rf"layer '.*\({option}\): expected a function of keras.activations, got .*of your own"
    with pytest.raises(InvalidValueError, match=message):
        gw.from_keras(make())


def test_what_keras_cannot_describe():
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(2, activation=partial(keras.ops.relu))]
    )
    with pytest.raises(InvalidValueError, match=r"Sequential layer .*functions of keras.activ"):
        gw.from_keras(model)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_that_is_none(sign):
    with pytest.raises(
        InvalidValueError, match=r"Masking layer .*\(mask_value\): expected a number"
    ):
        gw.from_keras(layers.Masking(sign * 10**400))


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


@pytest.mark.parametrize("options", [{"return_state": True}, {"merge_mode": None}], ids=str)
def test_to_keras_refuses_two_outputs_before_a_layer(options):
    both = gwn.LSTM(2, 2, batch_first=True, bidirectional=True)
    several = KerasRecurrent(both, return_sequences=True, **options)
    for after in (nn.Linear(4, 2), nn.Dropout(0.5)):
        with pytest.raises(InvalidValueError, match=r"one output of each layer .*got a LSTM with"):
            gw.to_keras(KerasSequential(several, after))
    outputs = gw.to_keras(KerasSequential(nn.Linear(2, 2), several))(torch.randn(1, 3, 2))
    assert len(outputs) == len(several(torch.randn(1, 3, 2)))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(2, 5), r"\(mask\): expected a bool tensor, got torch.float32"),
        (torch.ones(2, 1).bool(), r"\(mask\): expected a flag for each step.*\(2, 1\) for \(2, 5"),
        (torch.ones(2, 7).bool(), r"got \(2, 7\)"),
        (torch.ones(5).bool(), r"got \(5,\)"),
        (torch.ones(2, 5, 1).bool(), r"got \(2, 5, 1\)"),
    ],
    ids=["floats", "one step", "other steps", "one row", "three axes"],
)
def test_masks_that_keras_recurrent_refuses(mask, message):
    layer = KerasRecurrent(gwn.LSTM(3, 2, batch_first=True))
    with pytest.raises(GatewiseError, match=message):
        layer(torch.randn(2, 5, 3), mask)
    with pytest.raises(GatewiseError, match="KerasRecurrent"):
        layer(torch.randn(5, 3), torch.ones(5, 3).bool())


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
