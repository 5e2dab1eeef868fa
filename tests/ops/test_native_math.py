"""sigmoid and tanh of the kernels against wider arithmetic, in units of the last place (ulp)."""

from __future__ import annotations

import numpy as np
import pytest

from gatewise import _native
from gatewise.ops.kernels import isa_name

MOST_ULP = 4
ISAS = [
    isa
    for isa in ("avx512", "avx2", "neon", "scalar")
    if _native.kernels(isa, _native.Dtype.float32)
]
FUNCTIONS = {"sigmoid": 0, "tanh": 1}
DTYPES = {np.float32: _native.Dtype.float32, np.float64: _native.Dtype.float64}
WIDER = {np.float32: np.float64, np.float64: np.longdouble}


def evaluate(isa: str, name: str, x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    kernels = _native.kernels(isa, _native.Dtype.float32)
    assert kernels is not None
    kernels.evaluate(DTYPES[x.dtype.type], FUNCTIONS[name], x.ctypes.data, out.ctypes.data, x.size)
    return out


def exact(name: str, x: np.ndarray) -> np.ndarray:
    wide = x.astype(WIDER[x.dtype.type])
    with np.errstate(over="ignore"):
        return np.tanh(wide) if name == "tanh" else 1 / (1 + np.exp(-wide))


def worst_ulp(name: str, x: np.ndarray, got: np.ndarray) -> float:
    """Return the largest error where the result is a normal number."""
    want = exact(name, x)
    limits = np.finfo(x.dtype)
    unit = np.spacing(np.maximum(np.abs(want), limits.tiny).astype(x.dtype)).astype(want.dtype)
    # Below, sigmoid stays at about the smallest normal number: see the test of the ends.
    normal = (np.abs(want) >= 2 * limits.tiny) | (name == "tanh")
    return float((np.abs(got.astype(want.dtype) - want) / unit)[normal].max())


def arguments(dtype: type) -> np.ndarray:
    """Return numbers of every region: where the functions bend, wide, and every binade."""
    draw = np.random.default_rng(0)
    limits = np.finfo(dtype)
    binade = draw.integers(limits.minexp - 4, limits.maxexp - 1, 20_000)
    tiny_to_huge = np.ldexp(draw.uniform(1, 2, 20_000).astype(dtype), binade)
    sign = draw.choice([-1, 1], 20_000)
    parts = [draw.uniform(-10, 10, 80_000), draw.uniform(-100, 100, 80_000), sign * tiny_to_huge]
    return np.concatenate([part.astype(dtype) for part in parts])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("isa", ISAS)
def test_error_is_a_few_ulp_over_the_whole_range(isa, name, dtype):
    x = arguments(dtype)
    assert worst_ulp(name, x, evaluate(isa, name, x)) <= MOST_ULP


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("isa", ISAS)
def test_the_ends_of_the_range(isa, dtype):
    limits = np.finfo(dtype)
    far = np.array([np.inf, limits.max, 1e4, -1e4, limits.min, -np.inf], dtype)
    np.testing.assert_array_equal(evaluate(isa, "tanh", far), [1, 1, 1, -1, -1, -1])
    high, low = np.split(evaluate(isa, "sigmoid", far), 2)
    np.testing.assert_array_equal(high, 1)
    assert ((low >= 0) & (low <= 2 * limits.tiny)).all()
    near = np.array([0, limits.smallest_subnormal, limits.tiny / 4, limits.tiny], dtype)
    near = np.concatenate([near, -near])
    np.testing.assert_array_equal(evaluate(isa, "tanh", near), near)
    np.testing.assert_array_equal(evaluate(isa, "sigmoid", near), 0.5)
    nan = np.full(5, np.nan, dtype)
    for name in FUNCTIONS:
        assert np.isnan(evaluate(isa, name, nan)).all()


@pytest.mark.parametrize("isa", ISAS)
def test_any_number_of_elements(isa):
    for count in range(1, 70):
        x = np.linspace(-3, 3, count, dtype=np.float32)
        padded = np.full(count + 40, 7, np.float32)
        kernels = _native.kernels(isa, _native.Dtype.float32)
        assert kernels is not None
        kernels.evaluate(_native.Dtype.float32, 1, x.ctypes.data, padded.ctypes.data, count)
        assert worst_ulp("tanh", x, padded[:count]) <= MOST_ULP
        np.testing.assert_array_equal(padded[count:], 7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_naive_formulas_are_rejected(dtype):
    x = arguments(dtype)
    x = x[np.abs(x) < 40]
    # Each cancels: the first where sigmoid is small, the second where tanh is.
    naive = {"sigmoid": (1 + np.tanh(x / 2)) / 2, "tanh": 1 - 2 / (np.exp(2 * x) + 1)}
    for name, got in naive.items():
        assert worst_ulp(name, x, got.astype(dtype)) > 100


def test_the_kernels_in_use_are_among_those_tested():
    assert isa_name() in ISAS
