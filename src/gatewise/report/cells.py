"""Numbers and other values as a reader wants them in a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

MISSING = "\N{EN DASH}"
SIGNIFICANT = 4


def plain(value: object) -> object:
    """Return a NumPy scalar as Python's own type, anything else unchanged."""
    return value.item() if isinstance(value, np.generic) else value


def is_number(value: object) -> bool:
    """Say whether ``value`` belongs into a right-aligned column."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def format_value(
    value: object, decimals: int | None = None, *, significant: int = SIGNIFICANT
) -> str:
    """Return one value as text: numbers grouped and short, None and NaN as a dash."""
    value = plain(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if decimals is not None and math.isfinite(value):
            return f"{value:,.{decimals}f}"
        return _short(value, significant)
    if isinstance(value, (list, tuple)):
        return ", ".join(format_value(item) for item in value) or MISSING
    return str(value)


def format_column(values: Sequence[object]) -> list[str]:
    """Return a column as text; numbers of like size get the same number of decimals."""
    return [format_value(value, _decimals(values)) for value in values]


def _decimals(values: Sequence[object]) -> int | None:
    sizes = [
        abs(number)
        for number in map(plain, values)
        if isinstance(number, float) and math.isfinite(number) and number
    ]
    if not sizes or max(sizes) >= 1e6 or max(sizes) / min(sizes) > 1e3:
        return None
    # The largest shows four digits, the smallest at least three.
    largest, smallest = math.floor(math.log10(max(sizes))), math.floor(math.log10(min(sizes)))
    return max(0, SIGNIFICANT - 1 - largest, SIGNIFICANT - 2 - smallest)


def _short(value: float, significant: int) -> str:
    if math.isfinite(value) and 10**significant <= abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:,.{significant}g}"
