"""from_keras on Keras' own files: whole models predict the same."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import Any

import keras
import numpy as np
import pytest
import torch

import gatewise as gw
from gatewise.errors import InvalidStateError
from support.compare import assert_close
from support.keras_cases import flat
from support.keras_files import filled, softmax_model
from support.process import run_python

layers = keras.layers


def sigmoid_model() -> Any:
    return keras.Sequential(
        [
            keras.Input((20, 5)),
            layers.LSTM(128, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def long_model() -> Any:
    """Several layers of a kind, models within the model, masks that go through all of it."""
    gru = layers.GRU(4, return_sequences=True)
    within = keras.Sequential([keras.Input((None, 8)), layers.Dense(6), gru])
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(11, 5, mask_zero=True),
            layers.LSTM(6, return_sequences=True, dropout=0.2),
            layers.Dropout(0.3),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            within,
            layers.SimpleRNN(3, return_sequences=True, go_backwards=True),
            layers.Activation("tanh"),
            layers.Bidirectional(layers.GRU(4, reset_after=False), merge_mode="sum"),
            layers.Dense(2),
        ]
    )


def functional_model_of_ids() -> Any:
    """The mask goes past the layers, as an operation of the graph."""
    x = given = keras.Input((None,), dtype="int32")
    x = layers.Embedding(11, 5, mask_zero=True)(x)
    x = layers.Dropout(0.1)(layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x))
    x = layers.GRU(4, return_sequences=True)(layers.Dense(3)(x))
    return keras.Model(given, layers.LSTM(2)(x))


def functional_model() -> Any:
    x = given = keras.Input((None, 7))
    x = layers.Masking(-1.0)(x)
    x = keras.Sequential([keras.Input((None, 7)), layers.LSTM(4, return_sequences=True)])(x)
    x = layers.LSTM(3, return_sequences=True)(x)
    return keras.Model(given, layers.Dense(2, activation="gelu")(layers.GRU(3)(x)))


@pytest.mark.filterwarnings("ignore:Layer 'sequential.* does not support masking")
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (softmax_model, (4, 9, 7)),
        (sigmoid_model, (4, 20, 5)),
        (long_model, (6, 9)),
        (functional_model, (4, 9, 7)),
        (functional_model_of_ids, (6, 9)),
    ],
)
def test_a_saved_model(make, shape, tmp_path):
    model = filled(make())
    path = tmp_path / "model.keras"
    model.save(path)
    draw = np.random.default_rng(1)
    if len(shape) == 2:  # of ids
        x = draw.integers(0, 11, shape) * (draw.random(shape) < 0.7)
    else:
        x = draw.normal(size=shape).astype(np.float32)
        x[0, 2:5] = -1.0
    want = flat(model(x))
    for given in (path, str(path), model):
        with torch.no_grad():
            assert_close(flat(gw.from_keras(given)(torch.from_numpy(x))), want, tolerance=1e-5)


def test_after_training(tmp_path):
    model = softmax_model()
    model.compile("adam", "sparse_categorical_crossentropy")
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(64, 6, 7)).astype(np.float32), draw.integers(0, 10, 64)
    model.fit(x, y, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    got = gw.from_keras(path)(torch.from_numpy(x))
    assert_close(flat(got), flat(model(x)), tolerance=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "mixed_bfloat16"])
def test_dtypes_of_a_file(dtype, tmp_path):
    model = keras.Sequential(
        [keras.Input((None, 3)), layers.LSTM(4, dtype=dtype, recurrent_initializer="zeros")]
    )
    filled(model).save(tmp_path / "model.keras")
    read, told = gw.from_keras(tmp_path / "model.keras"), gw.from_keras(model)
    for got, want in zip(read.parameters(), told.parameters(), strict=True):
        assert torch.equal(got, want)


def test_a_layer_that_two_models_share(tmp_path):
    """The file has its weights once; the model that lives has them everywhere."""
    dense = layers.Dense(3)
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            keras.Sequential([keras.Input((None, 3)), dense]),
            keras.Sequential([keras.Input((None, 3)), dense, layers.LSTM(2)]),
        ]
    )
    x = np.ones((2, 4, 3), np.float32)
    module = gw.from_keras(filled(model))
    assert_close(flat(module(torch.from_numpy(x))), flat(model(x)), tolerance=1e-5)
    model.save(tmp_path / "model.keras")
    with pytest.raises(InvalidStateError, match=r"Dense layer .*several models share"):
        gw.from_keras(tmp_path / "model.keras")


def test_a_file_is_read_without_keras(tmp_path):
    filled(softmax_model()).save(tmp_path / "model.keras")
    path = str(tmp_path / "model.keras")
    done = run_python(
        f"import gatewise, sys; gatewise.from_keras({path!r}); print('keras' in sys.modules)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False"]


@pytest.mark.parametrize(
    ("module", "call", "message"),
    [
        ("h5py", lambda path: gw.from_keras(path), "pip install 'gatewise[keras]'"),
        ("keras", lambda _: gw.to_keras(gw.nn.LSTM(2, 2)), "set KERAS_BACKEND=torch"),
        ("keras", lambda _: import_module("gatewise.keras"), "set KERAS_BACKEND=torch"),
    ],
)
def test_what_is_missing_is_named(module, call, message, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    for name in ("gatewise.keras", "gatewise.keras.layers", "gatewise.keras._loop"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(InvalidStateError, match=re.escape(message)):
        call(tmp_path / "model.keras")
