"""The layers of xLSTM: SLSTM beside our own LSTM, MLSTM in chunks beside its steps in torch.

    python benchmarks/xlstm_layers.py           a few minutes
    python benchmarks/xlstm_layers.py --write   also into results/xlstm_*.md

The mLSTM's recurrent form is the plain loop over steps that the reference has. All take turns;
training is forward and the gradients of the input and every weight. That both forms compute the
same is checked first.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from layer_cases import Shape, assert_same
from machine import machine, page
from passes import PASSES, forward, training
from table import judged, markdown
from timing import alternate
from torch import Tensor

import gatewise.nn
from gatewise.ops.reference.mlstm import Written, mlstm_steps

HEADS = 4
SLSTM_SHAPES = [Shape(100, 32, 128), Shape(100, 64, 256), Shape(128, 64, 512), Shape(1000, 1, 256)]
TIMES_LSTM = 1.6
MLSTM_SHAPES = [
    Shape(1024, 1, 256),
    Shape(1024, 8, 256),
    Shape(1024, 8, 512),
    Shape(1024, 32, 128),
]
TIMES_STEPS = 10.0
PAIR = (
    "layer",
    "shape",
    "training",
    "forward",
    "ours, ms",
    "other, ms",
)


def beside_lstm(shape: Shape, rounds: int) -> tuple[str, ...]:
    """Return how many times as long as an LSTM an SLSTM of the same size takes."""
    torch.manual_seed(0)
    x, grad_y = torch.randn(2, shape.T, shape.B, shape.H).unbind()
    layers = {
        "ours": gatewise.nn.SLSTM(shape.H, shape.H, heads=HEADS),
        "other": gatewise.nn.LSTM(shape.H, shape.H),
    }
    calls = {name: partial(output, layer) for name, layer in layers.items()}
    every = runs(calls, layers, x, grad_y)
    took = {what: alternate(turns, rounds) for what, turns in every.items()}
    times = {what: took[what]["ours"] / took[what]["other"] for what in PASSES}
    judgement = judged(times["training"], TIMES_LSTM, at_most=True)
    return ("SLSTM", str(shape), judgement, f"{times['forward']:.2f}", *milliseconds(took))


def beside_steps(shape: Shape, rounds: int) -> tuple[str, ...]:
    """Return how many times as fast as the steps one by one the chunks are."""
    torch.manual_seed(0)
    x, grad_y = torch.randn(2, shape.T, shape.B, shape.H).unbind()
    layer = gatewise.nn.MLSTM(shape.H, shape.H, heads=HEADS)
    calls = {"ours": partial(output, layer), "other": partial(step_by_step, layer)}
    every = runs(calls, dict.fromkeys(calls, layer), x, grad_y)
    both = ({str(n): part for n, part in enumerate(run())} for run in every["training"].values())
    assert_same(*both)
    took = {what: alternate(turns, rounds) for what, turns in every.items()}
    times = {what: took[what]["other"] / took[what]["ours"] for what in PASSES}
    judgement = judged(times["training"], TIMES_STEPS)
    return ("MLSTM", str(shape), judgement, f"{times['forward']:.1f}", *milliseconds(took))


def step_by_step(layer: gatewise.nn.MLSTM, x: Tensor) -> Tensor:
    """Return the output of an MLSTM whose memory takes one step after the other."""
    H, NH = layer.hidden_size, layer.heads
    raw = F.linear(x, layer.weight_ih_l0, layer.bias_ih_l0)
    *heads, o, i, f = raw.split([H, H, H, H, NH, NH], -1)
    q, k, v = (part.unflatten(-1, (NH, H // NH)) for part in heads)
    written = Written(q, k / math.sqrt(H // NH), v, i, F.logsigmoid(f))
    C, n, m = (part[0] for part in layer.initial_state(x.shape[1]))
    return o.sigmoid() * mlstm_steps(written, (C, n, m), None).h.flatten(-2)


def runs(
    calls: Mapping[str, Callable[[Tensor], Tensor]],
    layers: Mapping[str, torch.nn.Module],
    x: Tensor,
    grad_y: Tensor,
) -> dict[str, dict[str, Callable[[], Any]]]:
    weights = {name: list(layer.parameters()) for name, layer in layers.items()}
    return {
        "forward": {name: forward(call, x) for name, call in calls.items()},
        "training": {
            name: training(call, weights[name], x, grad_y) for name, call in calls.items()
        },
    }


def output(layer: torch.nn.Module, x: Tensor) -> Tensor:
    return layer(x)[0]


def milliseconds(took: dict[str, dict[str, float]]) -> tuple[str, str]:
    ours, other = (
        " / ".join(f"{1e3 * took[what][name]:.2f}" for what in PASSES) for name in ("ours", "other")
    )
    return ours, other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[os.cpu_count()])
    parser.add_argument("--rounds", type=int, default=15, help="turns of each")
    parser.add_argument("--write", action="store_true", help="also write results/xlstm_*.md")
    options = parser.parse_args()
    for threads in options.threads:
        torch.set_num_threads(threads)
        print(f"{machine(threads)}.\n", flush=True)
        parts = {
            f"SLSTM, {HEADS} heads: times the time of our LSTM": [
                beside_lstm(shape, options.rounds) for shape in SLSTM_SHAPES
            ],
            f"MLSTM, {HEADS} heads, in chunks: times as fast as step by step in torch": [
                beside_steps(shape, max(options.rounds // 5, 3)) for shape in MLSTM_SHAPES
            ],
        }
        tables = [f"## {title}\n\n{markdown(PAIR, rows)}" for title, rows in parts.items()]
        print("\n\n".join(tables), flush=True)
        if options.write:
            text = f"# The layers of xLSTM\n\n{machine(threads)}.\n\n" + "\n\n".join(tables) + "\n"
            page("xlstm", threads).write_text(text)


if __name__ == "__main__":
    main()
