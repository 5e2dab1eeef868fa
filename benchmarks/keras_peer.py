"""Keras' layers on JAX, jitted, as a peer (see peer.py); in an environment that holds both.

Keras is given what makes it fastest: compiled functions without state, arrays that are on the
device already, and of the ways to run a layer the one that is fastest here. It has two choices,
the layout of the batch and whether the loop over time is unrolled. Unrolled is tried forward
only and for moderate T: the compilation of an unrolled gradient takes a minute at T = 100, and what
comes out was 2 to 13 times slower than the loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from clock import seconds
from peer import Layer, LayerAnswer, LayerTask, Prepare, serve

CLASSES = {"LSTM": "LSTM", "GRU": "GRU", "RNN": "SimpleRNN"}
OPTIONS = {"LSTM": {}, "GRU": {"reset_after": True}, "RNN": {}}
# Keras stacks z, r, h where torch has r, z, n.
GATES = {"LSTM": [0, 1, 2, 3], "GRU": [1, 0, 2], "RNN": [0]}
POLICIES = {"f32": "float32", "bf16": "mixed_bfloat16"}
UNROLLED = 256  # the longest T


def start(threads: int) -> Prepare:
    """Return what compiles a task's layers."""
    os.environ |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "NPROC": str(threads)}
    import jax

    def prepare(task: LayerTask):
        x = {True: jax.device_put(task.x), False: jax.device_put(_swapped(task.x))}
        calls = {}
        unrolls = (False, True) if task.grad_y is None and len(task.x) <= UNROLLED else (False,)
        for unroll, time_major in product(unrolls, (True, False)):
            name = f"{'unrolled' if unroll else 'loop'}, {'time' if time_major else 'batch'} first"
            calls[name] = _compiled(task, x[time_major], time_major=time_major, unroll=unroll)
        took = {name: _shortest(call) for name, call in calls.items()}
        choice = min(took, key=lambda name: took[name])
        return calls[choice], LayerAnswer(_arrays(task, calls[choice](), choice), choice)

    return prepare


def _compiled(
    task: LayerTask, x: Any, *, time_major: bool, unroll: bool
) -> Callable[[], tuple[Any, ...]]:
    """Return a call of the jitted layers that waits for its result."""
    import jax
    import keras

    layers = []
    for weights in task.layers:
        layer = getattr(keras.layers, CLASSES[task.kind])(
            weights.weight_hh.shape[1],
            return_sequences=True,
            unroll=unroll,
            dtype=POLICIES[task.precision],
            **OPTIONS[task.kind],
        )
        layer.build((task.x.shape[1], task.x.shape[0], weights.weight_ih.shape[1]))
        layer.set_weights(_keras_weights(task.kind, weights))
        layers.append(layer)
    weights = [[variable.value for variable in layer.trainable_variables] for layer in layers]
    others = [[variable.value for variable in layer.non_trainable_variables] for layer in layers]

    def forward(weights, x):
        y = jax.numpy.swapaxes(x, 0, 1) if time_major else x
        for layer, own, other in zip(layers, weights, others, strict=True):
            y, _ = layer.stateless_call(own, other, y)
        return jax.numpy.swapaxes(y, 0, 1) if time_major else y

    if task.grad_y is None:
        run = jax.jit(forward)
    else:
        grad_y = jax.device_put(task.grad_y if time_major else _swapped(task.grad_y))
        loss = lambda weights, x: (forward(weights, x) * grad_y).sum()  # noqa: E731
        run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return lambda: jax.block_until_ready(run(weights, x))


def _shortest(call: Callable[[], object], tries: int = 5) -> float:
    call()  # compiles
    return min(map(seconds, [call] * tries))


def _keras_weights(kind: str, layer: Layer) -> list[np.ndarray]:
    reordered = partial(_reordered, kind)
    biases = [reordered(layer.bias_ih), reordered(layer.bias_hh)]
    bias = np.stack(biases) if kind == "GRU" else biases[0] + biases[1]
    return [reordered(layer.weight_ih).T, reordered(layer.weight_hh).T, bias]


def _arrays(task: LayerTask, result: Any, choice: str) -> dict[str, np.ndarray]:
    """Return the output, or the gradients of the input and of the matrices, as torch has them."""
    back = np.asarray if choice.endswith("time first") else _swapped
    if task.grad_y is None:
        return {"y": back(result).astype(np.float32)}
    _, (weights, grad_x) = result
    arrays = {"x": back(grad_x)}
    for n, (weight_ih, weight_hh, _) in enumerate(weights):
        arrays[f"weight_ih_l{n}"] = _reordered(task.kind, np.asarray(weight_ih).T)
        arrays[f"weight_hh_l{n}"] = _reordered(task.kind, np.asarray(weight_hh).T)
    return arrays


def _reordered(kind: str, weight: np.ndarray) -> np.ndarray:
    order = GATES[kind]  # its own inverse
    return np.concatenate([np.split(weight, len(order))[gate] for gate in order])


def _swapped(array: Any) -> np.ndarray:
    return np.ascontiguousarray(np.swapaxes(array, 0, 1))


if __name__ == "__main__":
    serve(start)
