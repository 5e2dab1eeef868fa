"""gatewise.keras: Keras' own layers beside ours, in results, gradients and training."""

from __future__ import annotations

import doctest
import re
from contextlib import nullcontext
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
import torch

import gatewise as gw
import gatewise.keras as gwk
from gatewise.errors import InvalidStateError, InvalidValueError
from gatewise.keras import _loop, layers
from support.compare import assert_close
from support.keras_cases import WITH_KERNELS, Case, flat, random_case, tensor

TOLERANCE = 1e-5
KINDS = ("LSTM", "GRU")


def drawn(seed: int, namespace: Any) -> Case:
    """A layer of Keras, or the same of ours, that native kernels can run."""
    return random_case(seed, namespace, KINDS, WITH_KERNELS)


def result(case: Case, *, given_state: bool) -> dict[str, torch.Tensor]:
    """Outputs and the gradients of everything, on the native kernel where there is one of ours."""
    x = torch.from_numpy(case.x).requires_grad_()
    states = []
    if given_state:
        units = case.layer.get_weights()[1].shape[0]
        draw = torch.Generator().manual_seed(0)
        both = isinstance(case.layer, keras.layers.Bidirectional)
        kind = case.layer.forward_layer if both else case.layer
        count = (1 + isinstance(kind, keras.layers.LSTM)) * (1 + both)
        states = [torch.randn(len(x), units, generator=draw) for _ in range(count)]
    outputs = case.layer(x, initial_state=states or None, mask=tensor(case.mask))
    outputs = outputs if isinstance(outputs, list | tuple) else (outputs,)
    weights = [variable.value for variable in case.layer.trainable_weights]
    mixed = sum((y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum() for y in outputs)
    grads = torch.autograd.grad(mixed, [x, *weights], allow_unused=True)
    named = {f"grad {n}": grad for n, grad in enumerate(grads) if grad is not None}
    return flat(outputs) | named


@pytest.mark.parametrize("block", range(6))
@pytest.mark.parametrize("given_state", [False, True])
def test_beside_keras(block, given_state):
    for seed in range(10 * block, 10 * block + 10):
        want = result(drawn(seed, keras.layers), given_state=given_state)
        with gw.use_backend("native"):
            got = result(drawn(seed, gwk), given_state=given_state)
        assert_close(got, want, tolerance=TOLERANCE)


def wrong_order(monkeypatch):
    monkeypatch.setattr(_loop, "to_torch_layout", lambda kind, arrays: _swapped(kind, arrays))


def _swapped(kind: str, arrays: Any) -> Any:
    from gatewise.convert._keras_weights import to_torch_layout

    weight_ih, *others = to_torch_layout(kind, arrays)
    return [weight_ih.roll(len(weight_ih) // (4 if kind == "LSTM" else 3), 0), *others]


def without_masks(monkeypatch):
    run = _loop.run
    monkeypatch.setattr(
        layers._loop,
        "run",
        lambda layer, x, states, mask, training: run(layer, x, states, None, training=training),
    )


def without_states(monkeypatch):
    run = _loop.run
    monkeypatch.setattr(
        layers._loop,
        "run",
        lambda layer, x, states, mask, training: run(
            layer, x, [torch.zeros_like(s) for s in states], mask, training=training
        ),
    )


@pytest.mark.parametrize("sabotage", [wrong_order, without_masks, without_states])
def test_a_wrong_loop_is_noticed(sabotage, monkeypatch):
    wanted = [result(drawn(seed, keras.layers), given_state=True) for seed in range(12)]
    sabotage(monkeypatch)
    got = [result(drawn(seed, gwk), given_state=True) for seed in range(12)]
    every = [
        {f"{n} {k}": v for n, one in enumerate(side) for k, v in one.items()}
        for side in (got, wanted)
    ]
    with pytest.raises(AssertionError, match="relative error"):
        assert_close(*every, tolerance=TOLERANCE)


def model_of(namespace: Any, **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(9, 4, mask_zero=True),
            keras.layers.Bidirectional(namespace.LSTM(5, return_sequences=True)),
            namespace.GRU(6, **options),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def data(rows: int = 48) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    ids = draw.integers(1, 9, (rows, 7)) * (draw.random((rows, 7)) < 0.7)
    return ids, ids.sum(1, keepdims=True) / 10.0


def test_fit_is_that_of_keras():
    x, y = data()
    losses = [
        model_of(namespace)
        .fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
        .history["loss"]
        for namespace in (keras.layers, gwk)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[1][-1] < losses[1][0]


@pytest.mark.parametrize("kind", KINDS)
def test_stateful_layers_go_on(kind):
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    theirs, ours = (
        getattr(namespace, kind)(4, stateful=True, return_sequences=True)
        for namespace in (keras.layers, gwk)
    )
    for layer in (theirs, ours):
        layer.build((2, 3, 3))
    for variable, other in zip(ours.weights, theirs.weights, strict=True):
        variable.assign(other)
    for part in (x[:, :3], x[:, 3:]):
        assert_close(flat(ours(part)), flat(theirs(part)), tolerance=TOLERANCE)
    for got, want in zip(ours.states, theirs.states, strict=True):
        assert_close(flat(got.value), flat(want.value), tolerance=TOLERANCE)


def test_stateful_layers_learn():
    """Keras' own cannot: it writes to a state that backward still needs."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((3, 3), batch_size=2), gwk.LSTM(4, stateful=True), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    x, y = np.ones((2, 3, 3), np.float32), np.ones((2, 1), np.float32)
    losses = [float(model.train_on_batch(x, y)) for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]


def test_saved_and_loaded(tmp_path):
    model = model_of(gwk, reset_after=False)
    x, y = data(16)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.layers[2], gwk.GRU)
    assert_close(flat(loaded(x)), flat(model(x)), tolerance=0.0)
    for given in (model, tmp_path / "model.keras"):
        got = gw.from_keras(given)(torch.from_numpy(x))
        assert_close(flat(got), flat(model(x)), tolerance=TOLERANCE)


@pytest.mark.parametrize("policy", ["float64", "mixed_bfloat16"])
def test_dtypes(policy):
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    theirs = keras.layers.GRU(6, return_state=True, dtype=policy)
    ours = gwk.GRU(6, return_state=True, dtype=policy)
    ours.build(x.shape)
    theirs.build(x.shape)
    ours.set_weights(theirs.get_weights())
    want, got = flat(theirs(x)), flat(ours(x))
    assert [part.dtype for part in got.values()] == [part.dtype for part in want.values()]
    assert_close(got, want, tolerance=0.02 if "16" in policy else 1e-12)


def test_explain():
    layer = gwk.GRU(4)
    with pytest.raises(
        InvalidStateError, match=r"gatewise.keras.GRU: expected a layer that is built"
    ):
        layer.explain()
    layer.build((None, None, 3))
    assert layer.explain().startswith("native")
    layer = gwk.LSTM(4, activation="softsign")
    layer.build((None, None, 3))
    assert layer.explain().startswith("reference (torch): ")
    assert "softsign" in layer.explain()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("float64", "native .*torch.float64"),
        ("mixed_float16", "reference .*torch.float16"),
        ("mixed_bfloat16", "native .*torch.bfloat16.*; products in bfloat16"),
    ],
)
def test_explain_is_about_what_is_computed_in(kind, policy, says):
    layer = getattr(gwk, kind)(4, dtype=policy)
    layer.build((None, None, 3))
    assert re.match(says, layer.explain())
    runs = pytest.raises(InvalidStateError, match="float16") if "_f" in policy else nullcontext()
    with runs, gw.use_backend("native"):
        layer(np.ones((2, 5, 3), np.float32))


@pytest.mark.parametrize("shape", [(2, 1), (2, 7), (5,), (2, 5, 1)])
def test_masks_of_another_shape(shape):
    with pytest.raises(
        InvalidStateError, match=r"keras.LSTM\(mask\): expected a flag for each step"
    ):
        gwk.LSTM(2)(np.ones((2, 5, 3), np.float32), mask=torch.ones(shape).bool())


def tanh(x):
    """Not that of Keras, though Keras writes its name alone."""
    return 2 * x


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            gwk.LSTM(2, activation="exponential"),
            r"gatewise.keras.LSTM\(activation\): expected one of",
        ),
        (gwk.LSTM(2, "tanh", None), r"LSTM\(recurrent_activation\): .*got 'linear'"),
        (gwk.GRU(2, "relu"), r"gatewise.keras.GRU\(activation\): expected tanh, got relu"),
        (
            gwk.LSTM(2, tanh),
            r"LSTM\(activation\): expected a function of keras.activations, got tanh",
        ),
        (
            gwk.GRU(2, tanh),
            r"GRU\(activation\): expected a function of keras.activations, got tanh",
        ),
        (gwk.LSTM(2, partial(tanh)), r"LSTM\(activation\): .* got partial of functools"),
    ],
    ids=["activation", "gates", "GRU", "own", "own of a GRU", "partial"],
)
def test_what_our_kernels_lack_is_refused(layer, message):
    with pytest.raises(InvalidValueError, match=message):
        layer.build((None, None, 3))


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InvalidStateError, match=r"on its torch backend, got 'jax'.*KERAS_BACKEND"):
        gwk.LSTM(2).build((None, None, 3))


def test_examples():
    done = doctest.testmod(layers, extraglobs={"torch": torch})
    assert done.attempted > 0
    assert done.failed == 0
