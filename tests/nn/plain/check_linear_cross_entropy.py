"""LinearCrossEntropy with arguments of wrong types, and under torch.compile."""

from __future__ import annotations

import pytest
import torch

from gatewise.errors import GatewiseError
from gatewise.nn import LinearCrossEntropy


def test_wrong_arguments_come_all_at_once():
    with pytest.raises(GatewiseError) as caught:
        LinearCrossEntropy(0, 5, label_smoothing=2, reduction="max", backend="fast")
    for name in ("in_features", "label_smoothing", "reduction", "backend"):
        assert name in str(caught.value)
    with pytest.raises(TypeError, match="num_classes"):
        LinearCrossEntropy(3, 5.0)
    with pytest.raises(TypeError, match="ignore_index"):
        LinearCrossEntropy(3, 5, ignore_index=None)


def test_arguments_that_are_no_tensors():
    layer = LinearCrossEntropy(3, 7)
    with pytest.raises(GatewiseError, match=r"input\): expected a tensor, got list"):
        layer([[1.0, 2.0, 3.0]], torch.tensor([1]))
    with pytest.raises(GatewiseError, match=r"expected a tensor of classes, got int"):
        layer(torch.zeros(3), 3)


def test_compiled_it_takes_the_reference_and_agrees():
    torch.manual_seed(0)
    layer = LinearCrossEntropy(5, 30, label_smoothing=0.1)
    x, target = torch.randn(9, 5), torch.randint(30, (9,))
    target[2] = -100
    want = layer(x, target)
    want.backward()
    gradient, layer.weight.grad = layer.weight.grad, None
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    got = compiled(x, target)
    got.backward()
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(layer.weight.grad, gradient)
