"""The classics: every net of examples/classics against its paper's criterion.

    python benchmarks/classics.py                   all problems
    python benchmarks/classics.py adding reber      some of them; the others stay as they are
    python benchmarks/classics.py --pictures        makes page and pictures anew, without measuring

A problem's runs go to `results/classics.json` once all its seeds are done, and from there to
`results/classics.md` and `docs/img/classics_*.png`. Pictures are taken by Chromium; without one
they are left as they are, and the program says so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from machine import RESULTS, machine

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "examples" / "classics"))

from picture import drawn, gradients_of  # noqa: E402 - the path comes first
from problem import Problem  # noqa: E402
from problems import PROBLEMS  # noqa: E402
from table import table  # noqa: E402
from train import Run, fit, restored, saved  # noqa: E402

NUMBERS, PAGE = RESULTS / "classics.json", RESULTS / "classics.md"
PICTURES = HERE.parent / "docs" / "img"
WIDTH, HEIGHT = 960, 400
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("problems", nargs="*", help=f"some of {', '.join(PROBLEMS)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pictures", action="store_true", help="only make page and pictures")
    arguments = parser.parse_args()
    chosen = arguments.problems or list(PROBLEMS)
    strange = set(chosen) - set(PROBLEMS)
    if strange:
        parser.error(f"problems: expected some of {list(PROBLEMS)}, got {sorted(strange)}.")
    torch.set_num_threads(1)
    known: dict[str, Any] = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {}
    if not arguments.pictures:
        for name in chosen:
            known[name] = measured(PROBLEMS[name], arguments.seeds)
            NUMBERS.write_text(json.dumps(known, ensure_ascii=False))
            PAGE.write_text(page(known))
    PAGE.write_text(page(known))
    for name in chosen:
        if name in known:
            photographed(PROBLEMS[name], known[name])


def measured(problem: Problem, seeds: int) -> dict[str, Any]:
    """Return the runs of a problem, its gradients, and where that was measured."""
    runs: list[Run] = []
    for name in problem.nets:
        for seed in range(seeds):
            run = fit(problem, name, seed)
            runs.append(run)
            outcome = "solved" if run.solved else "NOT solved"
            print(
                f"{problem.name}, {name}, seed {seed}: {outcome} after {run.seen:,}"
                f" {problem.items}, {run.minutes:.2f} min; {run.test}",
                flush=True,
            )
    gradients = {
        name: [float(f"{norm:.3g}") for norm in norms]
        for name, norms in gradients_of(problem).items()
    }
    return {
        "machine": machine(1),
        "training": training(problem),
        "runs": [saved(run) for run in runs],
        "gradients": gradients,
    }


def training(problem: Problem) -> str:
    """Return how the nets of a problem are trained, in a sentence."""
    falls = f", halved every {problem.halving:,} {problem.items}" if problem.halving else ""
    return (
        f"Adam with a learning rate of {problem.learning_rate:g}{falls}; at most"
        f" {problem.budget:,} {problem.items}."
    )


def page(known: dict[str, Any]) -> str:
    """Return the page of results: each problem with its criterion and its table."""
    parts = [
        "# The classics",
        "",
        "Each row is a net, each number one of its seeds, in their order. *Solved* is what the"
        " criterion says; *trained on* is where that was, or the budget. Minutes are wall time of"
        " training and tests on one thread of a machine that other programs used too.",
    ]
    for name, problem in PROBLEMS.items():
        if name in known:
            runs = [restored(entry) for entry in known[name]["runs"]]
            parts += [
                "",
                f"## {problem.title}",
                "",
                f"{problem.source}. {problem.task}",
                "",
                f"Criterion: {problem.criterion}",
                "",
                known[name]["training"],
                "",
                table(problem, runs),
                "",
                reach(known[name]["gradients"]),
                "",
                f"{known[name]['machine']}.",
            ]
    return "\n".join([*parts, ""])


def reach(gradients: dict[str, list[float]]) -> str:
    """Return how much of the gradient is left fifty steps back, or as far as all nets go."""
    steps = min(50, *(len(norms) - 1 for norms in gradients.values()))
    left = "; ".join(f"{name} {norms[steps]:.2g}" for name, norms in gradients.items())
    return f"Gradient by the state {steps} steps before the answer, before training: {left}."


def photographed(problem: Problem, entry: dict[str, Any]) -> None:
    """Draw the picture of a problem for the manual."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"{problem.name}: no picture, since there is no Chromium here.")
        return
    runs = [restored(run) for run in entry["runs"]]
    figure = drawn(problem, runs, entry["gradients"])
    figure.update_layout(paper_bgcolor="white", plot_bgcolor="white", title=None)
    figure.update_layout(width=WIDTH, height=HEIGHT, margin={"l": 70, "r": 20, "t": 80, "b": 50})
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "picture.html"
        source.write_text(
            "<style>body { margin: 0; }</style>"
            + figure.to_html(include_plotlyjs=True, config={"displayModeBar": False})
        )
        target = PICTURES / f"classics_{problem.name}.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options += [f"--user-data-dir={folder}/profile", "--virtual-time-budget=4000"]
        options += [f"--screenshot={target}", f"--window-size={WIDTH},{HEIGHT}"]
        subprocess.run([browser, *options, source.as_uri()], check=True, capture_output=True)
    print(f"{problem.name}: {target}")


if __name__ == "__main__":
    main()
