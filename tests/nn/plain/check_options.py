"""Options of the layers without the shape checks: values of wrong types, compiled and exported."""

from __future__ import annotations

import io

import pytest
import torch

import gatewise.nn
from gatewise.errors import (
    GatewiseError,
    InvalidSettingsError,
    InvalidTypeError,
    InvalidValueError,
)
from gatewise.nn import GRU, LSTM, RNN
from support.compare import assert_close
from support.twins import results

WRONG = {
    "residual": (LSTM, {"residual": 1}, "a bool, got int 1"),
    "learn_initial_state": (GRU, {"learn_initial_state": None}, "a bool, got NoneType None"),
    "chrono_steps": (LSTM, {"init": "chrono", "chrono_steps": 9.0}, "an int, got float 9.0"),
    "forget_bias": (LSTM, {"forget_bias": "1"}, "a number, got str '1'"),
    "generator": (RNN, {"generator": 7}, "a torch.Generator or None, got int 7"),
    "batch_norm_steps": (LSTM, {"batch_norm_steps": 2.0}, "None or an int, got float 2.0"),
    "init": (LSTM, {"init": "he"}, "'torch' or 'orthogonal' or 'chrono', got 'he'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_named(name):
    make, options, message = WRONG[name]
    kind = InvalidValueError if name == "init" else InvalidTypeError
    with pytest.raises(kind, match=rf"^{make.__name__}\({name}\): expected {message}\.$"):
        make(3, 4, **options)


def test_a_simple_network_has_no_gate_for_chrono():
    with pytest.raises(ValueError, match=r"^RNN\(init\): expected 'torch' or 'orth.*got 'chrono'"):
        RNN(3, 4, init="chrono")


def test_wrong_types_are_listed_with_all_else():
    with pytest.raises(InvalidSettingsError) as refusal:
        LSTM(3, 0, residual="yes", chrono_steps=True, forget_bias=True, bias=False, backend="gpu")
    places = [fault.where for fault in refusal.value.faults]
    expected = ["hidden_size", "residual", *["chrono_steps"] * 2, *["forget_bias"] * 2, "backend"]
    assert places == [f"LSTM({name})" for name in expected]


def test_a_whole_number_is_a_forget_bias():
    layer = LSTM(3, 4, forget_bias=2)
    assert (layer.bias_ih_l0[4:8] == 2).all()


def _layer(kind: str):
    torch.manual_seed(0)
    options = {"residual": True, "learn_initial_state": True, "bidirectional": True}
    layer = getattr(gatewise.nn, kind)(8, 4, 2, **options, dtype=torch.float64)
    for name, weight in layer.named_parameters():
        if name.startswith("initial"):
            torch.nn.init.uniform_(weight, -1, 1)
    return layer, torch.randn(5, 3, 8, dtype=torch.float64)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_compiled(kind):
    torch.compiler.reset()
    layer, x = _layer(kind)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert_close(results(compiled, x), results(layer, x), tolerance=1e-12)
    lengths = torch.tensor([5, 1, 3])
    got, want = compiled(x, lengths=lengths)[0], layer(x, lengths=lengths)[0]
    assert_close({"y": got}, {"y": want}, tolerance=1e-12)


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_exported():
    layer, x = _layer("LSTM")
    lengths = torch.tensor([5, 1, 3])
    program = torch.export.export(layer.eval(), (x,), {"lengths": lengths})
    saved = io.BytesIO()
    torch.export.save(program, saved)
    saved.seek(0)
    got = torch.export.load(saved).module()(x, lengths=lengths)[0]
    assert_close({"y": got}, {"y": layer(x, lengths=lengths)[0]}, tolerance=1e-12)


FAULTS = {
    "peephole": 1,
    "activation": "nonsense",
    "gate_activation": None,
    "cell_clip": -1.0,
    "recurrent_dropout": 1.5,
    "update_dropout": "much",
    "input_dropout": -0.1,
    "weight_dropout": True,
    "zoneout": 0.1,
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_cell_option_names_itself(name):
    with pytest.raises(GatewiseError, match=rf"LSTM\({name}\): expected"):
        LSTM(3, 4, **{name: FAULTS[name]})


def test_all_faults_of_cell_options_come_at_once():
    with pytest.raises(GatewiseError) as caught:
        LSTM(3, 4, **FAULTS)
    assert all(f"LSTM({name})" in str(caught.value) for name in FAULTS)
    with pytest.raises(GatewiseError) as caught:
        LSTM(3, 4, forget_gate=False, coupled_gates=True, forget_bias=1.0)
    assert "coupled_gates" in str(caught.value)
    assert "forget_bias" in str(caught.value)
    with pytest.raises(GatewiseError, match=r"GRU\(zoneout\): expected a probability"):
        GRU(3, 4, zoneout=(0.1, 0.1))
    refusal = r"RNN\(precision\): expected 'auto' or 'full' or 'bf16', got 'fp8'"
    with pytest.raises(ValueError, match=refusal):
        RNN(3, 4, precision="fp8")


@pytest.mark.parametrize("steps", [2.5, True, "all"])
def test_recompute_wants_a_number_of_steps(steps):
    with pytest.raises(TypeError, match=r"LSTM\(recompute\): expected a number of steps"):
        LSTM(3, 4)(torch.zeros(3, 2, 3), recompute=steps)
