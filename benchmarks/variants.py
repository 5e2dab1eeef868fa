"""The variants of the layers beside the best that a torch user has: a Python loop over the steps.

    python benchmarks/variants.py                        all of it; torch.compile takes most of it
    python benchmarks/variants.py --threads 1 2          on one thread, then on two
    python benchmarks/variants.py --variants zoneout     one of them
    python benchmarks/variants.py --compile-limit 0      without torch.compile
    python benchmarks/variants.py --write                also into results/variants_*.md

The loops stand in torch_loops.py, with what torch has fused. They run in our process, in turn with
our variant and our plain layer; forward is inference, training is forward and the gradients of the
input and every weight, with masks drawn. At the first shape the loops are also compiled, each in a
process of its own that is ended at the limit. That both sides compute the same is checked first.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import peer
import torch
from compile_peer import LoopTask
from layer_cases import VARIABLE, Shape, assert_same
from machine import machine, page
from passes import PASSES, forward, training
from table import judged, markdown
from timing import alternate
from torch_loops import DROPOUT, LOOPS, ZONEOUT, drawn_lengths

import gatewise.nn

SHAPES = [Shape(100, 32, 128), Shape(100, 64, 256), Shape(200, 128, 64)]
COLUMNS = (
    "variant",
    "torch's",
    "forward, times torch's",
    "training, times torch's",
    "forward, times torch's compiled",
    "training, times torch's compiled",
    "forward, time / plain layer's",
    "training, time / plain layer's",
    "ours, ms",
)
TIMES_LOOP = 10.0  # training, at the first shape, where the loop is one over cells


@dataclass(frozen=True)
class Variant:
    """An option of our layers, and its targets.

    Args:
        name: The start of its loop's name.
        kind: The layer.
        options: For the constructor of our layer.
        at_most: Training time by that of the plain layer.
        least_hidden: The smallest H for which ``at_most`` is the target.
        fused: What torch has for it that is no loop and needs no compilation.
        lengths: Whether our layer is called with lengths.
    """

    name: str
    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    at_most: float = 1.15
    least_hidden: int = 1
    fused: str = ""
    lengths: bool = False

    def __str__(self) -> str:
        return f"{self.kind}, {self.name.replace('_', ' ')}"

    @property
    def loop(self) -> str:
        """The name of its loop."""
        return f"{self.name}_{self.kind.lower()}"


NORMALISED = {"options": {"layer_norm": True}, "at_most": 1.4, "least_hidden": 128}
VARIANTS = [
    Variant("peephole", "LSTM", {"peephole": True}),
    Variant("coupled", "LSTM", {"coupled_gates": True}),
    Variant("layer_norm", "LSTM", **NORMALISED),
    Variant("recurrent_dropout", "LSTM", {"recurrent_dropout": DROPOUT}),
    Variant("zoneout", "LSTM", {"zoneout": (ZONEOUT, ZONEOUT)}),
    Variant("weight_dropout", "LSTM", {"weight_dropout": DROPOUT}, 1.2, fused="LSTM"),
    Variant("lengths", "LSTM", at_most=VARIABLE, fused="PackedSequence", lengths=True),
    Variant("layer_norm", "GRU", **NORMALISED),
    Variant("recurrent_dropout", "GRU", {"recurrent_dropout": DROPOUT}),
    Variant("zoneout", "GRU", {"zoneout": ZONEOUT}),
    Variant("reset_before", "GRU", {"reset_after": False}),
]


class LoopContest:
    """Our layer, its plain twin and the loop over our layer's weights, on the same input."""

    def __init__(self, variant: Variant, shape: Shape) -> None:
        torch.manual_seed(0)
        self.variant = variant
        make = getattr(gatewise.nn, variant.kind)
        self.layer = make(shape.H, shape.H, **variant.options)
        self.plain = make(shape.H, shape.H)
        self.weights = {
            name.removesuffix("_l0"): weight for name, weight in self.layer.named_parameters()
        }
        with torch.no_grad():  # nothing is to vanish because it begins at zero
            for vector in (weight for weight in self.weights.values() if weight.dim() == 1):
                vector.add_(0.1 * torch.randn_like(vector))
        self.call = {"lengths": drawn_lengths(shape.T, shape.B)} if variant.lengths else {}
        self.x, self.grad_y = torch.randn(2, shape.T, shape.B, shape.H).unbind()

    def turns(self, what: str, *, train: bool) -> dict[str, Callable[[], Any]]:
        """Return what is timed in a pass, with or without random masks."""
        self.layer.train(train)
        calls = {
            "ours": lambda x: self.layer(x, **self.call)[0],
            "plain": lambda x: self.plain(x)[0],
            "loop": lambda x: LOOPS[self.variant.loop](self.weights, x, train),
        }
        if what == "forward":
            return {name: forward(call, self.x) for name, call in calls.items()}
        weights = list(self.weights.values())
        theirs = {"ours": weights, "plain": list(self.plain.parameters()), "loop": weights}
        return {
            name: training(call, theirs[name], self.x, self.grad_y) for name, call in calls.items()
        }

    def check(self) -> None:
        """Raise unless ours and the loop compute the same where nothing is random."""
        runs = {what: self.turns(what, train=False) for what in PASSES}
        ours, loop = (
            dict(
                zip(
                    ("y", "x", *self.weights),
                    (runs["forward"][name](), *runs["training"][name]()),
                    strict=True,
                )
            )
            for name in ("ours", "loop")
        )
        # Norms magnify rounding errors with every step: in float64 both agree to 4e-12 after 200,
        # in float32 each is 3e-3 off.
        assert_same(ours, loop, 1e-2 if "norm" in self.variant.name else 1e-4)


