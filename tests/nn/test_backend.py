"""Which kernel runs: the one that was asked for or none, the best that can with auto."""

from __future__ import annotations

import pytest
import torch

import gatewise as gw
from gatewise.errors import GatewiseError
from gatewise.nn import GRU, LSTM
from support.backends import NATIVE
from support.compare import assert_equal
from support.process import run_python


def test_explain_names_the_kernel_and_the_reason():
    assert "reference" in LSTM(3, 4, backend="reference").explain()
    assert ("native" if NATIVE else "reference") in LSTM(3, 4).explain()
    assert "reference" in LSTM(3, 4, dtype=torch.float16).explain()


@pytest.mark.skipif(not NATIVE, reason="needs the native kernel")
def test_auto_takes_the_native_kernel_where_it_can():
    torch.manual_seed(0)
    auto, native, plain = (LSTM(7, 33, backend=name) for name in ("auto", "native", "reference"))
    for layer in (native, plain):
        layer.load_state_dict(auto.state_dict())
    x = torch.randn(9, 5, 7)
    assert_equal({"y": auto(x)[0]}, {"y": native(x)[0]})
    assert not torch.equal(auto(x)[0], plain(x)[0])  # else the comparison above says nothing


@pytest.mark.skipif(not NATIVE, reason="needs the native kernel")
def test_a_kernel_that_was_asked_for_runs_or_raises():
    layer = LSTM(3, 4, backend="native")
    with pytest.raises(GatewiseError, match="native"):
        layer(torch.zeros(2, 0, 3))
    with pytest.raises(GatewiseError, match="native"):
        layer.to(torch.float16)(torch.zeros(2, 1, 3, dtype=torch.float16))


@pytest.mark.skipif(not NATIVE, reason="needs the native kernel")
def test_the_innermost_block_decides_for_layers_that_say_nothing():
    layer, insisting = GRU(3, 4), LSTM(3, 4, backend="native")
    with gw.use_backend("reference"):
        assert layer.explain() == "reference (torch): use_backend('reference') asks for it"
        assert insisting.explain().startswith("native")
        with gw.use_backend("auto"):
            assert layer.explain().startswith("native")
            with gw.use_backend("reference"):
                assert layer.explain().startswith("reference")
            assert layer.explain().startswith("native")
        assert layer.explain().startswith("reference")
    assert layer.explain().startswith("native")


@pytest.mark.skipif(not NATIVE, reason="needs the native kernel")
def test_what_a_block_asks_for_and_cannot_have_raises():
    layer = LSTM(3, 4, dtype=torch.float16)
    with gw.use_backend("native"):
        assert layer.explain().startswith("none (none): use_backend('native') asks for native")
        with pytest.raises(GatewiseError, match=r"use_backend\('native'\): expected a call"):
            layer(torch.zeros(2, 1, 3, dtype=torch.float16))
    layer(torch.zeros(2, 1, 3, dtype=torch.float16))


def test_a_block_ends_with_an_error_too():
    with pytest.raises(ZeroDivisionError), gw.use_backend("reference"):
        raise ZeroDivisionError
    assert "use_backend" not in GRU(3, 4).explain()


@pytest.mark.parametrize(("name", "kernel"), [("reference", "reference"), ("auto", "native")])
def test_the_environment_decides_last(name, kernel):
    code = "import gatewise as gw; print(gw.nn.LSTM(3, 4).explain())"
    done = run_python(code, GATEWISE_BACKEND=name)
    assert done.stdout.startswith(kernel), done.stderr
    assert ("GATEWISE_BACKEND" in done.stdout) == (name == "reference")


def test_an_unknown_backend_in_the_environment_is_an_error_that_names_it():
    done = run_python("import gatewise.nn", GATEWISE_BACKEND="gpu")
    assert done.returncode == 1
    assert "GATEWISE_BACKEND: expected 'auto' or 'native'" in done.stderr
