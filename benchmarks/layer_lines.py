"""Beside the table of shapes: lengths, memory, single steps, cells, directions, a sweep."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import memory as memory_peak
import torch
from layer_cases import MEMORY, TRACED, VARIABLE, Contest, Shape, shapes_of
from table import judged, markdown
from timing import alternate
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch_loops import drawn_lengths

import gatewise.nn

NEVER_SLOWER = 1.0


def lengths(kind: str, rounds: int) -> str:
    """Return what lengths drawn from 1..T cost in training, beside torch's PackedSequence."""
    rows = []
    for shape in shapes_of(kind)[:3]:
        contest = Contest(shape)
        drawn = drawn_lengths(shape.T, shape.B)
        turns = {f"padded {name}": contest.training(name) for name in contest.layers}
        turns["lengths ours"] = contest.training("ours", lengths=drawn)
        turns["packed torch"] = _packed_training(contest, drawn)
        took = alternate(turns, rounds)
        rows.append(
            (
                str(shape),
                judged(took["lengths ours"] / took["padded ours"], VARIABLE, at_most=True),
                f"{took['packed torch'] / took['padded torch']:.2f}",
                f"{took['packed torch'] / took['lengths ours']:.1f}",
            )
        )
    columns = (
        "lengths uniform in 1..T, training",
        "time / time of full length",
        "torch's PackedSequence",
        "torch / ours",
    )
    return f"## {kind}: variable length\n\n{markdown(columns, rows)}"


def _packed_training(contest: Contest, drawn: torch.Tensor) -> Callable[[], None]:
    layer, shape = contest.layers["torch"], contest.shape
    x = contest.x.clone().requires_grad_()
    grad = torch.randn(int(drawn.sum()), shape.H)

    def run() -> None:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        layer(pack_padded_sequence(x, drawn, enforce_sorted=False))[0].data.backward(grad)

    return run


