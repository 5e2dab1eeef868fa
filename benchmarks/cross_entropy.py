"""The output layer with its loss: LinearCrossEntropy beside torch's Linear and cross_entropy.

    python benchmarks/cross_entropy.py               a few minutes
    python benchmarks/cross_entropy.py --write       also into results/cross_entropy_*.md

A call is forward and backward with the gradients of input, weight and bias. torch runs as it comes,
and with its products in bfloat16 (autocast); ours in float32 and with `precision="bf16"`. All take
turns, and that they compute the same is checked first. Memory is how far a process of its own rises
during a call, less the gradient of the weight.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from machine import machine, page
from memory import rise
from table import judged, markdown
from timing import alternate, peak_flops
from torch import Tensor

from gatewise.nn import LinearCrossEntropy

SHAPES = ((400, 200, 10_000), (700, 650, 10_000), (1024, 512, 20_000), (2048, 650, 50_000))
TIMES_TORCH = {"full": 0.5, "bf16": 0.8}
TIMES_MEMORY = 0.2
SIDES = ("ours", "torch")


class Call:
    """Forward and backward of one side on one shape.

    Args:
        side: ``ours`` or ``torch``.
        precision: ``full`` or ``bf16``.
        shape: N, H and V.
    """

    def __init__(self, side: str, precision: str, shape: tuple[int, int, int]) -> None:
        N, H, V = shape
        torch.manual_seed(0)
        self.side, self.precision = side, precision
        self.layer = LinearCrossEntropy(H, V, precision=precision)
        self.x = torch.randn(N, H, requires_grad=True)
        self.target = torch.randint(V, (N,))
        self.inputs = [self.x, *self.layer.parameters()]

    def __call__(self) -> Tensor:
        for each in self.inputs:
            each.grad = None
        loss = self.layer(self.x, self.target) if self.side == "ours" else self._torch()
        loss.backward()
        return loss

    def _torch(self) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            return F.cross_entropy(self.layer.logits(self.x), self.target)


def check(calls: dict[str, Call]) -> None:
    """Raise unless both sides give the same gradients, as far as their precision goes."""
    made = {}
    for side, call in calls.items():
        call()
        made[side] = [each.grad.clone() for each in call.inputs]
    allowed = 1e-4 if calls["ours"].precision == "full" else 3e-2
    for mine, theirs in zip(made["ours"], made["torch"], strict=True):
        error = float((mine - theirs).norm() / theirs.norm())
        if not error < allowed:
            raise SystemExit(f"gradients differ by {error:.2g}, allowed {allowed:g}")


def measure(shape: tuple[int, int, int], precision: str, rounds: int) -> tuple[str, ...]:
    """Return the line of one shape."""
    N, H, V = shape
    calls = {side: Call(side, precision, shape) for side in SIDES}
    check(calls)
    took = alternate(calls, rounds)
    share = 6 * N * H * V / took["ours"] / peak_flops(bf16=precision == "bf16")
    theirs = 6 * N * H * V / took["torch"] / peak_flops(bf16=precision == "bf16")
    memory = {side: extra(side, precision, shape) for side in SIDES}
    return (
        f"N{N} H{H} V{V}, {'bf16' if precision == 'bf16' else 'f32'}",
        judged(took["ours"] / took["torch"], TIMES_TORCH[precision], at_most=True),
        f"{100 * share:.0f} / {100 * theirs:.0f} %",
        " / ".join(f"{1e3 * took[side]:.1f}" for side in SIDES),
        judged(memory["ours"] / memory["torch"], TIMES_MEMORY, at_most=True),
        " / ".join(f"{memory[side] / 2**20:.0f}" for side in SIDES),
    )


def extra(side: str, precision: str, shape: tuple[int, int, int]) -> int:
    """Return the bytes by which a fresh process rises in a call, but for the weight's gradient."""
    told = [sys.executable, __file__, "--memory", side, precision, *map(str, shape)]
    done = subprocess.run(told, capture_output=True, text=True, check=True)
    _, H, V = shape
    return int(done.stdout) - 4 * H * V


def tell_memory(side: str, precision: str, *sizes: str) -> None:
    """Print the rise of this process in one call."""
    N, H, V = map(int, sizes)
    Call(side, precision, (64, 64, 64))()  # loads code and starts threads; what it keeps is small
    call: Callable[[], object] = Call(side, precision, (N, H, V))
    print(rise(call))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=15, help="turns of each")
    parser.add_argument(
        "--write", action="store_true", help="also write results/cross_entropy_*.md"
    )
    parser.add_argument("--memory", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        tell_memory(*options.memory)
        return
    torch.set_num_threads(options.threads)
    rows = []
    for precision in ("full", "bf16"):
        for shape in SHAPES:
            rows.append(measure(shape, precision, options.rounds))
            print(*rows[-1], sep="  ", flush=True)
    columns = (
        "rows, columns, classes",
        "time / torch's",
        "share of the peak, ours / torch",
        "ms, ours / torch",
        "memory / torch's",
        "MiB, ours / torch",
    )
    reason = LinearCrossEntropy(*SHAPES[0][1:]).explain()
    head = (
        f"# The output layer with its loss\n\n{machine(options.threads)}. "
        f"Ours in float32: {reason}. "
        "Shares of the peak are of multiply-adds in the precision of the row.\n\n"
    )
    text = f"{head}{markdown(columns, rows)}\n"
    print(text)
    if options.write:
        page("cross_entropy", options.threads).write_text(text)


if __name__ == "__main__":
    main()
