"""The operators LSTM, GRU and RNN of ONNX as our layers.

What they compute: https://onnx.ai/onnx/operators/. ONNX stacks gates in another order than torch,
both biases in one row, and peepholes as i, o, f.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from gatewise import nn as gwn
from gatewise.errors import InvalidFileError, InvalidStateError, InvalidValueError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# Where each of our gates stands in ONNX' order: i, o, f, c; z, r, h.
_ORDERS: Final = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_PEEPHOLES: Final = (0, 2, 1)  # i, f, o of i, o, f
_USUAL: Final = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
# ONNX' functions without parameters, or with those that ours have, by our names.
_FUNCTIONS: Final = {
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Relu": "relu",
    "Softsign": "softsign",
    "Softplus": "softplus",
}
# What may stand between a constant and a weight: operators that bring numbers into another order.
_FOLDED: Final = {
    *("Cast", "Concat", "Constant", "ConstantOfShape", "DequantizeLinear", "Expand", "Flatten"),
    *("Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
}
_STATES: Final = ("initial_h", "initial_c")


def from_onnx(model: str | Path | ModelProto) -> dict[str, nn.Module]:
    """Return every LSTM, GRU and RNN of an ONNX model as a layer of ours.

    Weights are taken from initializers and from constants, folded where operators of the model
    only reorder or widen them; nothing else in the file is executed. A layer is called as ours
    are: what an operator's inputs ``sequence_lens`` and ``initial_h`` bring at run time goes into
    ``lengths=`` and ``hx``.

    Args:
        model: A model, or the path of one.

    Returns:
        The layers by the names of their nodes (of their first output, where a node has none), in
        the order of the graph, in eval mode. Their output is T×B×(D·H), or B×T×(D·H) where the
        operator's ``layout`` is 1, with the directions side by side instead of on an axis of
        their own. Initial states that are constants are learned states of the layer.

    Raises:
        InvalidFileError: The file is missing or no ONNX model.
        InvalidValueError: There is no such operator, or one does what no layer of ours can; it
            names the node, the attribute and what would work.

    Example:
        >>> layers = from_onnx("tagger.onnx")  # doctest: +SKIP
        >>> layers["lstm"](torch.randn(5, 2, 3), lengths=[5, 2])  # doctest: +SKIP
    """
    _check_onnx()
    given: Any = _read(model) if isinstance(model, str | Path) else model
    constants = _Constants(given)
    layers = {
        node.name or next(filter(None, node.output)): _Node(node, constants).layer()
        for node in given.graph.node
        if node.op_type in _ORDERS and node.domain in ("", "ai.onnx")
    }
    if not layers:
        kinds = sorted({node.op_type for node in given.graph.node})
        raise InvalidValueError(
            "from_onnx(model)",
            "a graph with an LSTM, a GRU or an RNN",
            f"one of {', '.join(kinds) or 'no operators'}",
            "Operators inside the bodies of Loop, Scan and If are not looked at.",
        )
    return layers


def _check_onnx() -> None:
    try:
        importlib.import_module("onnx")
    except ImportError as error:
        raise InvalidStateError(
            "from_onnx", "the package onnx", "none", "Run pip install 'gatewise[onnx]'."
        ) from error


def _read(path: str | Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(Path(path))
    except FileNotFoundError as error:
        raise InvalidFileError(str(path), "an ONNX model", "no file") from error
    except (DecodeError, OSError, onnx.checker.ValidationError) as error:
        raise InvalidFileError(
            str(path),
            "an ONNX model",
            f"something else, {error}",
            "The file is damaged, or was written by something else.",
        ) from error


class _Constants:
    """What a graph holds under its names, and what it makes of that alone."""

    def __init__(self, model: ModelProto) -> None:
        from onnx import numpy_helper

        self._model = model
        self._values: dict[str, np.ndarray] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        # The nodes that read constants alone; a graph has its nodes in the order in which they run.
        self._makers: dict[str, NodeProto] = {}
        for node in model.graph.node:
            made = [name in self._values or name in self._makers for name in node.input if name]
            if node.op_type in _FOLDED and all(made):
                self._makers |= {name: node for name in node.output if name}

    def find(self, name: str) -> np.ndarray | None:
        """Return the value of a name, or None if it depends on the graph's inputs."""
        if name in self._makers and name not in self._values:
            node = self._makers[name]
            given = {part: self.find(part) for part in node.input if part}
            known = {part: value for part, value in given.items() if value is not None}
            self._values |= self._computed(node, known)
        return self._values.get(name)

    def _computed(self, node: NodeProto, given: Mapping[str, np.ndarray]) -> dict[str, Any]:
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in given.items()
        ]
        outputs = [name for name in node.output if name]
        graph = helper.make_graph(
            [node], "constants", inputs, [helper.make_empty_tensor_value_info(n) for n in outputs]
        )
        one = helper.make_model(graph, opset_imports=self._model.opset_import)
        return dict(zip(outputs, ReferenceEvaluator(one).run(None, dict(given)), strict=True))


