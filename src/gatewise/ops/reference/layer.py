"""A cell of any kind as a layer, and as a single step: what everything else calls the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from gatewise.ops.reference.batch_norm import Statistics
from gatewise.ops.reference.options import PLAIN, CellOptions
from gatewise.ops.reference.recurrence import Recurrence
from gatewise.ops.reference.sequence import State, Step, run_layer, widen
from gatewise.ops.reference.weights import split_weights


class Cell(NamedTuple):
    """The mathematics of a recurrent cell.

    Args:
        name: As kernels and errors call it.
        gates: G: how many H-wide parts the weights stack along their first axis.
        states: Names of what is carried from step to step; the first is h, the output.
        activations: Names of what the step shows beside that, each H wide.
        step: The pure function of one step.
        feeds_back: Whether h takes part in the products; a minimal cell has no ``w_hh``, ``b_hh``.
        initial: What its states begin with; empty for zeros.
    """

    name: str
    gates: int
    states: tuple[str, ...]
    activations: tuple[str, ...]
    step: Step
    feeds_back: bool = True
    initial: tuple[float, ...] = ()

    def begin(self, states: Sequence[Tensor]) -> State:
        """Return what each direction begins with, D×…, given states of sequences, D×B×…."""
        values = self.initial or (0.0,) * len(states)
        return tuple(
            state.new_full((state.shape[0], state.shape[2]), value)
            for state, value in zip(states, values, strict=True)
        )


def layer(
    cell: Cell,
    x: Float[Tensor, "T B I"],
    initial: State,
    weights: Sequence[Tensor],
    *,
    lengths: Int64[Tensor, " B"] | None = None,
    reset: Bool[Tensor, "T B"] | None = None,
    trace: bool = False,
    options: CellOptions = PLAIN,
    seed: Tensor | None = None,
    restart: State = (),
    statistics: Statistics | None = None,
) -> tuple[Float[Tensor, "T B _"], State, dict[str, Float[Tensor, "D T B _"]] | None]:
    """Run one layer in all its directions, in plain torch.

    Any dtype, any device, differentiable twice. Half precision is computed in float32 and rounded
    at the end.

    Args:
        cell: The mathematics.
        x: Input, T×B×I.
        initial: Initial states, one for each of ``cell.states``: h D×B×P, then D×B×H; D is 1, or 2
            with a direction against time.
        weights: For each direction ``w_ih`` G·H×I, ``w_hh`` G·H×P, then ``b_ih`` and ``b_hh`` of
            G·H (both or neither), then ``w_hr`` P×H with a projection, then what options have:
            peepholes, a row of H for each gate but the candidate; norms, weight and bias of the
            input product (G·H), of the recurrent product (G·H), of the cell state (H) if there is
            one. One flat sequence. A minimal cell has ``w_ih`` and ``b_ih`` alone, or ``w_ih``.
        lengths: Valid steps of each sequence, [B], each from 1 to T, any order. The output is zero
            beyond, and the direction against time starts at the last valid step.
        reset: True at t cuts the sequence between t−1 and t in both directions, T×B; at 0 it
            discards the initial state of the direction with time.
        trace: Whether to return every gate and state of every step.
        options: Of the cell.
        seed: Of the masks, int64 with one element; None for no dropout.
        restart: The states after a cut, h D×P, then D×H; empty for those of ``cell.initial``.
        statistics: Of batch norm, with the option; `gatewise.ops.apart` brings what it cannot take,
            resets and the direction against time, to what it can.

    Returns:
        y T×B×(D·P), the final states, shaped like the initial ones, and None or a dict of the
        activations, then the states, each D×T×B×H (h: P) in time order and zero beyond the lengths.
    """
    if reset is not None and not restart and cell.initial:
        restart = cell.begin(initial)
    runs = run_layer(
        cell.step,
        x,
        initial,
        weights,
        lengths=lengths,
        reset=reset,
        record=trace,
        options=options,
        seed=seed,
        restart=restart,
        statistics=statistics,
        feeds_back=cell.feeds_back,
    )
    y = torch.cat([run.output for run in runs], dim=-1).to(x.dtype)
    final = tuple(
        torch.stack(part).to(x.dtype) for part in zip(*(run.state for run in runs), strict=True)
    )
    if not trace:
        return y, final, None
    steps = [run.activations + run.states[1:] + run.states[:1] for run in runs]
    names = cell.activations + cell.states[1:] + cell.states[:1]
    parts = (torch.stack(part).to(x.dtype) for part in zip(*steps, strict=True))
    return y, final, dict(zip(names, parts, strict=True))


def step(cell: Cell, x: Float[Tensor, "B I"], state: State, weights: Sequence[Tensor]) -> State:
    """Take a single step: what `layer` does with T = 1, without the axes T and D.

    Args:
        cell: The mathematics.
        x: Input of the step, B×I.
        state: States before it, h B×P, then B×H.
        weights: As in `layer`, of a cell without options.

    Returns:
        The states after the step.
    """
    wide = [widen(weight) for weight in weights]
    (named,) = split_weights(wide, 1, states=len(state), feeds_back=cell.feeds_back)
    at = Recurrence(named, PLAIN, seed=None, stream=0, batch=len(x), width=state[0].shape[-1])
    after, _ = cell.step(at.input_product(widen(x)), tuple(widen(part) for part in state), at)
    return tuple(part.to(x.dtype) for part in after)
