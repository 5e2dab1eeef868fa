"""onnxruntime's layers in a process of its own, commanded over a pipe.

Its threads go on spinning after a call, as torch's do, and would slow each other down in one
process; so it gets its own, and at least 50 ms of silence before each turn, which begins with a
call that is not timed.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np
from timing import seconds_awake

IDLE = 0.05
# ONNX stacks i, o, f, c where torch has i, f, g, o, and z, r, h for r, z, n; the reset gate of
# torch's GRU comes after the product.
GATES = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2], "RNN": [0]}
ATTRIBUTES = {"LSTM": {}, "GRU": {"linear_before_reset": 1}, "RNN": {}}


class Layer(NamedTuple):
    """Weights of one layer in torch's layout."""

    weight_ih: np.ndarray
    weight_hh: np.ndarray
    bias_ih: np.ndarray
    bias_hh: np.ndarray


class Peer:
    """The other end of the pipe."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def load(self, kind: str, layers: list[Layer], x: np.ndarray) -> np.ndarray:
        """Make a model of these layers, run it once and return its output, T×B×H."""
        return self._ask((kind, layers, x))

    def seconds(self) -> float:
        """Return how long one run takes, after a silence."""
        time.sleep(IDLE)
        return self._ask(None)

    def _ask(self, command):
        self.connection.send(command)
        return self.connection.recv()


@contextmanager
def start_peer(threads: int) -> Iterator[Peer]:
    """Run onnxruntime on ``threads`` threads in a fresh process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, threads), daemon=True)
    process.start()
    try:
        yield Peer(ours)
    finally:
        ours.close()
        process.join(timeout=10)


def _serve(connection: Connection, threads: int) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session, feed = None, {}
    while True:
        try:
            command = connection.recv()
        except EOFError:
            return
        if command is not None:
            kind, layers, x = command
            feed = {"x": x}
            session = onnxruntime.InferenceSession(
                _model(kind, layers), options, providers=["CPUExecutionProvider"]
            )
            connection.send(session.run(None, feed)[0])
        else:
            connection.send(seconds_awake(partial(session.run, None, feed)))


def _model(kind: str, layers: list[Layer]) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], [numpy_helper.from_array(np.array([1]), "axis")]
    name = "x"
    for n, layer in enumerate(layers):
        arrays = {
            "W": _reordered(kind, layer.weight_ih),
            "R": _reordered(kind, layer.weight_hh),
            "B": np.concatenate([_reordered(kind, layer.bias_ih), _reordered(kind, layer.bias_hh)]),
        }
        for key, array in arrays.items():
            constants.append(numpy_helper.from_array(array[None], f"{key}{n}"))
        hidden = layer.weight_hh.shape[1]
        inputs = [name, f"W{n}", f"R{n}", f"B{n}"]
        nodes.append(
            helper.make_node(kind, inputs, [f"Y{n}"], hidden_size=hidden, **ATTRIBUTES[kind])
        )
        name = f"y{n}"
        nodes.append(helper.make_node("Squeeze", [f"Y{n}", "axis"], [name]))
    described = [
        helper.make_tensor_value_info(key, TensorProto.FLOAT, ["T", "B", None])
        for key in ("x", name)
    ]
    graph = helper.make_graph(nodes, "layers", described[:1], described[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return model.SerializeToString()


def _reordered(kind: str, weight: np.ndarray) -> np.ndarray:
    order = GATES[kind]
    return np.concatenate([np.split(weight, len(order))[gate] for gate in order])