def last(kind: str, rounds: int) -> str:
    """Return training in which the last step alone counts, as in a classifier of sequences.

    What goes back fades, in the end into denormal numbers, which processors may take a hundred
    cycles for; torch flushes them to zero if it is told to.
    """
    rows = []
    for sizes in ((50, 32, 128), (200, 16, 256), (1000, 8, 128)):
        contest = Contest(Shape(*sizes, kind=kind))
        turns = {name: _last_step(contest, name) for name in contest.layers}
        turns["flushed"] = _last_step(contest, "torch", flush=True)
        took = alternate(turns, max(3, rounds // 3))
        rows.append(
            (
                str(contest.shape),
                judged(took["torch"] / took["ours"], NEVER_SLOWER),
                f"{took['flushed'] / took['ours']:.2f}",
                " / ".join(f"{1e3 * took[name]:.1f}" for name in ("ours", "torch", "flushed")),
            )
        )
    columns = (
        "training, the last step alone counts",
        "times torch",
        "times torch with set_flush_denormal",
        "ours / torch / flushed, ms",
    )
    return f"## {kind}: the last step alone\n\n{markdown(columns, rows)}"


def _last_step(contest: Contest, name: str, *, flush: bool = False) -> Callable[[], None]:
    layer = contest.layers[name]
    x = contest.x.clone().requires_grad_()

    def run() -> None:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        torch.set_flush_denormal(flush)
        layer(x)[0][-1].sum().backward()
        torch.set_flush_denormal(False)

    return run


def memory() -> str:
    """Return the peak memory of a training step, each library in a fresh process."""
    T, B, H = 1000, 32, 256
    peak = {name: memory_peak.step_peak(name, T, B, H) for name in ("ours", "torch")}
    row = (
        f"T{T} B{B} H{H}",
        judged(peak["ours"] / peak["torch"], MEMORY, at_most=True),
        f"{peak['ours'] / 2**20:.0f}",
        f"{peak['torch'] / 2**20:.0f}",
    )
    columns = ("training step", "peak / torch's", "ours, MiB", "torch, MiB")
    return f"## LSTM: memory\n\n{markdown(columns, [row])}"


def trace(kind: str, rounds: int) -> str:
    """Return what a trace of every gate and state costs, forward."""
    rows = []
    for shape in shapes_of(kind):
        contest = Contest(shape)
        turns = {
            "plain": contest.forward("ours"),
            "traced": contest.forward("ours", trace=True),
        }
        took = alternate(turns, rounds)
        rows.append((str(shape), judged(took["traced"] / took["plain"], TRACED, at_most=True)))
    return f"## {kind}: trace=True\n\n{markdown(('forward', 'time / time without'), rows)}"


def steps(kind: str, rounds: int) -> str:
    """Return single steps of one sequence through the layer, forward."""
    rows = []
    for hidden in (16, 32, 64, 128, 256, 512):
        contest = Contest(Shape(1, 1, hidden, kind=kind))
        took = alternate({n: contest.forward(n) for n in contest.layers}, 4 * rounds)
        rows.append((f"H{hidden}", *_beside(took)))
    columns = ("one step, batch 1", f"times torch.nn.{kind}", "ours, µs", "torch, µs")
    return f"## {kind}: single steps\n\n{markdown(columns, rows)}"


def cells(kind: str, rounds: int) -> str:
    """Return loops over the cell, as decoders have them."""
    rows = []
    for batch, hidden in product((1, 32), (16, 128, 512)):
        torch.manual_seed(0)
        cells = {
            name: getattr(library, f"{kind}Cell")(hidden, hidden)
            for name, library in (("torch", nn), ("ours", gatewise.nn))
        }
        inputs = torch.randn(20, batch, hidden)
        loops = {name: _cell_loop(cell, inputs) for name, cell in cells.items()}
        with torch.no_grad():
            took = alternate(loops, 2 * rounds)
        rows.append((f"B{batch} H{hidden} forward", *_beside(took)))
        train = {name: _trained(loop) for name, loop in loops.items()}
        rows.append((f"B{batch} H{hidden} training", *_beside(alternate(train, 2 * rounds))))
    columns = ("20 steps", f"times torch.nn.{kind}Cell", "ours, µs", "torch, µs")
    return f"## Loops over {kind}Cell\n\n{markdown(columns, rows)}"


def _cell_loop(cell: nn.Module, inputs: torch.Tensor) -> Callable[[], torch.Tensor]:
    def run() -> torch.Tensor:
        state = None
        for x in inputs:
            state = cell(x, state)
        assert state is not None  # noqa: S101 - there are steps
        return state if isinstance(state, torch.Tensor) else state[0]

    return run


def _trained(loop: Callable[[], torch.Tensor]) -> Callable[[], None]:
    return lambda: loop().sum().backward()


def directions(kind: str, rounds: int) -> str:
    """Return layers that run both ways, and those whose batch comes first."""
    rows = []
    for options in ({"bidirectional": True}, {"batch_first": True}):
        for shape in (Shape(100, 32, 128, kind=kind), Shape(100, 64, 256, kind=kind)):
            contest = Contest(shape, **options)
            contest.check()
            for what in ("forward", "training"):
                run = getattr(contest, what)
                took = alternate({name: run(name) for name in contest.layers}, rounds)
                rows.append((f"{shape} {', '.join(options)}, {what}", *_beside(took)))
    columns = ("options", "times torch", "ours, µs", "torch, µs")
    return f"## {kind}: directions and layouts\n\n{markdown(columns, rows)}"


def sweep(kind: str, rounds: int, worst: int = 12) -> str:
    """Return the shapes at which we gain least, of a grid from tiny to large.

    Each is timed briefly; the worst are then timed again, longer, since the worst of many short
    timings is mostly noise.
    """
    grid = [
        Shape(*sizes, kind=kind)
        for sizes in product((1, 10, 50), (1, 16, 256), (1, 4, 20, 32, 128, 200, 256))
    ]
    found = [
        (_ratio(_timed(shape, what, max(3, rounds // 3))), shape, what)
        for shape in grid
        for what in ("forward", "training")
    ]
    found.sort(key=lambda item: item[0])
    again = [(shape, what, _timed(shape, what, 2 * rounds)) for _, shape, what in found[:worst]]
    again.sort(key=lambda item: _ratio(item[2]))
    rows = [(f"{shape} {what}", *_beside(took)) for shape, what, took in again]
    slower = sum(_ratio(took) < NEVER_SLOWER for *_, took in again)
    columns = (f"the worst {worst} of {len(found)}", "times torch", "ours, µs", "torch, µs")
    return (
        f"## {kind}: no shape slower than torch\n\n{markdown(columns, rows)}\n\n"
        f"Slower than torch: {slower} of {len(found)}."
    )


def _timed(shape: Shape, what: str, rounds: int) -> dict[str, float]:
    contest = Contest(shape)
    run = getattr(contest, what)
    return alternate({name: run(name) for name in contest.layers}, rounds, least=1e-3)


def _ratio(took: dict[str, float]) -> float:
    return took["torch"] / took["ours"]


def _beside(took: dict[str, float]) -> tuple[str, str, str]:
    return (
        judged(_ratio(took), NEVER_SLOWER),
        f"{1e6 * took['ours']:.1f}",
        f"{1e6 * took['torch']:.1f}",
    )
