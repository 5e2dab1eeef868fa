"""The way up through layers that run in plain torch, whatever happens inside a direction of one.

A kind of layer says what its states are and runs some steps of a direction; directions, lengths,
resets, recomputing, residuals and the layout of the call stand here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils.checkpoint import checkpoint

from gatewise.nn import _validate
from gatewise.nn._layout import Arranged, States, arrange, restore, restore_trace, zero_padding
from gatewise.nn._masks import drop_between
from gatewise.nn._options import ModuleWithOptions
from gatewise.nn._sequence_layer import SequenceLayer
from gatewise.ops.reference.sequence import masks, without_autocast


class Steps(NamedTuple):
    """Some steps that a direction is to run.

    Args:
        at: Which of the sequence.
        valid: T×B: where the state moves on; None for everywhere.
        restarts: T×B: before what the state is replaced by the initial one; None for nothing.
        reverse: Whether the last step runs first.
        record: Whether the gates and states of every step are asked for.
    """

    at: slice
    valid: Tensor | None
    restarts: Tensor | None
    reverse: bool
    record: bool

    def of(self, x: Tensor) -> Tensor:
        """Return these steps of a sequence; a whole one as it is, for backward pads a slice."""
        return x if self.at == slice(0, len(x)) else x[self.at]


class Passed(NamedTuple):
    """What a direction makes of some steps: y T×B×…, the states after them, and what it shows."""

    output: Tensor
    state: States
    shown: dict[str, Tensor]


Run = Callable[[Steps, States], Passed]


class LayerInTorch(SequenceLayer, ModuleWithOptions):
    """Base of `Recurrent` and `MLSTM` and of the blocks of `XLSTM`."""

    states: Mapping[str, float]
    """The names of the states and what they begin with."""
    residual: bool = False
    reverse: bool = False
    generator: torch.Generator | None = None

    def _direction(self, x: Tensor, layer: int, direction: int) -> Run:
        """Return what runs steps of x, T×B×I, in a direction of a layer."""
        raise NotImplementedError

    def _trace(self, shown: Mapping[str, Tensor]) -> Any:
        """Return the trace of a call, given its parts by name."""
        raise NotImplementedError

    def _as_hx(self, states: States) -> Any:
        """Return states as the caller of the layer gets them."""
        return states

    @property
    def _weight(self) -> Tensor:
        """A weight, for its dtype and device."""
        return next(self.parameters())

    def initial_state(self, batch: int) -> Any:
        """Return the states that ``batch`` sequences begin with, as ``hx`` has them."""
        return self._as_hx(self._initial_states(batch))

    def _initial_states(self, batch: int) -> States:
        rows = self.num_layers * self.num_directions
        return tuple(
            self._weight.new_full((rows, batch, *shape), value)
            for shape, value in zip(self.state_shapes.values(), self.states.values(), strict=True)
        )

    def _run(
        self,
        given: Tensor | PackedSequence,
        hx: Tensor | Sequence[Tensor] | None,
        lengths: Tensor | Sequence[int] | None,
        reset: Tensor | None,
        *,
        trace: bool,
        recompute: int | None,
    ) -> tuple[Any, ...]:
        """Run the layers above each other, and return what ``forward`` does."""
        if recompute is not None:
            _validate.check_recompute(self.kind, recompute, trace=trace)
        hx = None if hx is None else (hx,) if isinstance(hx, Tensor) else tuple(hx)
        call = arrange(self, self._weight, given, hx, lengths, reset)
        x, finals, shown = call.x, [], []
        initial = call.hx or self._initial_states(x.shape[1])
        D = self.num_directions
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = drop_between(x, self.dropout, self.generator)
            if call.lengths is not None:
                x = zero_padding(x, call.lengths)  # a NaN there would reach the gradients as 0·NaN
            outputs = []
            for d in range(D):
                state = tuple(part[layer * D + d] for part in initial)
                with without_autocast(x):
                    passed = self._run_direction(x, state, layer, d, call, trace, recompute)
                outputs.append(passed.output)
                finals.append(passed.state)
                shown.append(passed.shown)
            y = outputs[0] if D == 1 else torch.cat(outputs, dim=-1)
            x = y + x if self.residual and y.shape == x.shape else y
        y, final = restore(self, call, x, tuple(map(torch.stack, zip(*finals, strict=True))))
        if not trace:
            return y, self._as_hx(final)
        parts = tuple(torch.stack([each[name] for each in shown]) for name in shown[0])
        parts = restore_trace(call, parts)
        return y, self._as_hx(final), self._trace(dict(zip(shown[0], parts, strict=True)))

    def _run_direction(
        self,
        x: Tensor,
        state: States,
        layer: int,
        direction: int,
        call: Arranged,
        record: bool,
        recompute: int | None,
    ) -> Passed:
        T, reverse = len(x), direction == 1 or self.reverse
        valid, restarts = masks(call.lengths, call.reset, T, reverse=reverse)
        run = self._direction(x, layer, direction)
        length = recompute or T
        pieces = [
            Steps(
                piece,
                None if valid is None else valid[piece],
                None if restarts is None else restarts[piece],
                reverse,
                record,
            )
            for piece in (slice(at, min(at + length, T)) for at in range(0, T, length))
        ]
        return run(pieces[0], state) if recompute is None else _run_in_pieces(run, pieces, state)


def _run_in_pieces(run: Run, pieces: Sequence[Steps], state: States) -> Passed:
    """Run pieces of a sequence, which backward runs again: only states between them are kept."""
    reverse = pieces[0].reverse
    outputs: list[Tensor] = []
    for piece in reversed(pieces) if reverse else pieces:

        def again(*state: Tensor, piece: Steps = piece) -> tuple[Tensor, ...]:
            passed = run(piece, state)
            return passed.output, *passed.state

        output, *after = checkpoint(again, *state, use_reentrant=False)
        state = tuple(after)
        outputs.append(output)
    return Passed(torch.cat(outputs[::-1] if reverse else outputs), state, {})
