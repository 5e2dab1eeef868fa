"""The one time loop that every recurrent cell runs in, in plain torch.

A cell is a pure function of one step: the projected input of the step and the state before it go
in, the state after it and the activations worth looking at come out. Everything that belongs to
sequences rather than to cells stands here, once: directions, lengths, resets, precision. The loop
branches on shapes only, so that it can be traced, compiled, vmapped and differentiated twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.errors import InvalidValueError

State = tuple[Tensor, ...]
"""What a cell carries from step to step, batch first; the first tensor is h, the output."""


class Weights(NamedTuple):
    """The weights of one direction; absent ones are None."""

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor | None = None
    b_hh: Tensor | None = None
    w_hr: Tensor | None = None


Step = Callable[[Tensor, State, Weights], tuple[State, State]]
"""``step(projected input, state, weights) -> (new state, activations)``."""


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
) -> list[Run]:
    """Run a layer in all its directions; half precision is computed in float32.

    Args:
        step: The cell, a function of one step.
        x: Input, T×B×I.
        initial: Initial state, each D×B×….
        weights: ``[w_ih, w_hh, (b_ih, b_hh), (w_hr)]`` for each direction, in one flat list.
        lengths: Valid steps of each sequence, [B], from 1 to T; None for T everywhere.
        reset: Where a new piece begins, T×B.
        record: Whether to keep activations and states of every step.

    Returns:
        One `Run` for each direction, in the dtype of the computation.
    """
    x = _mask_padding(widen(x), lengths)
    with _without_autocast(x):
        return [
            run_direction(
                step,
                F.linear(x, part.w_ih, part.b_ih),
                tuple(widen(value[direction]) for value in initial),
                part,
                reverse=direction == 1,
                lengths=lengths,
                reset=reset,
                record=record,
            )
            for direction, part in enumerate(split_weights(weights, initial[0].shape[0]))
        ]


def run_direction(
    step: Step,
    projected: Tensor,
    state: State,
    weights: Weights,
    *,
    reverse: bool,
    lengths: Tensor | None,
    reset: Tensor | None,
    record: bool,
) -> Run:
    """Carry ``state`` through the steps of ``projected`` (T×B×G·H), with time or against it.

    Beyond a sequence's length the state stands still, so the reverse direction, which meets those
    steps first, begins its work at the last valid step. A cut between t−1 and t (``reset[t]``)
    replaces the state by the cell's initial state, zeros, when the loop crosses it: before step t
    in time order, before step t−1 against it.
    """
    T = projected.shape[0]
    valid = _valid_steps(lengths, T)
    restart = _restarts(reset, valid, reverse=reverse)
    outputs: list[Tensor] = []
    activations: list[State] = []
    states: list[State] = []
    for t in reversed(range(T)) if reverse else range(T):
        if restart is not None:
            begin = restart[t].unsqueeze(-1)
            state = tuple(torch.where(begin, torch.zeros_like(part), part) for part in state)
        after, activation = step(projected[t], state, weights)
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


def split_weights(weights: Sequence[Tensor], directions: int) -> list[Weights]:
    """Split a layer's flat list of weights by direction and name its parts.

    Raises:
        InvalidValueError: The list does not hold 2, 3, 4 or 5 weights for each direction.
    """
    count, rest = divmod(len(weights), directions)
    if rest or count not in (2, 3, 4, 5):
        raise InvalidValueError(
            "weights", f"2, 3, 4 or 5 for each of {directions} direction(s)", str(len(weights))
        )
    wide = [widen(weight) for weight in weights]
    return [
        Weights(
            part[0],
            part[1],
            b_ih=part[2] if count >= 4 else None,
            b_hh=part[3] if count >= 4 else None,
            w_hr=part[-1] if count in (3, 5) else None,
        )
        for part in (wide[start : start + count] for start in range(0, len(wide), count))
    ]


def widen(value: Tensor) -> Tensor:
    """Return ``value`` in float32 if it is of half precision."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _without_autocast(x: Tensor) -> AbstractContextManager[object]:
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
    return tuple(torch.where(keep, part, torch.zeros_like(part)) for part in parts)


def _stack_steps(steps: list[State]) -> State:
    """Turn T tuples of B×… into one tuple of T×B×…."""
    return tuple(torch.stack(part) for part in zip(*steps, strict=True))
