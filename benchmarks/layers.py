"""The layers beside those of torch.nn, onnxruntime and Keras on JAX, against their targets.

    python benchmarks/layers.py                  all of it, on all cores: a good half hour
    python benchmarks/layers.py --threads 1 2    on one thread, then on two
    python benchmarks/layers.py --quick          few rounds: for a look while developing
    python benchmarks/layers.py --minute         two shapes beside every library, in a minute
    python benchmarks/layers.py --kinds GRU      one kind of layer
    python benchmarks/layers.py --write          also into results/layers_*.md

Every number is a median over turns that alternate between the libraries, measured from Python
through autograd; ratios are times the other library's speed. Training is forward and the gradients
of the input, both weights and both biases. The share is that of the multiply-adds that the machine
could do in the same run, of float32 or of bfloat16. With --precision bf16 torch is under autocast,
and our own layer in float32 stands beside. Absolute times depend on the machine and have no target.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import layer_lines
import peer
import torch
from layer_cases import GATES, MEAN_TRAINING, PRECISIONS, SHAPES, Contest, Shape, shapes_of
from layer_peers import LIBRARIES, against
from machine import machine, page
from table import judged, markdown
from timing import alternate, burn, peak_flops

from gatewise.ops.kernels import IN_PARTS, KERNELS, LARGE, isa_name

BESIDE_TORCH = ("lengths", "last", "trace", "steps", "cells", "directions", "sweep")
PARTS = ("table", *LIBRARIES, "memory", *BESIDE_TORCH)
IN_BF16 = ("table", "keras")
OWN_FLOAT32 = 1.5  # how many times faster than in float32 from H = 256 on
PRESETS = {
    "full": {"rounds": 25, "shapes": "", "parts": PARTS},
    "quick": {"rounds": 5, "shapes": "", "parts": PARTS},
    "minute": {
        "rounds": 5,
        "shapes": "^(T100 B32 H128|T200 B128 H64)$",
        "parts": ("table", *LIBRARIES),
    },
}
NO_KERAS = """\
Keras on JAX: left out, {python} does not have them. They need an environment of their own:
    make peers
or python3 -m venv DIR; DIR/bin/pip install -r benchmarks/peers.txt; and then
    GATEWISE_KERAS_PYTHON=DIR/bin/python, or --keras-python DIR/bin/python
