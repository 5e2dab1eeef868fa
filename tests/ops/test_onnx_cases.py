"""ONNX's own test cases for the LSTM operator, those without peepholes, as its wheel ships them."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor

from support.backends import BACKENDS, layer_of
from support.compare import assert_close


def _cases() -> dict:
    node = importlib.import_module("onnx.backend.test.case.node")
    importlib.import_module("onnx.backend.test.case.node.lstm")
    cases = {case.name: case for case in node._NodeTestCases}
    return {
        name: case
        for name, case in cases.items()
        if case.model.graph.node[0].op_type == "LSTM" and "peephole" not in name
    }


CASES = _cases()


def test_the_wheel_ships_the_cases_that_we_know():
    known = {"test_lstm_defaults", "test_lstm_with_initial_bias", "test_lstm_batchwise"}
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
    computed = _run_onnx(layer_of(backend), inputs, attributes)
    assert_close({n: computed[n] for n in expected}, expected, tolerance=2e-7)


def _run_onnx(layer, inputs: dict[str, Tensor], attributes: dict) -> dict[str, Tensor]:
    """Run an ONNX LSTM: gates i, o, f, c; Y is T×D×B×H; everything batch first with layout 1."""
    x, w, r = inputs["X"], _gates(inputs["W"]), _gates(inputs["R"])
    H = attributes["hidden_size"]
    batch_first = attributes.get("layout", 0) == 1
    if batch_first:
        x = x.transpose(0, 1)
    B, D = x.shape[1], w.shape[0]
    zeros = x.new_zeros(D, B, H)
    h0, c0 = inputs.get("initial_h", zeros), inputs.get("initial_c", zeros)
    bias = inputs.get("B", x.new_zeros(D, 8 * H))
    b_ih, b_hh = _gates(bias[:, : 4 * H]), _gates(bias[:, 4 * H :])
    reverse = attributes.get("direction", "forward") == "reverse"
    lengths = inputs.get("sequence_lens")
    weights = [part[d] for d in range(D) for part in (w, r, b_ih, b_hh)]
    if reverse:  # the second direction of a layer whose first is of no interest
        weights, h0, c0 = weights * 2, h0.repeat(2, 1, 1), c0.repeat(2, 1, 1)
    y, h_n, c_n, _ = layer(x, h0, c0, weights, lengths=None if lengths is None else lengths.long())
    y = y.unflatten(-1, (-1, H)).transpose(1, 2)
    if reverse:
        y, h_n, c_n = y[:, 1:], h_n[1:], c_n[1:]
    if batch_first:
        y, h_n, c_n = y.permute(2, 0, 1, 3), h_n.transpose(0, 1), c_n.transpose(0, 1)
    return {"Y": y, "Y_h": h_n, "Y_c": c_n}


def _gates(stacked: Tensor) -> Tensor:
    """Turn D×4H×… from ONNX's order i, o, f, c into ours, i, f, c, o."""
    i, o, f, c = stacked.chunk(4, dim=1)
    return torch.cat([i, f, c, o], dim=1)
