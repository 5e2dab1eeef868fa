"""How the cost of a step grows with T, B and H: nanoseconds for one step of one row, I = H.

    python benchmarks/scaling.py            all of it, on all cores: quarter of an hour
    python benchmarks/scaling.py --small    few rounds and sizes: for a look while developing
    python benchmarks/scaling.py --write    also results/scaling.json and the picture of it

One size is varied at a time round a centre, for LSTM and GRU, forward and training, ours and
torch's in turn. From the size on at which its memory would not fit, or a call would take too long,
a library is left out; that is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import scaling_picture
import torch
from layer_cases import Contest, Shape
from machine import machine
from passes import PASSES
from timing import alternate

CENTRE = Shape(100, 16, 128)
SIZES = {
    "T": [10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000],
    "B": [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
    "H": [8, 16, 32, 64, 128, 256, 512, 1024, 2048],
}
GROWTH = {"T": 1, "B": 1, "H": 2}  # of the time with the size, as a power
KINDS = ("LSTM", "GRU")
# Numbers held at the peak of training for each step, row and unit: what the step takes, measured,
# and the four of the contest.
HELD = {"ours": 12, "torch": 20}
SHARE_OF_MEMORY = 0.8  # of what is free
LONGEST = 60.0  # seconds of a call
BUDGET = 60.0  # seconds of a size; beyond, rounds are saved
FEWEST = 3  # rounds


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    about = machine(options.threads)
    print(f"{about}.\n", flush=True)
    points = []
    for kind in KINDS:
        for varied, sizes in SIZES.items():
            some = sizes[:7:3] if options.small else sizes
            for point in sweep(kind, varied, some, 5 if options.small else options.rounds):
                points.append(point)
                print(json.dumps(point), flush=True)
    if options.write:
        centre = {name: getattr(CENTRE, name) for name in SIZES}
        results = {"machine": about, "unit": "ns", "centre": centre, "points": points}
        scaling_picture.NUMBERS.write_text(_one_point_a_line(results))
        scaling_picture.PICTURE.write_text(scaling_picture.drawn(results))


def sweep(kind: str, varied: str, sizes: Sequence[int], rounds: int) -> Iterator[dict[str, Any]]:
    """Measure one size after the other; yield the cost of a step and row by pass and library."""
    libraries, took, last = list(HELD), {}, sizes[0]
    for size in sizes:
        shape = replace(CENTRE, kind=kind, **{varied: size})
        expected = {
            name: seconds * (size / last) ** GROWTH[varied] for name, seconds in took.items()
        }
        for library in libraries.copy():
            reason = _reason_against(shape, library, expected.get(f"training {library}", 0.0))
            if reason:
                libraries.remove(library)
                print(f"{kind} {shape}: {library} left out from here on, {reason}.", flush=True)
        if not libraries:
            return
        contest = Contest(shape)
        turns = {
            f"{what} {library}": getattr(contest, what)(library)
            for what in PASSES
            for library in libraries
        }
        affordable = int(BUDGET / max(sum(expected.values()), 1e-3))
        took = alternate(turns, max(FEWEST, min(rounds, affordable)))
        cost = {name: _rounded(1e9 * took[name] / (shape.T * shape.B)) for name in turns}
        yield {"kind": kind, "varied": varied, "size": size, "cost": cost}
        last = size


def _reason_against(shape: Shape, library: str, expected: float) -> str:
    """Return why a size is not measured; nothing if it is."""
    if expected > LONGEST:
        return f"a call would take {expected:.0f} s"
    needed = 4 * HELD[library] * shape.T * shape.B * shape.H
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    free = 1024 * int(found[1]) if found else 0
    if needed > SHARE_OF_MEMORY * free:
        return f"training would take {needed / 2**30:.1f} of {free / 2**30:.1f} GiB free"
    return ""


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _one_point_a_line(results: dict[str, Any]) -> str:
    points = ",\n".join(map(json.dumps, results["points"]))
    rest = json.dumps({name: value for name, value in results.items() if name != "points"})
    return f'{rest[:-1]}, "points": [\n{points}\n]}}\n'


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for both libraries")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each; fewer where slow")
    parser.add_argument("--small", action="store_true", help="few rounds, few sizes")
    parser.add_argument("--write", action="store_true", help="also results/ and docs/img/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