class _Node:
    """One operator and what it is given."""

    def __init__(self, node: NodeProto, constants: _Constants) -> None:
        from onnx import helper

        self.kind = node.op_type
        self.where = f"{node.op_type} node {node.name or next(filter(None, node.output))!r}"
        self.attributes: dict[str, Any] = {
            attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute
        }
        names = ("X", "W", "R", "B", "sequence_lens", *_STATES, "P")
        self._given = {name: given for name, given in zip(names, node.input, strict=False) if given}
        self._constants = constants

    def layer(self) -> nn.Module:
        """Build the layer and fill it."""
        W, R = self._weight("W"), self._weight("R")
        if W.dim() != 3 or R.dim() != 3:
            raise InvalidStateError(self.where, "W and R of 3 axes", f"{W.dim()} and {R.dim()}")
        D, _, H = R.shape
        direction = self._text("direction", "forward")
        options: dict[str, Any] = {
            "bias": "B" in self._given,
            "batch_first": self.attributes.get("layout", 0) == 1,
            "bidirectional": direction == "bidirectional",
            "reverse": direction == "reverse",
            "dtype": W.dtype,
        }
        initial = self._initial_states(D, H)
        options["learn_initial_state"] = bool(initial)
        options |= self._own_options(D)
        if "sequence_lens" in self._given and self._constant("sequence_lens") is not None:
            self._refuse("a constant sequence_lens", "Leave it out, and give lengths= in the call.")
        layer = getattr(gwn, self.kind)(W.shape[2], H, **options)
        weights = self._in_our_order(W, R) | initial
        with torch.no_grad():
            for name, value in weights.items():
                getattr(layer, name).copy_(value)
        return layer.eval()

    def _own_options(self, D: int) -> dict[str, Any]:
        if "clip" in self.attributes:
            self._refuse(
                f"clip={self.attributes['clip']:g}, a limit of what the functions take",
                "Train without it, or let cell_clip hold the cell state.",
            )
        functions = self._functions(D)
        if self.kind == "GRU":
            if functions != _USUAL["GRU"]:
                self._refuse(f"activations {functions}", "A GRU of ours has Sigmoid and Tanh.")
            return {"reset_after": bool(self.attributes.get("linear_before_reset", 0))}
        if self.kind == "RNN":
            if functions[0] not in ("Tanh", "Relu"):
                self._refuse(f"the activation {functions[0]}", "An RNN of ours has Tanh or Relu.")
            return {"nonlinearity": functions[0].lower()}
        gate, candidate, output = functions
        if self._is_coupled and gate != "Sigmoid":
            self._refuse(f"input_forget=1 with {gate}", "Ours couples gates with Sigmoid.")
        if candidate != output:
            self._refuse(
                f"{candidate} for the candidate and {output} for the output",
                "An LSTM of ours has one function for both.",
            )
        return {
            "gate_activation": _FUNCTIONS[gate],
            "activation": _FUNCTIONS[candidate],
            "coupled_gates": self._is_coupled,
            "peephole": "P" in self._given,
        }

    @property
    def _is_coupled(self) -> bool:
        return self.kind == "LSTM" and bool(self.attributes.get("input_forget", 0))

    def _functions(self, D: int) -> tuple[str, ...]:
        """Return the functions of every direction, which must be the same."""
        usual = _USUAL[self.kind]
        given = tuple(name.decode() for name in self.attributes.get("activations", ()))
        given = given or usual * D
        own = given[: len(usual)]
        for name in {"activation_alpha", "activation_beta"} & self.attributes.keys():
            self._refuse(f"{name}={self.attributes[name]}", "Functions of ours have no parameters.")
        if given != own * D:
            self._refuse(f"activations {given}", "Both directions of ours have the same.")
        for name in own:
            if name not in _FUNCTIONS:
                known = ", ".join(_FUNCTIONS)
                self._refuse(f"the activation {name}", f"Ours has {known}.")
        return own

    def _in_our_order(self, W: Tensor, R: Tensor) -> dict[str, Tensor]:
        parts: dict[str, Any] = {"weight_ih": W, "weight_hh": R}
        if "B" in self._given:
            parts |= dict(zip(("bias_ih", "bias_hh"), self._weight("B").chunk(2, 1), strict=True))
        orders: dict[str, Any] = dict.fromkeys(parts, _ORDERS[self.kind])
        if "P" in self._given:
            parts["weight_peephole"] = self._weight("P")
            orders["weight_peephole"] = _PEEPHOLES
        weights: dict[str, Tensor] = {}
        for name, value in parts.items():
            theirs = value.chunk(len(orders[name]), 1)
            gates = [theirs[gate] for gate in orders[name]]
            if self._is_coupled:  # f is 1 − i: a sigmoid of the opposite
                gates = [-gates[0], *gates[2:]]
            weights[name] = torch.cat(gates, 1)
        suffixes = ("l0", "l0_reverse")[: len(W)]
        return {
            f"{name}_{suffix}": value[d]
            for name, value in weights.items()
            for d, suffix in enumerate(suffixes)
        }

    def _initial_states(self, D: int, H: int) -> dict[str, Tensor]:
        """Return the initial states that are constants, as learned ones; none if all are zero."""
        found = {name: self._constant(name) for name in _STATES if name in self._given}
        held = {name: value for name, value in found.items() if value is not None}
        if not any(value.any() for value in held.values()):
            return {}
        learned = {}
        for name in _STATES[: 2 if self.kind == "LSTM" else 1]:
            value = held.get(name)
            rows = torch.zeros(D, 1, H) if value is None else value
            if self.attributes.get("layout", 0) == 1 and value is not None:
                rows = rows.transpose(0, 1)
            if (rows != rows[:, :1]).any():
                self._refuse(
                    f"a constant {name} with a state of its own for each sequence",
                    "Make it an input of the graph, and give it as hx.",
                )
            for d, suffix in enumerate(("l0", "l0_reverse")[:D]):
                learned[f"initial_{name[-1]}_{suffix}"] = rows[d, 0]
        return learned

    def _weight(self, name: str) -> Tensor:
        value = self._constant(name) if name in self._given else None
        if value is None:
            self._refuse(f"{name} that is no constant", "Only trained weights can be read.")
        return value

    def _constant(self, name: str) -> Tensor | None:
        value = self._constants.find(self._given[name])
        if value is None:
            return None
        if value.dtype.name == "bfloat16":  # not NumPy's own
            return torch.from_numpy(value.astype(np.float32)).bfloat16()
        return torch.from_numpy(np.array(value))

    def _text(self, name: str, usual: str) -> str:
        value = self.attributes.get(name, usual)
        return value.decode() if isinstance(value, bytes) else value

    def _refuse(self, got: str, remedy: str) -> NoReturn:
        raise InvalidValueError(self.where, "what a layer of gatewise.nn computes", got, remedy)
