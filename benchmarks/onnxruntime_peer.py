"""onnxruntime's layers, as a peer (see peer.py). It runs forward only."""

from __future__ import annotations

from functools import partial

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from peer import Layer, LayerAnswer, LayerTask, Prepare, serve

# ONNX stacks i, o, f, c where torch has i, f, g, o, and z, r, h for r, z, n; the reset gate of
# torch's GRU comes after the product.
GATES = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2], "RNN": [0]}
ATTRIBUTES = {"LSTM": {}, "GRU": {"linear_before_reset": 1}, "RNN": {}}


def start(threads: int) -> Prepare:
    """Return what makes a session of a task's layers."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads

    def prepare(task: LayerTask):
        session = onnxruntime.InferenceSession(
            _model(task.kind, task.layers), options, providers=["CPUExecutionProvider"]
        )
        call = partial(session.run, None, {"x": task.x})
        return call, LayerAnswer({"y": call()[0]})

    return prepare


def _model(kind: str, layers: list[Layer]) -> bytes:
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


if __name__ == "__main__":
    serve(start)
