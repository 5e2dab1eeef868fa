"""What all runs of a problem did, as the columns and rows of a table."""

from __future__ import annotations

from collections.abc import Sequence

from problem import Problem
from train import Run

COLUMNS = ("net", "weights", "solved", "trained on", "test", "test loss", "minutes")


def rows(problem: Problem, runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Return a row for each net: what its seeds did, in the order of the seeds."""
    ordered = sorted(runs, key=lambda run: run.seed)
    own = {name: [run for run in ordered if run.net == name] for name in problem.nets}
    return [_row(name, found) for name, found in own.items() if found]


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
