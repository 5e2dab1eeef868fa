"""The minimal cells beside our own GRU and LSTM, and beside the log-space parallel form in torch.

    python benchmarks/minimal.py               a few minutes
    python benchmarks/minimal.py --threads 1 2 on one thread, then on two
    python benchmarks/minimal.py --write       also into results/minimal_*.md

The form in logarithms is that of the paper's appendix B, in time order, eager and compiled. All
take turns; training is forward and the gradients of the input and every weight. That both sides
compute the same is checked first.
"""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from layer_cases import Shape, assert_same
from machine import machine, page
from passes import PASSES, forward, training
from table import judged, markdown
from timing import alternate, burn
from torch import Tensor

import gatewise.nn

SHAPES = [Shape(1000, 32, 256), Shape(1000, 1, 256), Shape(100, 32, 128), Shape(10_000, 4, 128)]
GATED = {"MinGRU": "GRU", "MinLSTM": "LSTM"}
TIMES_GATED = {1: 4.0, 32: 2.3}  # training, by batch, at T = 1,000
TIMES_LOG_SPACE = 8.0


def log_space(kind: str, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return h of every step from h0 = 0 by sums and maxima of logarithms, T×B×H."""
    raw = F.linear(x, weight, bias)
    if kind == "MinGRU":
        z, candidate = raw.chunk(2, dim=-1)
        log_stays, log_fresh = -F.softplus(z), -F.softplus(-z)
    else:
        f, i, candidate = raw.chunk(3, dim=-1)
        apart = F.softplus(-f) - F.softplus(-i)
        log_stays, log_fresh = -F.softplus(apart), -F.softplus(-apart)
    positive = torch.where(candidate >= 0, (F.relu(candidate) + 0.5).log(), -F.softplus(-candidate))
    sums = log_stays.cumsum(0)
    return (sums + (log_fresh + positive - sums).logcumsumexp(0)).exp()


def measure(kind: str, shape: Shape, rounds: int) -> tuple[str, ...]:
    """Return the row of a minimal cell at a shape."""
    torch.manual_seed(0)
    torch.compiler.reset()  # after some shapes it would give up
    layer = getattr(gatewise.nn, kind)(shape.H, shape.H, candidate="positive")
    gated = getattr(gatewise.nn, GATED[kind])(shape.H, shape.H)
    x, grad_y = torch.randn(2, shape.T, shape.B, shape.H).unbind()
    weights = list(layer.parameters())
    form = partial(log_space, kind)
    compiled = torch.compile(form)
    calls: dict[str, tuple[Callable[[Tensor], Tensor], list[Tensor]]] = {
        "ours": (lambda x: layer(x)[0], weights),
        "gated": (lambda x: gated(x)[0], list(gated.parameters())),
        "log": (lambda x: form(x, *weights), weights),
        "compiled": (lambda x: compiled(x, *weights), weights),
    }
    runs: dict[str, dict[str, Callable[[], Any]]] = {
        "forward": {name: forward(call, x) for name, (call, _) in calls.items()},
        "training": {name: training(call, own, x, grad_y) for name, (call, own) in calls.items()},
    }
    check(kind, layer, x, grad_y)
    took = {what: alternate(runs[what] | {"peak": burn}, rounds) for what in PASSES}
    times = {
        name: took["training"][name] / took["training"]["ours"]
        for name in ("gated", "log", "compiled")
    }
    flops = 2 * 3 * shape.T * shape.B * layer.weight_ih_l0.numel()
    share = flops / took["training"]["ours"] / (burn() / took["training"]["peak"])
    headline = shape.T == 1000
    return (
        kind,
        judged(times["gated"], TIMES_GATED[shape.B]) if headline else f"{times['gated']:.2f}",
        judged(times["log"], TIMES_LOG_SPACE) if headline else f"{times['log']:.1f}",
        f"{times['compiled']:.1f}",
        f"{took['forward']['log'] / took['forward']['ours']:.1f}",
        f"{100 * share:.0f} %",
        " / ".join(f"{1e3 * took[what]['ours']:.2f}" for what in PASSES),
    )


def check(kind: str, layer: torch.nn.Module, x: Tensor, grad_y: Tensor) -> None:
    """Raise unless both compute the same in float64: in float32 sums of logarithms lose digits."""
    wide = copy.deepcopy(layer).double()
    weights, x, grad_y = list(wide.parameters()), x.double(), grad_y.double()
    sides = [lambda x: wide(x)[0], lambda x: log_space(kind, x, *weights)]
    ours, theirs = (
        dict(enumerate((call(x), *training(call, weights, x, grad_y)()))) for call in sides
    )
    assert_same(
        {str(n): part for n, part in ours.items()}, {str(n): part for n, part in theirs.items()}
    )


COLUMNS = (
    "layer",
    "training, times our GRU / LSTM",
    "training, times log space",
    "times log space compiled",
    "forward, times log space",
    "share of peak, training",
    "ours, ms",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[os.cpu_count()])
    parser.add_argument("--rounds", type=int, default=25, help="turns of each")
    parser.add_argument("--write", action="store_true", help="also write results/minimal_*.md")
    options = parser.parse_args()
    for threads in options.threads:
        torch.set_num_threads(threads)
        pieces = [f"{machine(threads)}."]
        for shape in SHAPES:
            rows = [measure(kind, shape, options.rounds) for kind in GATED]
            pieces.append(f"## {shape}\n\n{markdown(COLUMNS, rows)}")
            print(pieces[-1] + "\n", flush=True)
        if options.write:
            text = "# The minimal cells\n\n" + "\n\n".join(pieces) + "\n"
            page("minimal", threads).write_text(text)


if __name__ == "__main__":
    main()
