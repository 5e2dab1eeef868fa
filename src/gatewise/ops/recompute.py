"""Training over long sequences in bounded memory: keep every k-th state, and run again between.

Forward runs piece by piece and keeps the states at their borders only. Backward takes the pieces
from the last to the first: it runs each once more, now keeping what its gradients need, and frees
that before the next. So the memory beyond input and output is that of one piece, for one more
forward of time. Source: T. Chen, B. Xu, C. Zhang, C. Guestrin, "Training deep nets with sublinear
memory cost", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatewise.errors import InvalidStateError
from gatewise.ops._operands import Operands

Run = Callable[[Operands], tuple[Tensor, tuple[Tensor, ...]]]
"""``run(operands) -> (y, final states)``, differentiably where grad mode is on."""


def run_in_pieces(operands: Operands, steps: int, run: Run) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run a layer, keeping the state of every ``steps``-th step only.

    Args:
        operands: Of the layer, in all its directions.
        steps: Length of a piece, at least 1.
        run: How to run a piece in one direction.

    Returns:
        y T×B×(D·P) and the final states, shaped like the initial ones. Differentiable once.
    """
    tensors = operands.tensors()
    y, *final = _Pieces.apply(operands, steps, run, *tensors)  # pyright: ignore
    return y, tuple(final)


class _Piece(NamedTuple):
    """Steps start to stop - 1 of one direction, and which rows are cut where it is entered."""

    start: int
    stop: int
    operands: Operands
    cut: Tensor | None


def _pieces(operands: Operands, d: int, steps: int) -> Iterator[_Piece]:
    """Go over the pieces of direction ``d`` in running order, without their initial states."""
    x, lengths, reset = operands.x, operands.lengths, operands.reset
    T, options = x.shape[0], operands.options
    reverse = d == 1 or options.reverse
    count = len(operands.weights) // operands.states[0].shape[0]
    weights = operands.weights[d * count : (d + 1) * count]
    restart = [part[d : d + 1] for part in operands.restart]
    starts = range(0, T, steps)
    for start in reversed(starts) if reverse else starts:
        stop = min(start + steps, T)
        cut = None
        if reverse and reset is not None and stop < T:
            # The cut between the pieces: running backward it acts on entering the earlier one.
            cut = reset[stop] if lengths is None else reset[stop] & (lengths > stop)
        piece = operands._replace(
            x=x[start:stop],
            weights=weights,
            lengths=None if lengths is None else (lengths - start).clamp(0, stop - start),
            reset=None if reset is None else reset[start:stop],
            restart=restart,
            options=options._replace(first_step=options.first_step + start, reverse=reverse),
            packed=None,  # of all directions
        )
        yield _Piece(start, stop, piece, cut)


class _Pieces(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, operands: Operands, steps: int, run: Run, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        operands = operands.replaced(tensors)
        x, states = operands.x, operands.states
        (T, B, _), (D, _, P) = x.shape, states[0].shape
        y = x.new_empty(T, B, D * P)
        finals, borders = [], []
        for d in range(D):
            state: Sequence[Tensor] = [part[d : d + 1] for part in states]
            for piece in _pieces(operands, d, steps):
                state = _entered(state, piece)
                borders.append(state)
                part, state = run(piece.operands._replace(states=state))
                y[piece.start : piece.stop, :, d * P : (d + 1) * P] = part
            finals.append(state)
        ctx.set_materialize_grads(False)
        ctx.steps, ctx.run, ctx.borders = steps, run, borders
        ctx.rest = operands.replaced([x.new_empty(0)] * len(tensors))  # those are saved apart
        ctx.save_for_backward(*tensors)
        return y, *(torch.cat(parts) for parts in zip(*finals, strict=True))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Any, ...]:
        if torch.is_grad_enabled():
            raise InvalidStateError(
                "recompute",
                "first derivatives alone",
                "create_graph=True",
                "Call the layer without it for derivatives that are differentiated again.",
            )
        grad_y, *grad_final = grad_outputs
        operands = ctx.rest.replaced(ctx.saved_tensors)
        D, _, P = operands.states[0].shape
        count = len(operands.weights) // D
        sums = operands.replaced(
            [
                torch.zeros_like(tensor) if wanted else None
                for tensor, wanted in zip(ctx.saved_tensors, ctx.needs_input_grad[3:], strict=True)
            ]
        )
        borders = iter(reversed(ctx.borders))
        for d in reversed(range(D)):
            grads: Sequence[Tensor | None] = [
                None if grad is None else grad[d : d + 1] for grad in grad_final
            ]
            for piece in reversed(list(_pieces(operands, d, ctx.steps))):
                arrived = None
                if grad_y is not None:
                    arrived = grad_y[piece.start : piece.stop, :, d * P : (d + 1) * P]
                state = next(borders)
                found = _gradients(
                    ctx.run,
                    piece.operands._replace(states=state),
                    arrived,
                    grads,
                    wants_x=sums.x is not None,
                )
                if sums.x is not None:
                    sums.x[piece.start : piece.stop] += found.x
                own = sums.weights[d * count : (d + 1) * count]
                for total, part in zip(own, found.weights, strict=True):
                    if total is not None:
                        total += part
                for total, part in zip(sums.restart, found.restart, strict=True):
                    if total is not None:
                        total[d : d + 1] += part
                grads = _left(found.states, piece, sums.restart, d)
            for total, grad in zip(sums.states, grads, strict=True):
                if total is not None:
                    total[d : d + 1] = grad
        return None, None, None, *sums.tensors()


def _entered(state: Sequence[Tensor], piece: _Piece) -> Sequence[Tensor]:
    """Return the state that a piece begins with: after a cut at its border, the one after cuts."""
    if piece.cut is None:
        return state
    begin = piece.operands.restart or [torch.zeros_like(part[:, 0]) for part in state]
    cut = piece.cut.unsqueeze(-1)
    return [torch.where(cut, b.unsqueeze(1), part) for b, part in zip(begin, state, strict=True)]


def _left(grads: Any, piece: _Piece, restart: Any, d: int) -> list[Tensor]:
    """Return the gradients of the state before that cut; what it holds back goes to restart."""
    if piece.cut is None:
        return list(grads)
    cut = piece.cut.unsqueeze(-1)
    for total, grad in zip(restart, grads, strict=False):
        if total is not None:
            total[d] += torch.where(cut, grad[0], torch.zeros_like(grad[0])).sum(0)
    return [torch.where(cut, torch.zeros_like(grad), grad) for grad in grads]


def _gradients(
    run: Run,
    piece: Operands,
    grad_y: Tensor | None,
    grad_final: Sequence[Tensor | None],
    *,
    wants_x: bool,
) -> Operands:
    """Run a piece again and return the gradients of its tensors, None for an unwanted one of x."""
    x, *others = (tensor.detach().requires_grad_() for tensor in piece.tensors())
    x.requires_grad_(wants_x)
    piece = piece._replace(statistics=piece.statistics and piece.statistics.untracked())
    inputs = [x, *others]
    with torch.enable_grad():
        y, final = run(piece.replaced(inputs))
    pairs = [(out, g) for out, g in zip((y, *final), (grad_y, *grad_final), strict=True)]
    arrived = [(out, grad) for out, grad in pairs if grad is not None]
    found = torch.autograd.grad(
        [out for out, _ in arrived],
        inputs if wants_x else others,
        [grad for _, grad in arrived],
        allow_unused=True,
        materialize_grads=True,
    )
    return piece.replaced(found if wants_x else (None, *found))
