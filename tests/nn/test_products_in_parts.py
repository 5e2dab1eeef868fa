"""The output layer where float32 is multiplied in tile registers, as parts in bfloat16."""

from __future__ import annotations

import math

import pytest
import torch

from gatewise.nn import LinearCrossEntropy
from gatewise.ops import cross_entropy
from gatewise.ops.kernels import IN_PARTS, KERNELS
from support.compare import assert_as_accurate
from support.cross_entropy_cases import SIZES, case, ours, torchs


@pytest.fixture
def in_parts(monkeypatch):
    """Multiply float32 in tile registers, however small the call."""
    if IN_PARTS not in KERNELS:
        pytest.skip("needs a processor with AMX, and GATEWISE_ISA unset or amx")
    monkeypatch.setattr(cross_entropy, "LARGE", (1, 1, 1))


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("sizes", SIZES)
def test_as_accurate_as_torch(sizes, smoothing, reduction):
    layer, x, target = case(*sizes, label_smoothing=smoothing, reduction=reduction)
    exact = torchs(layer, x, target, torch.float64)
    assert_as_accurate(ours(layer, x, target), exact, torchs(layer, x, target, torch.float32))


@pytest.mark.usefixtures("in_parts")
def test_numbers_of_any_size():
    layer, x, target = case(40, 33, 500, bias=False)
    with torch.no_grad():
        layer.weight *= torch.logspace(-30, 20, 33)
        x *= torch.logspace(30, -20, 33)
    exact = torchs(layer, x, target, torch.float64)
    assert_as_accurate(ours(layer, x, target), exact, torchs(layer, x, target, torch.float32))


@pytest.mark.usefixtures("in_parts")
def test_what_is_not_finite_stays_in_its_row():
    layer, x, target = case(40, 33, 500, reduction="none")
    want = layer(x, target)
    with torch.no_grad():
        x[4, 2], x[20, 7] = math.inf, math.nan
    losses = layer(x, target)
    assert losses.isnan().nonzero().flatten().tolist() == [4, 20]
    others = ~losses.isnan()
    assert losses[others].equal(want[others])


@pytest.mark.parametrize(
    ("sizes", "dtype", "bf16", "want"),
    [
        ((192, 128, 500), torch.float32, False, True),
        ((191, 128, 500), torch.float32, False, False),
        ((192, 127, 500), torch.float32, False, False),
        ((192, 128, 499), torch.float32, False, False),
        ((192, 128, 500), torch.float64, False, False),
        ((192, 128, 500), torch.float32, True, False),
    ],
)
def test_large_calls_are_in_parts(sizes, dtype, bf16, want):
    got = cross_entropy.product_precision(dtype, sizes, bf16=bf16)
    assert (got is IN_PARTS) == (want and IN_PARTS in KERNELS)
    precision = "bf16" if bf16 else "auto"
    reason = LinearCrossEntropy(*sizes[1:], dtype=dtype, precision=precision).explain()
    possible = cross_entropy.product_precision(dtype, (192, *sizes[1:]), bf16=bf16)
    assert ("amx from 192 rows on" in reason) == (possible is IN_PARTS)


def test_a_layer_in_bfloat16_without_its_products_says_what_runs():
    layer = LinearCrossEntropy(128, 500, dtype=torch.bfloat16, precision="full")
    assert ("amx from 192 rows on" in layer.explain()) == (IN_PARTS in KERNELS)