def measure(
    variant: Variant, shape: Shape, rounds: int, compile_limit: float, threads: int
) -> tuple[str, ...]:
    """Return the row of a variant; without a limit nothing is compiled."""
    contest = LoopContest(variant, shape)
    contest.check()
    took, compiled = {}, []
    for what in PASSES:
        turns = contest.turns(what, train=what == "training")
        took[what] = alternate(turns, rounds)
        if variant.fused or not compile_limit:
            compiled.append("")
        else:
            limits = (rounds, compile_limit, threads)
            compiled.append(_beside_compiled(contest, what, turns["ours"], *limits))
    loop = {what: took[what]["loop"] / took[what]["ours"] for what in PASSES}
    plain = {what: took[what]["ours"] / took[what]["plain"] for what in PASSES}
    headline = replace(shape, kind=SHAPES[0].kind) == SHAPES[0]
    return (
        str(variant),
        variant.fused or "loop",
        f"{loop['forward']:.1f}",
        judged(loop["training"], TIMES_LOOP)
        if headline and not variant.fused
        else f"{loop['training']:.1f}",
        *compiled,
        f"{plain['forward']:.2f}",
        judged(plain["training"], variant.at_most, at_most=True)
        if variant.least_hidden <= shape.H
        else f"{plain['training']:.2f}",
        " / ".join(f"{1e3 * took[what]['ours']:.2f}" for what in PASSES),
    )


def _beside_compiled(
    contest: LoopContest,
    what: str,
    ours: Callable[[], Any],
    rounds: int,
    limit: float,
    threads: int,
) -> str:
    """Return how many times as fast as the compiled loop ours is, or that it does not compile."""
    task = LoopTask(
        contest.variant.loop,
        {name: weight.detach().numpy() for name, weight in contest.weights.items()},
        contest.x.numpy(),
        contest.grad_y.numpy() if what == "training" else None,
    )
    with peer.start_peer("compile", threads) as compiled:
        try:
            compiled.load(task, limit=limit)
        except TimeoutError:
            return f"does not compile in {limit:g} s"
        except RuntimeError:
            return "does not compile"
        took, theirs = compiled.beside(rounds, ours)
    return f"{theirs / took:.1f}"


def main() -> None:
    options = _options()
    variants = [v for v in VARIANTS if re.search(options.variants, str(v))]
    if not variants:
        raise SystemExit(f"--variants: none of {', '.join(map(str, VARIANTS))}.")
    for threads in options.threads:
        torch.set_num_threads(threads)
        pieces = [f"{machine(threads)}."]
        print(pieces[0], flush=True)
        for shape in SHAPES[: options.shapes]:
            limit = options.compile_limit if shape is SHAPES[0] else 0
            rows = []
            for variant in variants:
                cell = replace(shape, kind=variant.kind)
                rows.append(measure(variant, cell, options.rounds, limit, threads))
                print(rows[-1], flush=True)
            pieces.append(f"## {shape}\n\n{markdown(COLUMNS, rows)}")
            print(f"\n{pieces[-1]}\n", flush=True)
        if options.write:
            page("variants", threads).write_text("# The variants\n\n" + "\n\n".join(pieces) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[os.cpu_count()])
    parser.add_argument("--rounds", type=int, default=25, help="turns of each")
    parser.add_argument("--variants", default="", help="only variants that this pattern finds")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="only the first so many")
    parser.add_argument(
        "--compile-limit", type=float, default=240.0, help="seconds for a loop; 0 for none at all"
    )
    parser.add_argument("--write", action="store_true", help="also write results/variants_*.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
