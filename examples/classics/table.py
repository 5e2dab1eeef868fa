"""The table of a problem's runs, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from problem import Problem
from train import Run

COLUMNS = ("net", "weights", "solved", "trained on", "test", "test loss", "minutes")


def table(problem: Problem, runs: Sequence[Run]) -> str:
    """Return a row for each net: what all its seeds did, in the order of the seeds."""
    rows = [COLUMNS]
    for name in problem.nets:
        own = sorted((run for run in runs if run.net == name), key=lambda run: run.seed)
        if own:
            rows.append(_row(name, own))
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
    lines = [" | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


def _row(name: str, runs: Sequence[Run]) -> tuple[str, ...]:
    return (
        name,
        f"{runs[0].weights:,}",
        f"{sum(run.solved for run in runs)} of {len(runs)}",
        " / ".join(f"{run.seen:,}" for run in runs),
        " / ".join(run.test for run in runs),
        " / ".join(f"{run.loss:.2g}" for run in runs),
        " / ".join(f"{run.minutes:.1f}" for run in runs),
    )
