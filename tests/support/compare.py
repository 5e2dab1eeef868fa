"""Is a result as accurate as it should be? A tolerance that calibrates itself.

The yardstick is torch's own operation on the same numbers: a candidate may be a few times as far
from the exact result (float64) as torch is, plus one unit in the last place of the result's scale.
Errors are norm-wise, ‖candidate − exact‖ / ‖exact‖. The helpers raise and return nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Results = Mapping[str, Tensor]


def assert_as_accurate(
    candidate: Results, exact: Results, *yardsticks: Results, factor: float = 3.0
) -> None:
    """Raise unless every tensor of ``candidate`` is about as close to ``exact`` as ``yardstick``.

    Args:
        candidate: What is judged, by name.
        exact: The right results, in float64 (the same names and shapes).
        yardsticks: torch's results: once, or several times with inputs moved by a rounding error
            (`jitter`), of which the worst counts; a result that cancels almost to nothing needs
            that. If their precision differs from the candidate's, their error is scaled by the
            ratio of the two: rounding errors are proportional to it.
        factor: How many times the yardstick's error is allowed.

    Raises:
        AssertionError: Names, shapes or dtypes differ, or an error is too large; all the faults,
            with their numbers.
    """
    for others in (candidate, *yardsticks):
        assert others.keys() == exact.keys(), f"{sorted(others)} instead of {sorted(exact)}"
    errors = [max(relative_error(y[name], exact[name]) for y in yardsticks) for name in exact]
    # In a tensor of a few elements torch may be exact by luck; its usual error is the fair measure.
    usual = (sum(error**2 for error in errors) / max(len(errors), 1)) ** 0.5
    faults = []
    for name, own in zip(exact, errors, strict=True):
        got, want = candidate[name], exact[name]
        if got.shape != want.shape or got.dtype != candidate[next(iter(exact))].dtype:
            faults.append(f"{name}: {got.dtype} {tuple(got.shape)}, expected {tuple(want.shape)}")
            continue
        unit = torch.finfo(got.dtype).eps
        scale = unit / torch.finfo(yardsticks[0][name].dtype).eps
        # Exact to the last bit it is not: a float64 candidate also meets the error of its judge.
        times = factor + 1 if got.dtype == want.dtype else factor
        allowed = times * scale * max(own, usual) + unit
        error = relative_error(got, want)
        if not error <= allowed:
            faults.append(
                f"{name}: relative error {error:.3g} exceeds {allowed:.3g} "
                f"(torch: {own:.3g}, usually {usual:.3g})"
            )
    assert not faults, "; ".join(faults)


def jitter(value: Tensor, seed: int) -> Tensor:
    """Return ``value`` moved by up to one rounding error of float32; unmoved for seed 0."""
    if seed == 0:
        return value
    draw = torch.Generator().manual_seed(seed)
    shift = 2 * torch.rand(value.shape, generator=draw).to(value.dtype) - 1
    return value * (1 + torch.finfo(torch.float32).eps * shift)


def assert_equal(candidate: Results, expected: Results) -> None:
    """Raise unless the two hold the same tensors, bit for bit (a NaN equals a NaN)."""
    assert candidate.keys() == expected.keys(), f"{sorted(candidate)}, {sorted(expected)}"
    for name, want in expected.items():
        torch.testing.assert_close(
            candidate[name], want, rtol=0, atol=0, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
        )


def assert_close(candidate: Results, expected: Results, *, tolerance: float) -> None:
    """Raise unless each tensor is within ``tolerance`` of the expected one, by their norms."""
    assert candidate.keys() == expected.keys(), f"{sorted(candidate)}, {sorted(expected)}"
    for name, want in expected.items():
        assert candidate[name].shape == want.shape, f"{name}: {candidate[name].shape}, {want.shape}"
        error = relative_error(candidate[name], want.double())
        assert error <= tolerance, f"{name}: relative error {error:.3g} exceeds {tolerance:.3g}"


def relative_error(got: Tensor, want: Tensor) -> float:
    """Return ‖got − want‖ / ‖want‖, absolute where nothing but zeros is wanted."""
    if got.shape != want.shape:
        return float("inf")
    distance = torch.linalg.vector_norm(got.double() - want.double()).item()
    scale = torch.linalg.vector_norm(want.double()).item()
    return distance / scale if scale > 0 else distance
