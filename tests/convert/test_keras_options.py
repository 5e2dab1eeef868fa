"""What goes along beside the numbers: which weights are trained, rates, masks, dtypes, shapes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import gatewise as gw
import gatewise.nn as gwn
from gatewise.convert import KerasEmbedding, KerasMasking, KerasSequential
from gatewise.errors import InvalidValueError
from support.compare import assert_close
from support.keras_cases import flat

layers = keras.layers


def built(layer: Any) -> Any:
    layer.build((None, None, 3))
    return layer


def row(*inside: Any, **options: Any) -> Any:
    return keras.Sequential([keras.Input((None, 3)), *inside], **options)


def functional(**options: Any) -> Any:
    given = keras.Input((None, 3))
    return keras.Model(given, layers.LSTM(2)(given), **options)


def learning(module: nn.Module) -> list[str]:
    return [name for name, weight in module.named_parameters() if weight.requires_grad]


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: row(layers.Dense(2, **options)),
        lambda **options: row(layers.LSTM(2, **options)),
        lambda **options: row(layers.Bidirectional(layers.GRU(2), **options)),
        lambda **options: row(layers.Bidirectional(layers.GRU(2, **options))),
        lambda **options: row(layers.LSTM(2), **options),
        lambda **options: row(row(layers.LSTM(2), layers.Dense(3), **options)),
        functional,
        lambda **options: keras.Sequential([keras.Input((4,)), layers.Embedding(5, 3, **options)]),
    ],
)
def test_what_is_trained(make, tmp_path):
    for trainable in (True, False):
        model = make(trainable=trainable)
        model.save(tmp_path / "model.keras")
        for given in (model, tmp_path / "model.keras"):
            module = gw.from_keras(given)
            every = [name for name, _ in module.named_parameters()]
            assert learning(module) == (every if trainable else [])
        back = gw.to_keras(gw.from_keras(model))
        assert len(back.trainable_weights) == (len(model.weights) if trainable else 0)


def test_parts_of_a_layer_that_are_trained():
    layer = built(layers.LSTM(2))
    layer.cell.trainable = False
    assert learning(gw.from_keras(layer)) == []
    both = built(layers.Bidirectional(layers.LSTM(2)))
    both.backward_layer.trainable = False
    module = gw.from_keras(both)
    names = [f"layer.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    assert learning(module) == names
    back = gw.to_keras(module)
    assert (back.forward_layer.trainable, back.backward_layer.trainable) == (True, False)
    layer = built(layers.GRU(2))
    layer.cell.bias.trainable = False
    module = gw.from_keras(layer)
    assert learning(module) == names[:2]
    with pytest.raises(InvalidValueError, match=r"to_keras\(GRU\): .*bias_ih_l0, bias_hh_l0 alone"):
        gw.to_keras(module)


def test_layers_of_one_module_that_learn():
    module = gwn.LSTM(3, 4, num_layers=12, bidirectional=True)
    for name, weight in module.named_parameters():
        weight.requires_grad_(not name.endswith(("_l1", "_l11", "_l11_reverse")))
    theirs = gw.to_keras(module).layers
    learns = [[side.forward_layer.trainable, side.backward_layer.trainable] for side in theirs]
    assert learns == [[True, True], [False, True], *[[True, True]] * 9, [False, False]]
    assert [layer.trainable for layer in theirs] == [True] * 11 + [False]


def test_rows_of_which_some_learn():
    module = nn.Sequential(KerasEmbedding(5, 3), gwn.RNN(3, 4, batch_first=True), nn.Linear(4, 2))
    for at, frozen in enumerate(module):
        module.requires_grad_()
        frozen.requires_grad_(requires_grad=False)
        theirs = gw.to_keras(module).layers
        assert [layer.trainable for layer in theirs] == [n != at for n in range(3)]
    linear = nn.Linear(2, 2)
    linear.bias.requires_grad_(requires_grad=False)
    with pytest.raises(InvalidValueError, match=r"Linear\): .*requires_grad=False for bias alone"):
        gw.to_keras(linear)
    pruned = gwn.GRU(3, 4, num_layers=2)
    prune.l1_unstructured(pruned, "weight_hh_l1", 0.5)
    pruned.weight_hh_l1_orig.requires_grad_(requires_grad=False)
    with pytest.raises(InvalidValueError, match="for weight_hh_l1_orig alone"):
        gw.to_keras(pruned)


def test_dropouts_go_along():
    module = gw.from_keras(built(layers.GRU(4, dropout=0.25, recurrent_dropout=0.75)))
    assert (module.layer.input_dropout, module.layer.recurrent_dropout) == (0.25, 0.75)
    back = gw.to_keras(module)
    assert (back.dropout, back.recurrent_dropout) == (0.25, 0.75)
    with pytest.warns(UserWarning, match=r"SimpleRNN layer .*dropout is left out"):
        gw.from_keras(built(layers.SimpleRNN(4, dropout=0.25)))


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.8])
def test_rates_of_dropout(rate):
    module = gw.from_keras(layers.Dropout(rate))
    assert module.p == rate
    assert gw.to_keras(module).rate == rate
    between = gw.to_keras(gwn.GRU(3, 4, num_layers=3, dropout=rate)).layers
    assert [layer.rate for layer in between if type(layer) is layers.Dropout] == [rate] * (
        2 if rate else 0
    )


@pytest.mark.parametrize("value", [0.0, -1.0, 2.0])
def test_masking(value):
    x = np.random.default_rng(0).normal(size=(3, 6, 4)).astype(np.float32)
    x[0, 2:4] = x[1, :] = x[2, 0, 1:] = value
    layer = layers.Masking(value)
    module = gw.from_keras(layer)
    for got in (module, gw.to_keras(module), gw.from_keras(gw.to_keras(KerasMasking(value)))):
        given = torch.from_numpy(x)
        assert_close(flat(got(given)), flat(layer(x)), tolerance=0.0)
    model = keras.Sequential([keras.Input((None, 4)), layers.Masking(value), layers.LSTM(2)])
    for got in (gw.from_keras(model), gw.to_keras(gw.from_keras(model))):
        assert_close(flat(got(torch.from_numpy(x))), flat(model(x)), tolerance=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16", "mixed_bfloat16"])
def test_dtypes(dtype):
    # Orthogonal matrices cannot be drawn in 16 bits.
    layer = built(layers.GRU(4, dtype=dtype, recurrent_initializer="glorot_uniform"))
    module = gw.from_keras(layer)
    stored = "float32" if dtype == "mixed_bfloat16" else dtype
    assert {weight.dtype for weight in module.parameters()} == {getattr(torch, stored)}
    twin = gw.to_keras(KerasSequential(module, nn.Dropout(0.5)))
    for back in (gw.to_keras(module), twin.layers[0]):
        assert back.variable_dtype == back.compute_dtype == stored
        for got, held in zip(back.get_weights(), layer.get_weights(), strict=True):
            assert np.array_equal(got.astype(np.float64), held.astype(np.float64))
    assert twin.layers[1].compute_dtype == stored


def test_a_row_of_several_dtypes():
    model = row(
        layers.LSTM(4, return_sequences=True), layers.Dropout(0.5), layers.Dense(2, dtype="float64")
    )
    with pytest.raises(
        InvalidValueError, match=r"Dense layer 'dense.*\(dtype\): .*float32 .*torch.float64"
    ):
        gw.from_keras(model)
    back = layers.GRU(2, dtype="float64", go_backwards=True)
    with pytest.raises(InvalidValueError, match=r"GRU layer .*\(dtype\)"):
        gw.from_keras(built(layers.Bidirectional(layers.GRU(2), backward_layer=back)))
    module = nn.Sequential(gwn.GRU(3, 4), nn.Linear(4, 2).double())
    with pytest.raises(InvalidValueError, match=r"a Dense of torch.float64 after torch.float32"):
        gw.to_keras(module)
    with pytest.raises(InvalidValueError, match=r"a Dense of torch.complex64"):
        gw.to_keras(nn.Linear(2, 2, dtype=torch.complex64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_of_dense_layers_take_any_number_of_axes(dtype, tmp_path):
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).to(dtype)
    theirs = gw.to_keras(module)
    theirs.save(tmp_path / "model.keras")
    assert theirs.built
    assert theirs.layers[0].compute_dtype == str(dtype).removeprefix("torch.")
    for model in (theirs, keras.saving.load_model(tmp_path / "model.keras")):
        shapes = [(5, 3), (2, 5, 3), (2, 5, 6, 3)]
        for shape in shapes if model is theirs else shapes[1:2]:
            x = torch.randn(shape, dtype=dtype)
            assert_close(flat(model(x)), flat(module(x)), tolerance=1e-5)
    ids = torch.tensor([[0, 3, 1], [4, 4, 2]])
    module = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))
    for given in (ids, ids[0]):
        assert_close(flat(gw.to_keras(module)(given)), flat(module(given)), tolerance=1e-5)
