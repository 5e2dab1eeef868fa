"""A stack of layers with one state: recurrent layers, and modules that act on each step alone.

What models are built from. Its structure is plain, a list of modules called one after the other,
so that streaming and exporting need to know the layers only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatewise.errors import InvalidStateError, InvalidTypeError, InvalidValueError
from gatewise.nn import _validate
from gatewise.nn._layout import zero_padding
from gatewise.nn._sequence_layer import SequenceLayer
from gatewise.nn.cell import RecurrentCell

_NOT_PER_STEP = (
    nn.RNNCellBase,
    RecurrentCell,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.Conv1d,
    nn.Conv2d,
)


LayerState = Tensor | tuple[Any, ...]


class StackState(NamedTuple):
    """The state of a `Stack`: the states of its recurrent layers, from the bottom up.

    Args:
        layers: The state of each recurrent layer: h, (L·D)×B×P, or a tuple, ``(h, c)`` for an LSTM,
            with c (L·D)×B×H; that of a stack inside the stack is a `StackState`.
    """

    layers: tuple[LayerState, ...]

    def detach(self) -> StackState:
        """Return the state cut off from the graph, as truncated BPTT does between chunks."""
        return self._each(Tensor.detach)

    def to(self, device_or_dtype: torch.device | torch.dtype | str) -> StackState:
        """Return the state on another device or in another dtype."""
        return self._each(lambda part: part.to(device_or_dtype))

    def _each(self, change: Callable[[Tensor], Tensor]) -> StackState:
        return StackState(tuple(_changed(state, change) for state in self.layers))


def _changed(state: LayerState, change: Callable[[Tensor], Tensor]) -> LayerState:
    if isinstance(state, Tensor):
        return change(state)
    if isinstance(state, StackState):
        return StackState(tuple(_changed(part, change) for part in state.layers))
    return tuple(map(change, state))


class Stack(nn.Module):
    """Any sequence of recurrent layers and per-step modules, called with one state.

    Recurrent layers, and stacks inside it, get the state, the lengths and the resets; every other
    module is called with the steps and must act on each of them alone, along the last axis: Linear,
    Embedding, LayerNorm, RMSNorm, Dropout, activations.

    Args:
        layers: The modules, from the bottom up. A recurrent layer or a stack keeps its default
            ``batch_first=False``: the layout is this Stack's.
        batch_first: Whether batched input, output and ``reset`` are B×T×… instead of T×B×….

    Raises:
        InvalidTypeError: A module that is none, or one of torch's that does not act per step.
        InvalidValueError: A recurrent layer with a layout of its own.

    Example:
        >>> stack = Stack(LSTM(3, 8), nn.LayerNorm(8), LSTM(8, 8), nn.Linear(8, 2))
        >>> y, state = stack(torch.randn(5, 4, 3))
        >>> y, state = stack(torch.randn(1, 4, 3), state.detach())
        >>> y.shape, len(state.layers)
        (torch.Size([1, 4, 2]), 2)
    """

    def __init__(self, *layers: nn.Module, batch_first: bool = False) -> None:
        super().__init__()
        for position, layer in enumerate(layers):
            _check_layer(position, layer)
        self.layers = nn.ModuleList(layers)
        self.batch_first = batch_first

    @property
    def recurrent(self) -> list[SequenceLayer | Stack]:
        """The recurrent layers, and the stacks among the modules, from the bottom up."""
        return [layer for layer in self.layers if isinstance(layer, SequenceLayer | Stack)]

    def forward(
        self,
        x: Tensor,
        state: StackState | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
        trace: bool = False,
        recompute: int | None = None,
    ) -> tuple[Tensor, StackState] | tuple[Tensor, StackState, tuple[Any, ...]]:
        """Run all layers over a batch of sequences.

        Args:
            x: T×B×I, B×T×I with ``batch_first``, or T×I unbatched; integers, for an Embedding
                below, are T×B, B×T with ``batch_first``, or T unbatched.
            state: State before the first step, as an earlier call returned it; by default zeros, or
                what layers with ``learn_initial_state`` have learned.
            lengths: Valid steps of each sequence, see `LSTM.forward`; the output is zero beyond.
            reset: Where sequences begin anew, in the layout of x without its last axis, see
                `LSTM.forward`.
            trace: Whether to return the gates and states of every recurrent layer.
            recompute: Keep the states of every so many steps only, see `LSTM.forward`.

        Returns:
            The output in the layout of x, the state after the last step, and with ``trace=True``
            the trace of each recurrent layer, such as a `Trace`.

        Raises:
            GatewiseError: An argument does not fit.
        """
        if isinstance(x, PackedSequence):
            raise InvalidTypeError(
                "Stack(x)", "a padded tensor", "a PackedSequence", "Give lengths= instead."
            )
        batched = x.dim() == (3 if x.is_floating_point() else 2)
        swap = self.batch_first and batched
        if swap:
            x = x.transpose(0, 1)
            reset = reset if reset is None else reset.transpose(0, 1)
        if lengths is not None:
            batch = x.shape[1] if batched else 1
            lengths = _validate.check_lengths("Stack", lengths, x.shape[0], batch, x.device)
        before = iter(self._given_states(state))
        after: list[LayerState] = []
        traces: list[Any] = []
        for layer in self.layers:
            if not isinstance(layer, SequenceLayer | Stack):
                x = layer(x)
                continue
            x, states, *traced = layer(
                x, next(before), lengths=lengths, reset=reset, trace=trace, recompute=recompute
            )
            after.append(states)
            traces += traced
        if lengths is not None and not isinstance(self.layers[-1], SequenceLayer | Stack):
            x = zero_padding(x, lengths)
        y, state = x.transpose(0, 1) if swap else x, StackState(tuple(after))
        return (y, state, tuple(traces)) if trace else (y, state)

    def initial_state(self, batch: int) -> StackState:
        """Return the state that ``batch`` sequences begin with, to begin a stream with.

        Zeros, but for layers with ``learn_initial_state``.
        """
        return StackState(tuple(layer.initial_state(batch) for layer in self.recurrent))

    def extra_repr(self) -> str:
        """Show the layout if it is not time first."""
        return "batch_first=True" if self.batch_first else ""

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self.layers)

    def __getitem__(self, position: int) -> nn.Module:
        return self.layers[position]

    def _given_states(self, state: StackState | None) -> tuple[LayerState | None, ...]:
        count = len(self.recurrent)
        if state is None:
            return (None,) * count
        if len(state.layers) != count:
            raise InvalidStateError(
                "Stack(state)",
                f"the states of {count} recurrent layer(s)",
                str(len(state.layers)),
                "Pass on what this stack returned, or stack.initial_state(batch).",
            )
        return state.layers


def _check_layer(position: int, layer: nn.Module) -> None:
    where = f"Stack(layers[{position}])"
    kind = type(layer).__name__
    if not isinstance(layer, nn.Module):
        raise InvalidTypeError(where, "a module", kind)
    if isinstance(layer, nn.RNNBase):
        raise InvalidTypeError(
            where, f"gatewise.nn.{kind}", f"torch.nn.{kind}", "See gatewise.replace."
        )
    if isinstance(layer, _NOT_PER_STEP):
        raise InvalidTypeError(
            where, "a recurrent layer of gatewise or a module that acts on each step alone", kind
        )
    if isinstance(layer, SequenceLayer | Stack) and layer.batch_first:
        raise InvalidValueError(
            where,
            "a layer with batch_first=False",
            "batch_first=True",
            "The layout is the stack's: Stack(..., batch_first=True).",
        )