"""


def main() -> None:
    options = _options()
    versions = _peers(options)
    for threads in options.threads:
        torch.set_num_threads(threads)
        pieces = []
        for text in _pieces(options, threads, versions):
            print(text + "\n", flush=True)
            pieces.append(text)
        if options.write:
            text = "# The layers\n\n" + "\n\n".join(pieces) + "\n"
            page(_stem(options.precision), threads).write_text(text)


def _stem(precision: str) -> str:
    """Return the name of the page: tile registers and bfloat16 have pages of their own."""
    if precision == "bf16":
        isa = isa_name(bf16=True)
        return f"layers_{isa}_bf16" if isa == "amx" else f"layers_{isa}"
    return "layers_amx_f32" if IN_PARTS in KERNELS else "layers"


def _pieces(
    options: argparse.Namespace, threads: int, versions: dict[str, dict[str, str]]
) -> Iterator[str]:
    """Measure on so many threads; yield the page, table by table."""
    known = {name: number for each in versions.values() for name, number in each.items()}
    bf16 = options.precision == "bf16"
    peak = f"peak {peak_flops(bf16=bf16) / 1e9:.0f} GF/s in {options.precision}"
    products = f"Products in {options.precision}, {isa_name(bf16=bf16)}"
    if not bf16 and IN_PARTS in KERNELS:
        products += (
            f", and {KERNELS[IN_PARTS].isa} from {LARGE.rows} rows, {LARGE.units} units and "
            f"{LARGE.columns} columns of gates on. Shares of the peak are of multiply-adds"
        )
    yield f"{machine(threads, known)}, {peak}. {products}."
    with ExitStack() as stack:
        peers = {
            name: stack.enter_context(peer.start_peer(name, threads, options.pythons[name]))
            for name in versions
        }
        for kind in options.kinds:
            shapes = [
                shape
                for shape in shapes_of(kind, options.precision)
                if re.search(options.shapes, str(shape))
            ]
            if "table" in options.parts:
                yield against_torch(kind, shapes, options.rounds, options.precision)
            for each in peers.values():
                yield against(kind, shapes, options.rounds, each, options.precision)
            if "memory" in options.parts and kind == "LSTM":
                yield layer_lines.memory()
            for part in BESIDE_TORCH:
                if part in options.parts:
                    yield getattr(layer_lines, part)(kind, options.rounds)


def against_torch(kind: str, shapes: list[Shape], rounds: int, precision: str) -> str:
    """Return the table of shapes: forward and training beside torch, and the share of the peak."""
    rows, ratios, remarks = [], [], []
    for shape in shapes:
        contest = Contest(shape, precision)
        remarks.append(contest.check())
        turns = {f"forward {name}": contest.forward(name) for name in contest.layers}
        turns |= {f"training {name}": contest.training(name) for name in contest.layers}
        if precision == "bf16":
            turns["f32"] = Contest(shape).training("ours")
        turns["peak"] = multiply = partial(burn, bf16=precision == "bf16")
        took = alternate(turns, rounds)
        peak = multiply() / took["peak"]
        own = took["f32"] / took["training ours"] if "f32" in took else 0.0
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
                *([judged(own, OWN_FLOAT32 if shape.H >= 256 else 1.0)] if own else []),
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
        *(["training, times our float32"] if precision == "bf16" else []),
    )
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    judgement = f"{mean:.2f}"
    if (kind, precision) == ("LSTM", "f32") and len(shapes) == len(SHAPES):
        judgement = judged(mean, MEAN_TRAINING)
    return (
        f"## {kind}: beside torch.nn.{kind}\n\n{markdown(columns, rows)}\n\n"
        + "".join(f"{remark}\n\n" for remark in remarks if remark)
        + f"Geometric mean of training: {judgement}"
    )


def _share(value: float, target: float) -> str:
    return judged(value, target, percent=True) if target else f"{100 * value:.0f} %"


def _peers(options: argparse.Namespace) -> dict[str, dict[str, str]]:
    """Return the versions of every peer that takes part, by the name of the peer."""
    found = {}
    for name in (name for name in LIBRARIES if name in options.parts):
        python = options.pythons[name]
        versions = peer.versions(LIBRARIES[name].packages, python)
        if versions is not None:
            found[name] = versions
        elif name != "keras" or options.keras_python:
            wanted = " and ".join(LIBRARIES[name].packages)
            raise SystemExit(f"{python}: does not have {wanted}. See docs/benchmarks.md.")
        else:
            print(NO_KERAS.format(python=python))
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[os.cpu_count()], help="for every library"
    )
    parser.add_argument("--kinds", nargs="+", choices=GATES, default=list(GATES))
    parser.add_argument("--precision", choices=PRECISIONS, default="f32", help="of the products")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="what to measure")
    parser.add_argument("--shapes", help="only shapes that this pattern finds")
    parser.add_argument("--rounds", type=int, help="turns of each library (25; 5 with --quick)")
    preset = parser.add_mutually_exclusive_group()
    for name, about in (("quick", "few rounds"), ("minute", "few rounds, two shapes, no extras")):
        preset.add_argument(
            f"--{name}", dest="preset", action="store_const", const=name, help=about, default="full"
        )
    parser.add_argument(
        "--keras-python",
        default=os.environ.get("GATEWISE_KERAS_PYTHON"),
        help="an interpreter with keras and jax (the variable GATEWISE_KERAS_PYTHON, or this one)",
    )
    parser.add_argument("--write", action="store_true", help="also write results/layers_*.md")
    options = parser.parse_args()
    options.pythons = {
        "onnxruntime": sys.executable,
        "keras": options.keras_python or sys.executable,
    }
    if options.precision == "bf16":
        if set(options.parts or ()) - set(IN_BF16):
            parser.error(f"--precision bf16: expected --parts of {', '.join(IN_BF16)}.")
        options.parts = options.parts or IN_BF16
    for name, value in PRESETS[options.preset].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if not any(re.search(options.shapes, str(shape)) for shape in SHAPES):
        parser.error(f"--shapes: {options.shapes} finds none of {', '.join(map(str, SHAPES))}.")
    return options


if __name__ == "__main__":
    main()
