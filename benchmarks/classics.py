"""The classics: every net of examples/classics against its paper's criterion.

    python benchmarks/classics.py                   all problems
    python benchmarks/classics.py adding reber      some of them; the others stay as they are
    python benchmarks/classics.py --pictures        makes page and pictures anew, without measuring

Each run goes to `results/classics.json` as soon as it is done, in the place of the one of the same
net and seed, and from there to `results/classics.md` and `docs/img/classics_*.png`. Ctrl-C loses
the run that it interrupts, and no other. Pictures are taken by Chromium; without one they are left
as they are, and the program says so.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from machine import RESULTS, machine
from table import markdown

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "examples" / "classics"))

from picture import drawn, gradients_of  # noqa: E402 - the path comes first
from problem import Problem  # noqa: E402
from problems import PROBLEMS  # noqa: E402
from summary import COLUMNS, rows  # noqa: E402
from train import built, fit, restored, saved  # noqa: E402

NUMBERS, PAGE = RESULTS / "classics.json", RESULTS / "classics.md"
PICTURES = HERE.parent / "docs" / "img"
WIDTH, HEIGHT = 960, 400
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("problems", nargs="*", help=f"some of {', '.join(PROBLEMS)}")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--pictures", action="store_true", help="only make page and pictures")
    arguments = parser.parse_args()
    chosen = arguments.problems or list(PROBLEMS)
    strange = sorted(set(chosen) - set(PROBLEMS))
    if strange:
        parser.error(
            f"problems: expected some of {list(PROBLEMS)}, got {strange}."
            " Give names as they stand here, or none for all."
        )
    if arguments.seeds < 1:
        parser.error(
            f"--seeds: expected at least 1, got {arguments.seeds}. Give how many to train with."
        )
    known: dict[str, Any] = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {}
    if not arguments.pictures:
        for name in chosen:
            held = seeds_of_other_settings(PROBLEMS[name], known.get(name))
            if held > arguments.seeds:
                parser.error(
                    f"--seeds: expected at least {held}, since {name} has so many with other"
                    f" settings, got {arguments.seeds}. Give as many, and they are replaced."
                )
    try:
        if not arguments.pictures:
            torch.set_num_threads(1)
            for name in chosen:
                measure(PROBLEMS[name], arguments.seeds, known)
        write(PAGE, page(known))
        for name in chosen:
            if name in known:
                photographed(PROBLEMS[name], known[name])
    except KeyboardInterrupt:
        raise SystemExit(f"Stopped. The runs that were done are in {NUMBERS}.") from None


def measure(problem: Problem, seeds: int, known: dict[str, Any]) -> None:
    """Train every net with every seed, and put each run where the results are kept."""
    entry = {"training": training(problem), "runs": kept(problem, known.get(problem.name))}
    entry["gradients"] = {
        name: [float(f"{norm:.3g}") for norm in norms]
        for name, norms in gradients_of(problem).items()
    }
    for name, seed in itertools.product(problem.nets, range(seeds)):
        run = fit(problem, name, seed)
        others = [old for old in entry["runs"] if (old["net"], old["seed"]) != (name, seed)]
        entry["runs"] = [*others, saved(run) | {"machine": machine(1)}]
        known[problem.name] = entry
        write(NUMBERS, json.dumps(known, ensure_ascii=False))
        write(PAGE, page(known))
        outcome = "solved" if run.solved else "NOT solved"
        print(
            f"{problem.name}, {name}, seed {seed}: {outcome} after {run.seen:,}"
            f" {problem.items}, {run.minutes:.2f} min; {run.test}",
            flush=True,
        )


def kept(problem: Problem, entry: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the runs that were trained as the problem's nets are now: others share no table."""
    if entry is None or entry["training"] != training(problem):
        return []
    weights = {name: built(problem, name, 0).weights for name in problem.nets}
    return [run for run in entry["runs"] if weights.get(run["net"]) == run["weights"]]


def seeds_of_other_settings(problem: Problem, entry: dict[str, Any] | None) -> int:
    """Return how many seeds of a net would be dropped, since they were trained in another way."""
    stay = kept(problem, entry)
    dropped = [run for run in (entry or {"runs": []})["runs"] if run not in stay]
    return max(Counter(run["net"] for run in dropped).values(), default=0)


def write(target: Path, text: str) -> None:
    """Replace a file at once: who is interrupted leaves the old one whole."""
    part = target.with_suffix(target.suffix + ".part")
    part.write_text(text)
    part.replace(target)


def training(problem: Problem) -> str:
    """Return how the nets of a problem are trained, in a sentence."""
    falls = (
        f" that falls steadily, by half over every {problem.halving:,} {problem.items}"
        if problem.halving
        else ""
    )
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
        " criterion says; *trained on* is where that was, or the budget. Minutes are processor time"
        " of training and tests, on one thread.",
    ]
    for name, problem in PROBLEMS.items():
        if name in known:
            entries = known[name]["runs"]
            machines = sorted({entry["machine"] for entry in entries})
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
                markdown(COLUMNS, rows(problem, [restored(entry) for entry in entries])),
                "",
                reach(known[name]["gradients"]),
                "",
                *(f"{line}." for line in machines),
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
