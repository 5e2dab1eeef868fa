"""A layer whose pieces are run as sequences of their own.

What `reset` means, taken at its word: every piece between cuts becomes a row that begins at step 0,
and a direction against time has its rows turned round. The loops reach the same without moving
anything; this is for what must meet steps by their distance from the beginning of their piece. It
takes the room of as many rows as there are pieces, each as long as the longest. How many there are
depends on data, so a compiler's graph breaks here where there is a ``reset``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatewise.ops._operands import Operands

Result = tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor] | None]
"""What `gatewise.ops.operators.recurrent` returns: y, the final states, perhaps a trace."""


class _Pieces(NamedTuple):
    """Where the steps of all sequences go in one direction, and where from.

    Args:
        time: The original step of each step of each piece, T'×R.
        row: The original row of each piece, [R].
        lengths: Valid steps of each piece, [R].
        begins: Whether a piece begins with the initial state of its row, not after a cut, [R].
        step: The step in its piece of each original step, T×B.
        piece: The piece of each original step, T×B.
        last: The piece that each row ends with, [B].
    """

    time: Tensor
    row: Tensor
    lengths: Tensor
    begins: Tensor
    step: Tensor
    piece: Tensor
    last: Tensor


def run_apart(operands: Operands, run: Callable[[Operands], Result]) -> Result:
    """Run a layer piece by piece.

    Args:
        operands: Of the layer, in all its directions.
        run: How to run pieces: one direction with time, without resets.

    Returns:
        What ``run`` would return of the whole. Masks are drawn for each piece.
    """
    results = [_run_direction(operands, d, run) for d in range(operands.states[0].shape[0])]
    outputs, finals, traces = zip(*results, strict=True)
    final = tuple(torch.cat(parts) for parts in zip(*finals, strict=True))
    trace = traces[0] and {name: torch.cat([part[name] for part in traces]) for name in traces[0]}
    return torch.cat(outputs, -1), final, trace


def _run_direction(operands: Operands, d: int, run: Callable[[Operands], Result]) -> Result:
    x, options = operands.x, operands.options
    reverse = d == 1 or options.reverse
    count = len(operands.weights) // operands.states[0].shape[0]
    own = operands._replace(
        states=[state[d : d + 1] for state in operands.states],
        weights=operands.weights[d * count : (d + 1) * count],
        restart=(),
        statistics=operands.statistics and operands.statistics.direction(d),
        options=options._replace(stream=options.stream + (d or int(reverse)), reverse=False),
    )
    T, B, _ = x.shape
    reset = operands.reset if B else None
    if not reverse and reset is None:
        return run(own._replace(reset=None))
    lengths = operands.lengths
    ends = torch.full((B,), T, device=x.device) if lengths is None else lengths
    pieces = _part(reset, ends, T, reverse=reverse)
    after_cut = [part[d : d + 1] for part in operands.restart]
    y, final, trace = run(
        own._replace(
            x=x[pieces.time, pieces.row],
            states=_begin(own.states, after_cut, pieces),
            lengths=pieces.lengths,
            reset=None,
        )
    )
    valid = (torch.arange(T, device=x.device).unsqueeze(1) < ends).unsqueeze(-1)

    def back(part: Tensor) -> Tensor:
        found = part[pieces.step, pieces.piece]
        return torch.where(valid, found, torch.zeros_like(found))

    return (
        back(y),
        tuple(part[:, pieces.last] for part in final),
        trace and {name: back(part.squeeze(0)).unsqueeze(0) for name, part in trace.items()},
    )


def _begin(states: Sequence[Tensor], after_cut: Sequence[Tensor], pieces: _Pieces) -> list[Any]:
    begins = pieces.begins.unsqueeze(-1)
    given = [state[:, pieces.row] for state in states]
    cut = [part.unsqueeze(1) for part in after_cut] or [torch.zeros_like(part) for part in given]
    return [torch.where(begins, part, other) for part, other in zip(given, cut, strict=True)]


def _part(reset: Tensor | None, ends: Tensor, T: int, *, reverse: bool) -> _Pieces:
    """Part sequences of ``ends`` steps. Below, s counts steps in the order in which they run."""
    steps = torch.arange(T, device=ends.device).unsqueeze(1).expand(T, len(ends))
    rows = torch.arange(len(ends), device=ends.device)
    # Time of each s and s of each time: the same, turning round twice changes nothing.
    order = (ends - 1 - steps).clamp(min=0) if reverse else steps
    if reset is None:
        return _Pieces(
            order,
            rows,
            ends,
            torch.ones_like(rows, dtype=torch.bool),
            order,
            rows.expand(T, -1),
            rows,
        )
    valid = steps < ends
    # Against time the cut before step t is met between t and t - 1.
    cut = reset.gather(0, (order + 1).clamp(max=T - 1)) & (steps > 0) if reverse else reset
    begin = (cut | (steps == 0)) & valid
    since = steps - torch.where(begin, steps, 0).cummax(0).values
    first = begin.sum(0).cumsum(0) - begin.sum(0)
    piece = torch.where(valid, begin.cumsum(0) - 1 + first, 0)
    row, start = begin.t().nonzero().unbind(1)
    lengths = piece[valid].bincount(minlength=len(row))
    within = torch.arange(int(lengths.max()), device=ends.device).unsqueeze(1)
    time = order[(start + within).clamp(max=T - 1), row]
    return _Pieces(
        time,
        row,
        lengths,
        ~cut[start, row],
        torch.where(valid, since, 0).gather(0, order),
        piece.gather(0, order),
        first + begin.sum(0) - 1,
    )
