"""ONNX's own test cases for the operators LSTM, GRU and RNN, as its wheel ships them."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor

from gatewise.ops.reference import PLAIN, CellOptions
from support.backends import BACKENDS, KERNELS, layer_of
from support.compare import assert_close

# ONNX stacks gates in another order than torch: where each of ours stands in theirs.
OPERATORS = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}


def _cases() -> dict:
    node = importlib.import_module("onnx.backend.test.case.node")
    for module in ("lstm", "gru", "rnn"):
        importlib.import_module(f"onnx.backend.test.case.node.{module}")
    return {
        case.name: case
        for case in node._NodeTestCases
        if case.model.graph.node[0].op_type in OPERATORS
    }


CASES = _cases()


def test_the_wheel_ships_the_cases_that_we_know():
    known = {
        *(f"test_lstm_{name}" for name in ("defaults", "with_initial_bias", "with_peepholes")),
        *(f"test_gru_{name}" for name in ("defaults", "with_initial_bias", "seq_length")),
        *(f"test_simple_rnn_{name}" for name in ("defaults", "with_initial_bias")),
        *("test_rnn_seq_length", "test_lstm_batchwise", "test_gru_batchwise"),
        "test_simple_rnn_batchwise",
    }
    assert known <= CASES.keys()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_case(name, backend):
    node = CASES[name].model.graph.node[0]
    attributes = {a.name: a.s.decode() if a.s else a.i for a in node.attribute}
    given, wanted = CASES[name].data_sets[0]
    inputs = dict(
        zip([n for n in node.input if n], (torch.from_numpy(v) for v in given), strict=True)
    )
    expected = dict(
        zip([n for n in node.output if n], (torch.from_numpy(v) for v in wanted), strict=True)
    )
    computed = _run_onnx(node.op_type, backend, inputs, attributes)
    assert_close({n: computed[n] for n in expected}, expected, tolerance=1e-6)


def _run_onnx(
    operator: str, backend: str, inputs: dict[str, Tensor], attributes: dict
) -> dict[str, Tensor]:
    """Run an operator of ONNX: Y is T×D×B×H; everything batch first with layout 1."""
    order, H = OPERATORS[operator], attributes["hidden_size"]
    cell = {"LSTM": "lstm", "RNN": "rnn_tanh", "GRU": "gru_before"}[operator]
    if attributes.get("linear_before_reset"):
        cell = "gru"
    x = inputs["X"]
    batch_first = attributes.get("layout", 0) == 1
    if batch_first:
        x = x.transpose(0, 1)
    B, D = x.shape[1], inputs["W"].shape[0]
    zeros = x.new_zeros(D, B, H)
    states = [inputs.get("initial_h", zeros)]
    if operator == "LSTM":
        states.append(inputs.get("initial_c", zeros))
    bias = inputs.get("B", x.new_zeros(D, 2 * len(order) * H)).chunk(2, dim=1)
    parts = [_in_our_order(part, order) for part in (inputs["W"], inputs["R"], *bias)]
    options = PLAIN
    if "P" in inputs:  # i, o, f
        parts.append(_in_our_order(inputs["P"], (0, 2, 1)))
        options = CellOptions(peephole=True)
    weights = [part[d] for d in range(D) for part in parts]
    reverse = attributes.get("direction", "forward") == "reverse"
    if reverse:  # the second direction of a layer whose first is of no interest
        weights, states = weights * 2, [state.repeat(2, 1, 1) for state in states]
    lengths = inputs.get("sequence_lens")
    y, *final, _ = layer_of(backend if cell in KERNELS else "reference", cell)(
        x,
        *states,
        weights,
        lengths=None if lengths is None else lengths.long(),
        options=options,
    )
    y = y.unflatten(-1, (-1, H)).transpose(1, 2)
    if reverse:
        y, final = y[:, 1:], [state[1:] for state in final]
    if batch_first:
        y, final = y.permute(2, 0, 1, 3), [state.transpose(0, 1) for state in final]
    return {"Y": y} | dict(zip(("Y_h", "Y_c"), final, strict=False))


def _in_our_order(stacked: Tensor, order: tuple[int, ...]) -> Tensor:
    parts = stacked.chunk(len(order), dim=1)
    return torch.cat([parts[position] for position in order], dim=1)
