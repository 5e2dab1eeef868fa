"""Which kernel runs: the one that was asked for or none, the best that can with auto."""

from __future__ import annotations

import pytest
import torch

from gatewise.errors import GatewiseError
from gatewise.nn import LSTM
from support.backends import NATIVE
from support.compare import assert_equal


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
