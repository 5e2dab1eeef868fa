"""A Keras model that is fitted, the same on every backend. Needs NumPy, and Keras when called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

BATCHES = 8  # of one epoch
PASSES = ("predict", "fit")


class FitTask(NamedTuple):
    """One epoch of a recurrent layer and a Dense, with the weights that it starts from.

    Args:
        kind: LSTM or GRU.
        B: Rows of a batch.
        x: Inputs, (BATCHES·B)×T×I.
        y: Targets, (BATCHES·B)×1.
        weights: In the order of ``model.get_weights()``.
        what: ``fit`` or ``predict``.
    """

    kind: str
    B: int
    x: np.ndarray
    y: np.ndarray
    weights: list[np.ndarray]
    what: str


def new_task(kind: str, T: int, B: int, H: int, what: str) -> FitTask:
    """Draw inputs, targets and weights."""
    draw = np.random.default_rng(0)
    gates = {"LSTM": 4, "GRU": 3}[kind] * H
    bias = (2, gates) if kind == "GRU" else (gates,)
    shapes = [(H, gates), (H, gates), bias, (H, 1), (1,)]
    weights = [(draw.uniform(-1, 1, shape) / H**0.5).astype(np.float32) for shape in shapes]
    x = draw.normal(size=(BATCHES * B, T, H)).astype(np.float32)
    return FitTask(kind, B, x, x[:, -1:, 0], weights, what)


def fitted(layer: type, task: FitTask) -> tuple[Callable[[], Any], np.ndarray]:
    """Return what runs an epoch with a class of layers, and its outputs after the first.

    A wrong gradient would show in them.
    """
    import keras

    _, T, I = task.x.shape  # noqa: E741 - the field's letter
    H = task.weights[1].shape[0]
    model = keras.Sequential([keras.Input((T, I)), layer(H), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.set_weights(task.weights)

    def fit() -> Any:
        return model.fit(task.x, task.y, batch_size=task.B, shuffle=False, verbose=0)

    def predict() -> np.ndarray:
        return model.predict(task.x, batch_size=task.B, verbose=0)

    fit()
    return {"fit": fit, "predict": predict}[task.what], predict()
