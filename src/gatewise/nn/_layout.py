"""The ways to hand a batch to a recurrent layer, brought to the one that the engine knows.

Time first, batch first, one sequence without a batch, or torch's PackedSequence: `arrange` checks
the arguments and turns them into T×B×I, states (L·D)×B×…, lengths [B] and resets T×B; `restore`
turns the results back into the caller's layout and dtypes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gatewise.errors import InvalidStateError, InvalidValueError
from gatewise.nn import _validate

States = tuple[Tensor, ...]


class Arranged(NamedTuple):
    """A call's arguments in the engine's layout, and what it takes to go back.

    Args:
        x: T×B×I, in the dtype of the weights.
        hx: Initial states, each (L·D)×B×…, or None for zeros.
        lengths: int64 [B] or None.
        reset: Bool T×B or None.
        given: The input as it came.
        batch_first: Whether the batch axis came first.
        autocast: The dtype of an enclosing autocast that applies, or None.
        wide: The dtype of the initial states as they came, or of the input without any.
    """

    x: Tensor
    hx: States | None
    lengths: Tensor | None
    reset: Tensor | None
    given: Tensor | PackedSequence
    batch_first: bool
    autocast: torch.dtype | None
    wide: torch.dtype


def arrange(
    layer: _validate.LayerShape,
    weight: Tensor,
    given: Tensor | PackedSequence,
    hx: Sequence[Tensor] | None,
    lengths: Tensor | Sequence[int] | None,
    reset: Tensor | None,
) -> Arranged:
    """Check the arguments of a forward and bring them into the engine's layout."""
    if isinstance(given, PackedSequence):
        return _arrange_packed(layer, weight, given, hx, lengths, reset)
    autocast = _validate.check_input(layer, given, weight)
    batched = given.dim() == 3
    batch_first = batched and layer.batch_first
    x = given.transpose(0, 1) if batch_first else given if batched else given.unsqueeze(1)
    T, B = x.shape[:2]
    if hx is not None:
        _validate.check_states(layer, hx, given, B if batched else None, any_dtype=bool(autocast))
        hx = tuple(hx) if batched else tuple(state.unsqueeze(1) for state in hx)
    if lengths is not None:
        lengths = _validate.check_lengths(layer.kind, lengths, T, B, x.device)
    if reset is not None:
        _validate.check_reset(layer.kind, reset, tuple(given.shape[:-1]), x.device)
        reset = reset.transpose(0, 1) if batch_first else reset.reshape(T, B)
    wide = hx[0].dtype if hx else x.dtype
    if autocast is not None:
        x = x.to(weight.dtype)
        hx = hx and tuple(state.to(weight.dtype) for state in hx)
    return Arranged(x, hx, lengths, reset, given, batch_first, autocast, wide)


def restore(
    layer: _validate.LayerShape, arranged: Arranged, y: Tensor, states: States
) -> tuple[Tensor | PackedSequence, States]:
    """Return the output and the final states in the layout and the dtypes of the call."""
    given = arranged.given
    if arranged.autocast is not None:
        y, states = _narrow(layer, arranged, y, states)
    if isinstance(given, PackedSequence):
        lengths = cast("Tensor", arranged.lengths)  # packed steps always come with lengths
        output = given._replace(data=pack_padded_sequence(y, lengths.cpu()).data)
        return output, _reorder(states, given.unsorted_indices, axis=1)
    if arranged.batch_first:
        return y.transpose(0, 1), states
    if given.dim() == 2:
        return y.squeeze(1), tuple(state.squeeze(1) for state in states)
    return y, states


def restore_trace(arranged: Arranged, trace: States) -> States:
    """Return the parts of a trace, (L·D)×T×B×H, with the caller's batch axis."""
    given = arranged.given
    if isinstance(given, PackedSequence):
        return _reorder(trace, given.unsorted_indices, axis=2)
    return tuple(part.squeeze(2) for part in trace) if given.dim() == 2 else trace


def zero_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Zero x (T×B×F, or T×F unbatched) beyond the lengths, whatever stands there."""
    valid = torch.arange(x.shape[0], device=x.device).unsqueeze(1) < lengths
    return torch.where(valid.unsqueeze(-1) if x.dim() == 3 else valid, x, torch.zeros_like(x))


def _arrange_packed(
    layer: _validate.LayerShape,
    weight: Tensor,
    given: PackedSequence,
    hx: Sequence[Tensor] | None,
    lengths: object,
    reset: object,
) -> Arranged:
    if lengths is not None or reset is not None:
        raise InvalidValueError(
            f"{layer.kind}(input)",
            "a padded tensor together with lengths= or reset=",
            "a PackedSequence, which has lengths of its own",
            "Give the padded tensor; no packing is needed.",
        )
    if given.data.dim() != 2:
        raise InvalidStateError(
            f"{layer.kind}(input)", "packed steps of 2 axes", f"{given.data.dim()}"
        )
    autocast = _validate.check_input(layer, given.data, weight)
    # In packed order, longest first, so that the way back is a plain packing.
    x, own_lengths = pad_packed_sequence(PackedSequence(given.data, given.batch_sizes))
    if hx is not None:
        _validate.check_states(layer, hx, x, x.shape[1], any_dtype=bool(autocast))
        hx = _reorder(tuple(hx), given.sorted_indices, axis=1)
    wide = hx[0].dtype if hx else x.dtype
    if autocast is not None:
        x = x.to(weight.dtype)
        hx = hx and tuple(state.to(weight.dtype) for state in hx)
    lengths = own_lengths.to(x.device)
    return Arranged(x, hx, lengths, None, given, batch_first=False, autocast=autocast, wide=wide)


def _narrow(
    layer: _validate.LayerShape, arranged: Arranged, y: Tensor, states: States
) -> tuple[Tensor, States]:
    """Round to the dtypes that torch's layers return under autocast.

    Those are autocast's own but for wider inputs where torch runs its cells one by one: all of a
    GRU stays as wide as its states came; so do packed steps of an LSTM and its c_n with a
    projection.
    """
    projected = layer.proj_size > 0
    packed = isinstance(arranged.given, PackedSequence)
    state_dtype = output_dtype = arranged.autocast
    if layer.kind == "GRU" or (layer.kind == "LSTM" and packed and not projected):
        output_dtype = arranged.wide
    if layer.kind == "GRU" or (layer.kind == "LSTM" and (packed or projected)):
        state_dtype = arranged.wide
    h_n, *others = states
    return y.to(output_dtype), (h_n.to(output_dtype), *(part.to(state_dtype) for part in others))


def _reorder(parts: States, order: Tensor | None, *, axis: int) -> States:
    return parts if order is None else tuple(part.index_select(axis, order) for part in parts)
