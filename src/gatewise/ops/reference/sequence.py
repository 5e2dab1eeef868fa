"""The one time loop that every recurrent cell runs in, in plain torch.

A cell is a pure function of one step: the projected input of the step and the state before it go
in, the state after it and the activations worth looking at come out. Everything that belongs to
sequences rather than to cells stands here, once: directions, lengths, resets, precision. The loop
branches on shapes only, so that it can be traced, compiled, vmapped and differentiated twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from gatewise.ops.reference.batch_norm import BatchNorm, Statistics
from gatewise.ops.reference.options import PLAIN, CellOptions
from gatewise.ops.reference.recurrence import Recurrence
from gatewise.ops.reference.weights import split_weights

State = tuple[Tensor, ...]
"""What a cell carries from step to step, batch first; the first tensor is h, the output."""


Step = Callable[[Tensor, State, Recurrence], tuple[State, State]]
"""``step(projected input, state, recurrence) -> (new state, activations)``."""


@runtime_checkable
class Context(Protocol):
    """What the loop tells a cell's surroundings, and asks of them."""

    def enter(self, t: int) -> None:
        """Go to time step ``t``."""

    def zoneout(self, new: Sequence[Tensor], old: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the state after a step."""
        ...


class _NoContext:
    def enter(self, t: int) -> None:
        pass

    def zoneout(self, new: Sequence[Tensor], old: Sequence[Tensor]) -> tuple[Tensor, ...]:  # noqa: ARG002
        return tuple(new)


NO_CONTEXT: Final = _NoContext()
"""Of a cell that has none of a layer's options."""


class Run(NamedTuple):
    """What one direction of a layer gives, in original time order.

    Args:
        output: h of every step, zero beyond the lengths, T×B×P.
        state: State after the last step that was processed, each B×….
        activations: The cell's activations of every step, each T×B×H; empty unless recorded.
        states: State after every step, each T×B×…, zero beyond the lengths; empty unless recorded.
    """

    output: Tensor
    state: State
    activations: State
    states: State


def run_layer(
    step: Step,
    x: Tensor,
    initial: State,
    weights: Sequence[Tensor],
    *,
    lengths: Tensor | None,
    reset: Tensor | None,
    record: bool,
    options: CellOptions = PLAIN,
    seed: Tensor | None = None,
    restart: State = (),
    statistics: Statistics | None = None,
    feeds_back: bool = True,
) -> list[Run]:
    """Run a layer in all its directions; half precision is computed in float32.

    Args:
        step: The cell, a function of one step.
        x: Input, T×B×I.
        initial: Initial state, each D×B×….
        weights: For each direction what `Weights` lists, as far as there is, in one flat list.
        lengths: Valid steps of each sequence, [B], from 1 to T; None for T everywhere.
        reset: Where a new piece begins, T×B.
        record: Whether to keep activations and states of every step.
        options: Of the cell.
        seed: Of the masks, int64 with one element; None for none.
        restart: The state after a cut, each D×…; zeros if empty.
        statistics: Of batch norm, of the only direction; it runs with time and without resets.
        feeds_back: Whether there are weights of h.

    Returns:
        One `Run` for each direction, in the dtype of the computation.
    """
    x = _mask_padding(widen(x), lengths)
    D, B, P = initial[0].shape
    wide = [widen(weight) for weight in weights]
    batch_norm = None
    if statistics is not None:
        valid = _valid_steps(lengths, len(x))
        valid = x.new_ones(x.shape[:2], dtype=torch.bool) if valid is None else valid
        batch_norm = BatchNorm(statistics, valid, options.first_step)
    runs = []
    with without_autocast(x):
        named = split_weights(wide, D, options, len(initial), feeds_back=feeds_back)
        for d, part in enumerate(named):
            reverse = d == 1 or options.reverse
            stream = options.stream + int(reverse)
            at = Recurrence(
                part, options, seed=seed, stream=stream, batch=B, width=P, batch_norm=batch_norm
            )
            run = run_direction(
                step,
                at.input_product(x),
                tuple(widen(value[d]) for value in initial),
                at,
                reverse=reverse,
                lengths=lengths,
                reset=reset,
                record=record,
                restart=tuple(widen(value[d]) for value in restart),
            )
            runs.append(run)
    return runs


def run_direction(
    step: Step,
    projected: Tensor,
    state: State,
    recurrence: Recurrence,
    *,
    reverse: bool,
    lengths: Tensor | None,
    reset: Tensor | None,
    record: bool,
    restart: State = (),
) -> Run:
    """Carry ``state`` through the steps of ``projected`` (T×B×G·H), with time or against it.

    Beyond a sequence's length the state stands still, so the reverse direction, which meets those
    steps first, begins its work at the last valid step. A cut between t−1 and t (``reset[t]``)
    replaces the state by ``restart``, or zeros, when the loop crosses it: before step t in time
    order, before step t−1 against it.
    """
    valid, restarts = masks(lengths, reset, len(projected), reverse=reverse)
    begin = restart or tuple(torch.zeros_like(part) for part in state)
    return run_steps(
        step,
        projected,
        state,
        recurrence,
        reverse=reverse,
        valid=valid,
        restarts=restarts,
        begin=begin,
        record=record,
    )


def masks(
    lengths: Tensor | None, reset: Tensor | None, T: int, *, reverse: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Return what of T×B is inside the lengths, and before what the state is replaced.

    None for all, and for nothing.
    """
    valid = _valid_steps(lengths, T)
    return valid, _restarts(reset, valid, reverse=reverse)


def run_steps(
    step: Callable[[Tensor, State, Any], tuple[State, State]],
    projected: Tensor,
    state: State,
    context: Context,
    *,
    reverse: bool,
    valid: Tensor | None,
    restarts: Tensor | None,
    begin: State,
    record: bool,
) -> Run:
    """Carry ``state`` through the steps of ``projected`` (T×B×…), with time or against it.

    Args:
        step: The cell.
        projected: What it gets of each step.
        state: Before the first.
        context: What the cell sees of its layer.
        reverse: Whether to run from the last step to the first.
        valid: T×B: where the state moves on; None for everywhere.
        restarts: T×B: where ``begin`` replaces the state before the step.
        begin: Of pieces.
        record: Whether to keep activations and states of every step.
    """
    T = projected.shape[0]
    outputs: list[Tensor] = []
    activations: list[State] = []
    states: list[State] = []
    for t in reversed(range(T)) if reverse else range(T):
        if restarts is not None:
            cut = restarts[t].unsqueeze(-1)
            state = tuple(torch.where(cut, a, b) for a, b in zip(begin, state, strict=True))
        context.enter(t)
        after, activation = step(projected[t], state, context)
        after = context.zoneout(after, state)
        shown = after
        if valid is None:
            state = after
        else:
            keep = valid[t].unsqueeze(-1)
            state = tuple(torch.where(keep, a, b) for a, b in zip(after, state, strict=True))
            shown = _masked(after, keep)
            activation = _masked(activation, keep)
        outputs.append(shown[0])
        if record:
            activations.append(activation)
            states.append(shown)
    if reverse:
        outputs, activations, states = outputs[::-1], activations[::-1], states[::-1]
    return Run(torch.stack(outputs), state, _stack_steps(activations), _stack_steps(states))


def widen(value: Tensor) -> Tensor:
    """Return ``value`` in float32 if it is of half precision."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Keep an enclosing ``torch.autocast`` from rounding the products of the recurrence."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()


def _mask_padding(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Zero x beyond the lengths: a NaN there would reach the gradients as 0·NaN."""
    valid = _valid_steps(lengths, x.shape[0])
    return x if valid is None else torch.where(valid.unsqueeze(-1), x, torch.zeros_like(x))


def _valid_steps(lengths: Tensor | None, T: int) -> Tensor | None:
    """Return the mask T×B of the steps inside each length; None when all are."""
    if lengths is None:
        return None
    return torch.arange(T, device=lengths.device).unsqueeze(1) < lengths


def _restarts(reset: Tensor | None, valid: Tensor | None, *, reverse: bool) -> Tensor | None:
    """Return T×B: where the state is replaced before the step is processed."""
    if reset is None:
        return None
    # A cut in the padding is none: against time it would discard h0 before the first valid step.
    cuts = reset if valid is None else reset & valid
    return torch.cat([cuts[1:], torch.zeros_like(cuts[:1])]) if reverse else cuts


def _masked(parts: State, keep: Tensor) -> State:
    """Zero parts of B×… where ``keep``, B×1, is not."""
    return tuple(
        torch.where(keep.reshape(-1, *[1] * (part.dim() - 1)), part, torch.zeros_like(part))
        for part in parts
    )


def _stack_steps(steps: list[State]) -> State:
    """Turn T tuples of B×… into one tuple of T×B×…."""
    return tuple(torch.stack(part) for part in zip(*steps, strict=True))
