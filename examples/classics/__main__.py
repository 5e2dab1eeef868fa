"""The classic problems that recurrent networks are measured by, each with its paper's criterion.

    python examples/classics                          what there is
    python examples/classics adding                   plain RNN, LSTM and variants side by side
    python examples/classics adding --seeds 3 --nets RNN "LSTM of 1997"

Each prints a table and writes a page with a picture to runs/classics. Ctrl-C ends with the table
and the picture of what was done until then. The tables of all problems are in
benchmarks/results/classics.md.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

import torch
from picture import drawn, gradients_of
from problem import Problem
from problems import PROBLEMS
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from summary import COLUMNS, rows
from train import Run, fit

from gatewise.report import Report


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("problem", nargs="?", choices=list(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0")
    parser.add_argument("--nets", nargs="+", help="some of the problem's nets; all by default")
    parser.add_argument("--out", type=Path, default=Path("runs/classics"))
    arguments = parser.parse_args()
    if arguments.problem is None:
        for problem in PROBLEMS.values():
            print(f"{problem.name:16} {problem.title}: {problem.task}")
        return
    problem = PROBLEMS[arguments.problem]
    nets = arguments.nets or list(problem.nets)
    strange = [name for name in nets if name not in problem.nets]
    if strange:
        parser.error(
            f"--nets: expected some of {list(problem.nets)}, got {strange}."
            " Give names as they stand here, each in quotes."
        )
    if arguments.seeds < 1:
        parser.error(
            f"--seeds: expected at least 1, got {arguments.seeds}. Give how many to train with."
        )
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)  # now, not after minutes of training
    except OSError as fault:
        parser.error(
            f"--out: expected a folder that can be made, got {str(arguments.out)!r}"
            f" ({fault.strerror}). Name another."
        )
    torch.set_num_threads(1)  # nets of this size gain nothing from more
    runs: list[Run] = []
    try:
        print(f"{problem.title}. {problem.source}.\n{problem.task}\nSolved: {problem.criterion}\n")
        measure(problem, nets, arguments.seeds, runs)
    except KeyboardInterrupt:
        print("Stopped; what follows is what was done." if runs else "Stopped; no net was done.")
    if not runs:
        return
    table = Table(*COLUMNS, box=box.SIMPLE)
    for row in rows(problem, runs):
        table.add_row(*row)
    Console(highlight=False).print(table)
    report = Report(problem.title, problem.source)
    report.figure("Learning", drawn(problem, runs, gradients_of(problem)))
    print("Picture:", report.write(arguments.out / f"{problem.name}.html"))


def measure(problem: Problem, nets: Sequence[str], seeds: int, runs: list[Run]) -> None:
    """Train every net with every seed, show how it goes, and add each to ``runs`` when done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, transient=True) as progress:
        for name, seed in itertools.product(nets, range(seeds)):
            label = f"{name}, seed {seed}"
            bar = progress.add_task(label, total=problem.budget, state="")

            def tell(seen: int, loss: float, wrong: float, bar: TaskID = bar) -> None:
                state = f"loss {loss:.3g}, {100 * wrong:.3g} % wrong"
                progress.update(bar, completed=seen, state=state)

            run = fit(problem, name, seed, tell)
            runs.append(run)
            progress.remove_task(bar)
            progress.console.print(
                f"{label}: {'solved' if run.solved else 'not solved'} after {run.seen:,}"
                f" {problem.items}, {run.minutes:.1f} min; test: {run.test}",
                highlight=False,
                soft_wrap=True,
            )


if __name__ == "__main__":
    main()
