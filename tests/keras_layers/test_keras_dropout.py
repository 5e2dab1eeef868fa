"""gatewise.keras: dropout, drawn as Keras draws it, at the rates that were asked for."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch

import gatewise.keras as gwk
from support.compare import assert_close
from support.keras_cases import flat

TOLERANCE = 1e-5
KINDS = ("LSTM", "GRU")


def test_dropout_is_drawn_as_keras_draws_it():
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    outputs = []
    for namespace in (keras.layers, gwk):
        keras.utils.set_random_seed(0)
        layer = namespace.LSTM(6, dropout=0.5, seed=7)
        outputs.append(flat(layer(x, training=True)))
        assert not torch.allclose(layer(x), outputs[-1]["0"])
    assert_close(*outputs, tolerance=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_dropout(kind):
    x = np.random.default_rng(0).normal(size=(64, 5, 4)).astype(np.float32)
    make = lambda: getattr(gwk, kind)(6, recurrent_dropout=0.5, dropout=0.25, seed=7)  # noqa: E731
    keras.utils.set_random_seed(0)
    layer = make()
    first = layer(x, training=True)
    assert not torch.allclose(first, layer(x, training=True))
    keras.utils.set_random_seed(0)
    assert torch.equal(make()(x, training=True), first)
    plain = getattr(keras.layers, kind)(6)
    plain.build((None, None, 4))
    plain.set_weights(layer.get_weights())
    assert_close(flat(layer(x)), flat(plain(x)), tolerance=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_dropout_alone(kind):
    """It draws again at each call, and as its seed says."""
    x = np.random.default_rng(0).normal(size=(8, 5, 4)).astype(np.float32)
    make = lambda seed: getattr(gwk, kind)(6, recurrent_dropout=0.5, seed=seed)  # noqa: E731
    layer = make(7)
    layer.build(x.shape)
    first, second = layer(x, training=True), layer(x, training=True)
    assert not torch.allclose(first, second)
    assert torch.equal(layer(x), layer(x, training=False))
    again, other = make(7), make(8)
    for like in (again, other):
        like.build(x.shape)
        like.set_weights(layer.get_weights())
    assert torch.equal(again(x, training=True), first)
    assert torch.equal(again(x, training=True), second)
    assert not torch.allclose(other(x, training=True), first)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.2, 0.6])
def test_the_rate_of_recurrent_dropout(kind, rate):
    """After two steps of one unit there are two outputs: with the state before, or without it."""
    layer = getattr(gwk, kind)(1, recurrent_dropout=rate, seed=7)
    layer.build((None, 2, 3))
    weights = [np.full(w.shape, 0.7, np.float32) for w in layer.get_weights()]
    x = np.ones((20_000, 2, 3), np.float32)
    expected = {}
    for name, scale in {"dropped": 0.0, "kept": 1 / (1 - rate)}.items():
        plain = getattr(keras.layers, kind)(1)
        plain.build((None, 2, 3))
        plain.set_weights([weights[0], weights[1] * scale, weights[2]])
        expected[name] = plain(x[:1]).item()
    layer.set_weights(weights)
    outputs = layer(x, training=True)
    dropped, kept = (
        torch.isclose(outputs, torch.tensor(value), rtol=1e-5) for value in expected.values()
    )
    assert (dropped ^ kept).all()
    # Of so many draws the share has a standard deviation of 0.0035 at most.
    assert dropped.float().mean().item() == pytest.approx(rate, abs=0.014)
