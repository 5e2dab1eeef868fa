"""The layers beside those of torch.nn and onnxruntime, against their targets.

    python benchmarks/layers.py               all of it, some minutes on a quiet machine
    python benchmarks/layers.py --quick       few rounds: for a look while developing
    python benchmarks/layers.py --kinds GRU   one kind of layer
    python benchmarks/layers.py --write       also into results/layers.md

Every number is a median over turns that alternate between the libraries, measured from Python
through autograd; ratios are times torch's (or onnxruntime's) speed. Training is forward and the
gradients of the input, both weights and both biases. The share is that of the multiply-adds that
the machine could do in the same run. Absolute times depend on the machine and have no target.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
import os
import platform
import re
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import layer_lines
import numpy as np
import ort_peer
import torch
from layer_cases import GATES, MEAN_TRAINING, ONNXRUNTIME, Contest, Shape, shapes_of
from ort_peer import Peer
from table import judged, markdown
from timing import alternate, burn, peak_flops, seconds_awake

from gatewise import __version__
from gatewise.ops import native

RESULTS = Path(__file__).parent / "results" / "layers.md"
PARTS = (
    "table",
    "onnxruntime",
    "lengths",
    "trace",
    "memory",
    "steps",
    "cells",
    "directions",
    "sweep",
)


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    pieces = [_machine(options.threads)]

    def show(text: str) -> None:
        print(text + "\n", flush=True)
        pieces.append(text)

    print(pieces[0] + "\n", flush=True)
    for kind in options.kinds:
        shapes = [s for s in shapes_of(kind) if re.search(options.shapes, str(s))]
        if "table" in options.parts:
            show(against_torch(kind, shapes, options.rounds))
        if "onnxruntime" in options.parts:
            with ort_peer.start_peer(options.threads) as peer:
                show(against_onnxruntime(kind, shapes, options.rounds, peer))
        if "memory" in options.parts and kind == "LSTM":
            show(layer_lines.memory())
        for part in ("lengths", "trace", "steps", "cells", "directions", "sweep"):
            if part in options.parts:
                show(getattr(layer_lines, part)(kind, options.rounds))
    if options.write:
        RESULTS.write_text("# The layers\n\n" + "\n\n".join(pieces) + "\n")


def against_torch(kind: str, shapes: list[Shape], rounds: int) -> str:
    """Return the table of shapes: forward and training beside torch, and the share of the peak."""
    rows, ratios = [], []
    for shape in shapes:
        contest = Contest(shape)
        contest.check()
        turns = {f"forward {name}": contest.forward(name) for name in contest.layers}
        turns |= {f"training {name}": contest.training(name) for name in contest.layers}
        took = alternate(turns | {"peak": burn}, rounds)
        peak = burn() / took["peak"]
        forward = took["forward torch"] / took["forward ours"]
        training = took["training torch"] / took["training ours"]
        ratios.append(training)
        speed = {
            "forward": shape.flops / took["forward ours"],
            "training": 3 * shape.flops / took["training ours"],
        }
        rows.append(
            (
                str(shape),
                judged(forward, shape.forward),
                judged(training, shape.training),
                _share(speed["training"] / peak, shape.share),
                f"{100 * speed['forward'] / peak:.0f} %",
                f"{speed['forward'] / 1e9:.0f} / {speed['training'] / 1e9:.0f}",
                f"{peak / 1e9:.0f}",
            )
        )
        print(rows[-1], flush=True)
    columns = (
        f"{kind}, I = H",
        "forward, times torch",
        "training, times torch",
        "share of peak, training",
        "forward",
        "GF/s",
        "peak",
    )
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    judgement = judged(mean, MEAN_TRAINING) if kind == "LSTM" else f"{mean:.2f}"
    return (
        f"## {kind}: beside torch.nn.{kind}\n\n{markdown(columns, rows)}\n\n"
        f"Geometric mean of training: {judgement}"
    )


def _share(value: float, target: float) -> str:
    return judged(value, target, percent=True) if target else f"{100 * value:.0f} %"


def against_onnxruntime(kind: str, shapes: list[Shape], rounds: int, peer: Peer) -> str:
    """Return the table of forward passes beside onnxruntime's, after a silence before each."""
    rows = []
    for shape in shapes:
        contest = Contest(shape)
        run = contest.forward("ours")
        weights = [w.detach().numpy() for w in contest.layers["ours"].parameters()]
        layers = [ort_peer.Layer(*weights[n : n + 4]) for n in range(0, len(weights), 4)]
        theirs = peer.load(kind, layers, contest.x.numpy())
        # A wrong result has no speed.
        np.testing.assert_allclose(run().numpy(), theirs, rtol=0, atol=1e-4)
        samples: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(rounds):
            time.sleep(ort_peer.IDLE)
            samples["ours"].append(seconds_awake(run))
            samples["theirs"].append(peer.seconds())
        took = {name: median(values) for name, values in samples.items()}
        rows.append(
            (
                str(shape),
                judged(took["theirs"] / took["ours"], ONNXRUNTIME[kind]),
                f"{1e3 * took['ours']:.2f}",
                f"{1e3 * took['theirs']:.2f}",
            )
        )
    columns = (f"{kind}, I = H", "forward, times onnxruntime", "ours, ms", "onnxruntime, ms")
    return f"## {kind}: beside onnxruntime, in a process of its own\n\n{markdown(columns, rows)}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for both libraries")
    parser.add_argument("--rounds", type=int, help="turns of each library (25; 5 with --quick)")
    parser.add_argument("--kinds", nargs="+", choices=GATES, default=list(GATES))
    parser.add_argument("--shapes", default="", help="only shapes that this pattern finds")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--write", action="store_true", help=f"also write results/{RESULTS.name}")
    options = parser.parse_args()
    options.rounds = options.rounds or (5 if options.quick else 25)
    return options


def _machine(threads: int) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime"))
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, gatewise {__version__} "
        f"({native.isa_name()}), {versions}, Python {platform.python_version()}, "
        f"{found[1] if found else platform.machine()}, {threads} of {os.cpu_count()} cores, "
        f"peak {peak_flops() / 1e9:.0f} GF/s in float32."
    )


if __name__ == "__main__":
    main()
