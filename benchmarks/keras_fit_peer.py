"""Keras on JAX, fitting a model, as a peer (see peer.py); in an environment that holds both."""

from __future__ import annotations

import os

from keras_fit import FitTask, fitted
from peer import Prepare, serve


def start(threads: int) -> Prepare:
    """Return what compiles a model and fits it once."""
    os.environ |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "NPROC": str(threads)}
    import keras

    def prepare(task: FitTask):
        return fitted(getattr(keras.layers, task.kind), task)

    return prepare


if __name__ == "__main__":
    serve(start)
