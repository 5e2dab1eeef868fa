"""from_onnx: ONNX' own cases, random operators beside onnxruntime, and what is refused."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import gatewise as gw
from gatewise.errors import InvalidFileError, InvalidValueError
from support.compare import assert_close

T, B, I, H = 5, 3, 4, 6  # noqa: E741 - the field's letter
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DIRECTIONS = ["forward", "reverse", "bidirectional"]


def build(kind: str, *, peephole=False, bias=True, state=None, seed=0, dtype=np.float32, **options):
    """Return a model of one operator and the number of its directions."""
    draw = np.random.default_rng(seed)
    D, G = 1 + (options.get("direction") == "bidirectional"), GATES[kind]
    held = {
        "W": draw.normal(size=(D, G * H, I)),
        "R": draw.normal(size=(D, G * H, H)) / 2,
        "B": draw.normal(size=(D, 2 * G * H)) if bias else None,
        "lengths": None,
        "h0": None,
        "c0": None,
        "P": draw.normal(size=(D, 3 * H)) if peephole else None,
    }
    if state is not None:
        held["h0"] = np.broadcast_to(draw.normal(size=(D, 1, H)), (D, B, H)) * state
        held["c0"] = np.broadcast_to(draw.normal(size=(D, 1, H)), (D, B, H)) * state
    held = {name: value for name, value in held.items() if kind == "LSTM" or name not in "c0P"}
    constants = [
        numpy_helper.from_array(value.astype(dtype), name)
        for name, value in held.items()
        if value is not None
    ]
    inputs = ["X", *(name if value is not None else "" for name, value in held.items())]
    inputs[4] = "lengths"
    outputs = ["Y", "Y_h", "Y_c"][: 3 if kind == "LSTM" else 2]
    node = helper.make_node(kind, inputs, outputs, name="the layer", hidden_size=H, **options)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [node],
        "graph",
        [
            helper.make_tensor_value_info("X", element, ["T", "B", I]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["B"]),
        ],
        [helper.make_tensor_value_info(name, element, None) for name in outputs],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def beside_onnxruntime(model, tolerance: float = 1e-5) -> None:
    layer = gw.from_onnx(model)["the layer"]
    x = np.random.default_rng(1).normal(size=(T, B, I)).astype(np.float32)
    lengths = np.array([T, 2, 4], dtype=np.int32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    Y, *final = session.run(None, {"X": x, "lengths": lengths})
    y, states = layer(torch.from_numpy(x), lengths=torch.from_numpy(lengths))
    states = (states,) if isinstance(states, torch.Tensor) else states
    got = dict(enumerate([y.unflatten(-1, (-1, H)).transpose(1, 2), *states]))
    want = dict(enumerate(torch.from_numpy(part) for part in (Y, *final)))
    assert_close(got, want, tolerance=tolerance)
    assert not layer.training


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("LSTM", {}),
        ("LSTM", {"bias": False}),
        ("LSTM", {"peephole": True}),
        ("LSTM", {"peephole": True, "input_forget": 1}),
        ("LSTM", {"input_forget": 1, "state": 1.0}),
        ("LSTM", {"activations": ["Sigmoid", "Relu", "Relu"]}),
        ("LSTM", {"activations": ["Sigmoid", "Softsign", "Softsign"]}),
        ("LSTM", {"state": 1.0}),
        ("LSTM", {"state": 0.0}),
        ("GRU", {}),
        ("GRU", {"linear_before_reset": 1}),
        ("GRU", {"linear_before_reset": 1, "bias": False, "state": 1.0}),
        ("RNN", {}),
        ("RNN", {"activations": ["Relu"], "state": 1.0}),
    ],
    ids=str,
)
def test_beside_onnxruntime(kind, options, direction):
    if "activations" in options and direction == "bidirectional":
        options = options | {"activations": options["activations"] * 2}
    beside_onnxruntime(build(kind, direction=direction, **options))


@pytest.mark.parametrize("seed", range(20))
def test_random_operators(seed):
    draw = np.random.default_rng(seed + 100)
    kind = draw.choice(list(GATES))
    options = {"direction": str(draw.choice(DIRECTIONS)), "bias": bool(draw.integers(2))}
    if draw.integers(2):
        options["state"] = 1.0
    if kind == "LSTM":
        options |= {"peephole": bool(draw.integers(2)), "input_forget": int(draw.integers(2))}
    if kind == "GRU":
        options["linear_before_reset"] = int(draw.integers(2))
    beside_onnxruntime(build(str(kind), seed=seed, **options))


def _cases() -> dict:
    node = importlib.import_module("onnx.backend.test.case.node")
    for module in ("lstm", "gru", "rnn"):
        importlib.import_module(f"onnx.backend.test.case.node.{module}")
    return {c.name: c for c in node._NodeTestCases if c.model.graph.node[0].op_type in GATES}


CASES = _cases()


@pytest.mark.parametrize("name", CASES)
def test_onnx_own_cases(name):
    """Their weights are inputs of the graph; here they are made constants of it."""
    model = onnx.ModelProto()
    model.CopyFrom(CASES[name].model)
    node = model.graph.node[0]
    given, wanted = CASES[name].data_sets[0]
    values = dict(zip([part for part in node.input if part], given, strict=True))
    for part in ("W", "R", "B", "P"):
        if part in values:
            model.graph.initializer.append(numpy_helper.from_array(values[part], part))
    (layer,) = gw.from_onnx(model).values()
    x = torch.from_numpy(values["X"])
    lengths = values.get("sequence_lens")
    batch_first = layer.batch_first
    hx = [torch.from_numpy(values[n]) for n in ("initial_h", "initial_c") if n in values]
    if batch_first:
        hx = [part.transpose(0, 1) for part in hx]
    y, states = layer(
        x,
        (tuple(hx) if node.op_type == "LSTM" else hx[0]) if hx else None,
        lengths=None if lengths is None else torch.from_numpy(lengths),
    )
    states = (states,) if isinstance(states, torch.Tensor) else states
    y = y.unflatten(-1, (-1, layer.hidden_size))
    if batch_first:
        states = [part.transpose(0, 1) for part in states]
    else:
        y = y.transpose(1, 2)
    got = dict(zip(("Y", "Y_h", "Y_c"), (y, *states), strict=False))
    want = {n: torch.from_numpy(v) for n, v in zip(filter(None, node.output), wanted, strict=True)}
    assert_close({n: got[n] for n in want}, want, tolerance=1e-6)


def test_weights_that_operators_reorder_and_several_layers():
    model = build("GRU", linear_before_reset=1)
    graph = model.graph
    weight = next(tensor for tensor in graph.initializer if tensor.name == "W")
    turned = numpy_helper.to_array(weight).transpose(0, 2, 1).copy()
    weight.CopyFrom(numpy_helper.from_array(turned, "turned"))
    graph.node.insert(0, helper.make_node("Transpose", ["turned"], ["W"], perm=[0, 2, 1]))
    beside_onnxruntime(model)
    first = graph.node[1]
    second = onnx.NodeProto()
    second.CopyFrom(first)
    second.name, second.input[0] = "", "elsewhere"
    del second.output[:]
    second.output.extend(["", "last"])
    graph.node.append(second)
    layers = gw.from_onnx(model)
    assert list(layers) == ["the layer", "last"]


def test_from_a_file(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(build("RNN"), path)
    assert list(gw.from_onnx(path)) == ["the layer"]
    assert list(gw.from_onnx(str(path))) == ["the layer"]


@pytest.mark.parametrize("content", [b"", b"no model at all", None])
def test_a_bad_file(tmp_path: Path, content):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    expected = InvalidValueError if content == b"" else InvalidFileError
    with pytest.raises(expected):
        gw.from_onnx(path)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (build("LSTM", clip=1.0), r"LSTM node 'the layer': .* got clip=1, .*cell_clip"),
        (build("LSTM", activations=["Sigmoid", "Tanh", "Relu"]), "one function for both"),
        (build("LSTM", activations=["HardSigmoid", "Tanh", "Tanh"]), "Ours has Sigmoid, Tanh"),
        (
            build("LSTM", activations=["Softplus", "Tanh", "Tanh"], input_forget=1),
            "couples gates with Sigmoid",
        ),
        (build("GRU", activations=["Sigmoid", "Relu"]), "A GRU of ours has Sigmoid and Tanh"),
        (build("RNN", activations=["Sigmoid"]), "An RNN of ours has Tanh or Relu"),
        (
            build("RNN", activations=["Tanh", "Relu"], direction="bidirectional"),
            "Both directions of ours have the same",
        ),
        (build("RNN", activations=["Elu"], activation_alpha=[0.5]), "have no parameters"),
    ],
)
def test_refused(model, message):
    with pytest.raises(InvalidValueError, match=message):
        gw.from_onnx(model)


def test_refused_states_and_weights():
    model = build("LSTM", state=1.0)
    for tensor in model.graph.initializer:
        if tensor.name == "h0":
            apart = numpy_helper.to_array(tensor).copy()
            apart[:, 1] += 1
            tensor.CopyFrom(numpy_helper.from_array(apart, "h0"))
    with pytest.raises(InvalidValueError, match=r"constant initial_h .* give it as hx"):
        gw.from_onnx(model)
    model = build("LSTM")
    del model.graph.initializer[0]
    with pytest.raises(InvalidValueError, match="W that is no constant"):
        gw.from_onnx(model)


def test_refused_without_a_layer():
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", [], [])
    with pytest.raises(InvalidValueError, match="got one of Relu"):
        gw.from_onnx(helper.make_model(graph))


def test_bfloat16_and_what_is_drawn():
    model = build("LSTM")
    for tensor in model.graph.initializer:
        wide = torch.from_numpy(numpy_helper.to_array(tensor).copy()).bfloat16()
        raw = wide.view(torch.int16).numpy().tobytes()
        name, dims = tensor.name, tensor.dims
        tensor.CopyFrom(helper.make_tensor(name, TensorProto.BFLOAT16, dims, raw, raw=True))
    layer = gw.from_onnx(model)["the layer"]
    assert layer.weight_hh_l0.dtype is torch.bfloat16
    assert layer.weight_hh_l0.abs().sum() > 0
    drawn = build("LSTM")
    del drawn.graph.initializer[0]
    shape = [1, 4 * H, I]
    drawn.graph.node.insert(0, helper.make_node("RandomNormal", [], ["W"], shape=shape))
    with pytest.raises(InvalidValueError, match="W that is no constant"):
        gw.from_onnx(drawn)


def test_constant_lengths_are_refused():
    model = build("GRU")
    lengths = np.array([5, 2, 4], dtype=np.int32)
    model.graph.initializer.append(numpy_helper.from_array(lengths, "lengths"))
    with pytest.raises(InvalidValueError, match=r"a constant sequence_lens.* give lengths="):
        gw.from_onnx(model)


def test_a_deep_graph_below_the_layer():
    """The initial state comes from the input by thousands of paths through as many nodes."""
    model = build("RNN", state=1.0)
    graph = model.graph
    (given,) = [tensor for tensor in graph.initializer if tensor.name == "h0"]
    graph.initializer.remove(given)
    nodes = [helper.make_node("Identity", ["X"], ["s0"])]
    nodes += [helper.make_node("Add", [f"s{n}", f"s{n}"], [f"s{n + 1}"]) for n in range(2000)]
    nodes.append(helper.make_node("Identity", ["s2000"], ["h0"]))
    for node in reversed(nodes):
        graph.node.insert(0, node)
    assert not gw.from_onnx(model)["the layer"].learn_initial_state
