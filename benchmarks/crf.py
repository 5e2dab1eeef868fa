"""The conditional random field beside pytorch-crf: log-likelihoods, training, decoding.

    pip install --no-deps --target DIR pytorch-crf    a folder of its own: it is no dependency
    PYTHONPATH=DIR python benchmarks/crf.py           a minute
    PYTHONPATH=DIR python benchmarks/crf.py --threads 1 2 --write    also into results/crf_*.md

Both take turns on the same emissions, tags and weights; training is the log-likelihood, summed, and
its gradients by the emissions and every weight. That both compute the same is checked first. With
lengths, pytorch-crf gets the mask that says the same.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any

import torch
from layer_cases import assert_same
from machine import machine, page
from table import judged, markdown
from timing import alternate
from torch import Tensor

import gatewise.nn

TIMES_PEER = 3.0  # training, at the first of the shapes
COLUMNS = ("shape", "lengths", "training", "log-likelihood", "decoding", "ours, ms", "theirs, ms")
SIDES = ("ours", "theirs")
PASSES = ("training", "log-likelihood", "decoding")


@dataclass(frozen=True)
class Shape:
    """Steps, sequences and tags; whether the sequences differ in length; the target."""

    T: int
    B: int
    K: int
    ragged: bool = False
    training: float = 1.0

    def __str__(self) -> str:
        return f"T{self.T} B{self.B} K{self.K}"


SHAPES = [
    Shape(50, 32, 20, training=TIMES_PEER),
    Shape(50, 32, 20, ragged=True, training=TIMES_PEER),
    Shape(30, 16, 9, ragged=True),
    Shape(100, 64, 40, ragged=True),
    Shape(50, 32, 100),
    Shape(500, 1, 20),
]


def measure(shape: Shape, rounds: int) -> tuple[str, ...]:
    """Return the row of a shape."""
    check(shape)
    runs = {name: calls(name, shape) for name in SIDES}
    took = {
        what: alternate({name: run[what] for name, run in runs.items()}, rounds) for what in PASSES
    }
    times = {what: turn["theirs"] / turn["ours"] for what, turn in took.items()}
    return (
        str(shape),
        "random" if shape.ragged else "all T",
        judged(times["training"], shape.training),
        f"{times['log-likelihood']:.1f}",
        f"{times['decoding']:.1f}",
        *(" / ".join(f"{1e3 * took[what][name]:.2f}" for what in PASSES) for name in SIDES),
    )


def check(shape: Shape) -> None:
    """Raise unless both compute the same in float64: in float32 their sums lose digits."""
    ours, theirs = (calls(name, shape, torch.float64) for name in SIDES)
    assert_same(
        *({str(n): part for n, part in enumerate(run["training"]())} for run in (ours, theirs))
    )
    if ours["decoding"]() != theirs["decoding"]():
        raise AssertionError(f"{shape}: other tags")


def calls(
    name: str, shape: Shape, dtype: torch.dtype = torch.float32
) -> dict[str, Callable[[], Any]]:
    """Return what is timed of ours or of theirs."""
    draw = torch.Generator().manual_seed(0)
    emissions = torch.randn(shape.T, shape.B, shape.K, generator=draw, dtype=dtype)
    tags = torch.randint(shape.K, (shape.T, shape.B), generator=draw)
    lengths = torch.randint(1, shape.T + 1, (shape.B,), generator=draw)
    lengths[0] = shape.T
    ours = gatewise.nn.CRF(shape.K, dtype=dtype, generator=draw)
    layer, extent = ours, {"lengths": lengths}
    if name == "theirs":
        import torchcrf

        layer = torchcrf.CRF(shape.K).to(dtype)
        layer.load_state_dict(ours.state_dict())
        extent = {"mask": torch.arange(shape.T)[:, None] < lengths}
    if not shape.ragged:
        # Without a mask of its own, it takes one that torch warns of.
        extent = {"mask": torch.ones(shape.T, shape.B).bool()} if name == "theirs" else {}
    leaves = [emissions.requires_grad_(), *layer.parameters()]

    def total() -> Tensor:
        return layer(emissions, tags, **extent).sum()

    def log_likelihood() -> Tensor:
        with torch.no_grad():
            return total()

    def decoding() -> list[list[int]]:
        with torch.no_grad():
            return layer.decode(emissions, **extent)

    def training() -> tuple[Tensor, ...]:
        value = total()
        return value.detach(), *torch.autograd.grad(value, leaves)

    return {"training": training, "log-likelihood": log_likelihood, "decoding": decoding}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[os.cpu_count()])
    parser.add_argument("--rounds", type=int, default=25, help="turns of each")
    parser.add_argument("--write", action="store_true", help="also write results/crf_*.md")
    options = parser.parse_args()
    if util.find_spec("torchcrf") is None:
        parser.exit(2, "pytorch-crf is not on the path; the first lines of this file say how.\n")
    peers = {"pytorch-crf": metadata.version("pytorch-crf")}
    for threads in options.threads:
        torch.set_num_threads(threads)
        about = f"{machine(threads, peers)}.\n\nTimes pytorch-crf's speed; times are those of "
        about += f"{', '.join(PASSES)}."
        print(f"{about}\n", flush=True)
        table = markdown(COLUMNS, [measure(shape, options.rounds) for shape in SHAPES])
        print(f"{table}\n", flush=True)
        if options.write:
            text = f"# The conditional random field\n\n{about}\n\n{table}\n"
            page("crf", threads).write_text(text)


if __name__ == "__main__":
    main()
