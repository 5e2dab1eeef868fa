"""Keras models with our layers, beside Keras' own layers on torch and on JAX.

    python benchmarks/keras_layers.py            ten minutes
    python benchmarks/keras_layers.py --threads 1 2
    python benchmarks/keras_layers.py --write    also into results/keras_*.md

What is timed is what is called: ``model.fit`` and ``model.predict`` over eight batches, Keras' own
work between the steps included. On JAX they are jitted. That all sides end an epoch with the same
outputs is checked first.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from keras_fit import BATCHES, PASSES, fitted, new_task
from machine import machine, page
from peer import Peer, start_peer, versions
from table import judged, markdown
from timing import alternate

import gatewise.keras

SHAPES = [(100, 32, 128), (50, 64, 64), (200, 16, 256)]
TIMES_TORCH = 4.0
TIMES_JAX = 1.0
TOLERANCE = 1e-3  # of the outputs after an epoch, whose sums run in another order
MISSING = "Keras on JAX: left out, {python} does not have them; `make peers` makes what has."


def measure(kind: str, shape: tuple[int, int, int], what: str, rounds: int, peer: Peer | None):
    """Return the row of a model in a pass."""
    task = new_task(kind, *shape, what)
    ours, wanted = fitted(getattr(gatewise.keras, kind), task)
    theirs, outputs = fitted(getattr(keras.layers, kind), task)
    answers = [outputs] if peer is None else [outputs, peer.load(task)]
    for answer in answers:
        np.testing.assert_allclose(answer, wanted, rtol=TOLERANCE, atol=TOLERANCE)
    if peer is None:
        took = list(alternate({"ours": ours, "theirs": theirs}, rounds).values())
    else:
        took = peer.beside(rounds, ours, theirs)
    ratios = [seconds / took[0] for seconds in took[1:]]
    targets = (TIMES_TORCH, TIMES_JAX)
    shown = [
        judged(ratio, target) if what == "fit" else f"{ratio:.2f}"
        for ratio, target in zip(ratios, targets, strict=False)
    ]
    T, B, H = shape
    steps = [f"{1e3 * seconds / BATCHES:.2f}" for seconds in took]
    return (f"{kind} T{T} B{B} H{H}, {what}", *shown, " / ".join(steps))


def tables(options: argparse.Namespace, threads: int) -> Iterator[str]:
    """Yield the pieces of a page, one as soon as it is measured."""
    known = versions(("keras", "jax"), options.keras_python)
    if known is None:
        print(MISSING.format(python=options.keras_python), file=sys.stderr)
    yield f"{machine(threads, known or {'keras': keras.__version__})}."
    columns = [
        "model",
        "times Keras on torch",
        "times Keras on JAX",
        "ms a batch: ours / torch / JAX",
    ]
    if known is None:
        del columns[2]
    for kind in ("LSTM", "GRU"):
        if known is None:
            yield markdown(columns, list(rows(kind, options.rounds, None)))
            continue
        with start_peer("keras_fit", threads, options.keras_python) as peer:
            yield markdown(columns, list(rows(kind, options.rounds, peer)))


def rows(kind: str, rounds: int, peer: Peer | None) -> Iterator[tuple[str, ...]]:
    for shape in SHAPES:
        for what in PASSES:
            yield measure(kind, shape, what, rounds, peer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[os.cpu_count()])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each")
    parser.add_argument(
        "--keras-python",
        default=os.environ.get("GATEWISE_KERAS_PYTHON") or sys.executable,
        help="an interpreter with keras and jax (the variable GATEWISE_KERAS_PYTHON, or this one)",
    )
    parser.add_argument("--write", action="store_true", help="also write results/keras_*.md")
    options = parser.parse_args()
    for threads in options.threads:
        torch.set_num_threads(threads)
        pieces = []
        for text in tables(options, threads):
            pieces.append(text)
            print(text + "\n", flush=True)
        if options.write:
            text = "# Training in Keras\n\n" + "\n\n".join(pieces) + "\n"
            page("keras", threads).write_text(text)


if __name__ == "__main__":
    main()
