"""Tables in Markdown with targets beside the numbers."""

from __future__ import annotations

from collections.abc import Sequence


def judged(value: float, target: float, *, at_most: bool = False, percent: bool = False) -> str:
    """Return a number beside its target, and whether the target is met."""
    met = value <= target if at_most else value >= target
    sign = "≤" if at_most else "≥"
    mark = "met" if met else "MISSED"
    if percent:
        return f"{100 * value:.0f} % ({sign} {100 * target:.0f}: {mark})"
    return f"{value:.2f} ({sign} {target:g}: {mark})"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, its columns aligned."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    padded = [[cell.ljust(w) for cell, w in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)
