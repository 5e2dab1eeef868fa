"""What the layers accept, and the errors for what they refuse.

Where torch's layers refuse, these errors inherit the same builtin class, so that code which
catches torch's works unchanged.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from gatewise.errors import (
    GatewiseError,
    InvalidSettingsError,
    InvalidStateError,
    InvalidTypeError,
    InvalidValueError,
)
from gatewise.nn._option_faults import heads_faults, option_faults, type_and_value
from gatewise.nn._precision import autocast_dtype


@runtime_checkable
class LayerShape(Protocol):
    """The fields of a recurrent layer that its arguments must agree with."""

    kind: str
    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    proj_size: int
    batch_first: bool
    dropout: float
    residual: bool

    @property
    def state_shapes(self) -> Mapping[str, tuple[int, ...]]: ...


def check_constructor(
    where: str,
    sizes: Mapping[str, int],
    *,
    bias: bool,
    batch_first: bool,
    bidirectional: bool,
    dropout: float,
    options: Mapping[str, Any],
    inits: Sequence[str] = ("torch",),
) -> None:
    """Refuse what torch's constructors refuse, and options of ours that are wrong or contradict.

    A fault of type in torch's arguments comes alone and first, as in torch; all others together.

    Args:
        where: The layer's name.
        sizes: input_size, hidden_size, num_layers and proj_size.
        bias: Must be a bool.
        batch_first: Must be a bool.
        bidirectional: What ``reverse`` may not meet.
        dropout: Must be a probability.
        options: The options that torch lacks, by name.
        inits: The schemes of initial values that the layer has.
    """
    faults = size_faults(where, sizes, {"bias": bias, "batch_first": batch_first}, dropout)
    if not 0 <= sizes["proj_size"] < max(sizes["hidden_size"], 1):
        faults.append(
            InvalidValueError(
                f"{where}(proj_size)",
                f"0 (no projection) or a size below hidden_size={sizes['hidden_size']}",
                str(sizes["proj_size"]),
            )
        )
    if "heads" in options:
        faults += heads_faults(where, options["heads"], sizes["hidden_size"], "hidden_size")
    faults += option_faults(where, options, bias=bias, inits=inits)
    if bidirectional and options.get("reverse"):
        remedy = "A layer in both directions has one against time already."
        faults.append(
            InvalidValueError(f"{where}(reverse)", "False with bidirectional=True", "True", remedy)
        )
    raise_faults(where, faults)


def raise_faults(where: str, faults: Sequence[GatewiseError]) -> None:
    """Raise the fault if there is one, and one error for all of them if there are several."""
    if len(faults) == 1:
        raise faults[0]
    InvalidSettingsError.raise_any(where, faults)


def size_faults(
    where: str, sizes: Mapping[str, int], flags: Mapping[str, bool], dropout: float
) -> list[GatewiseError]:
    """Return what is wrong with the values of arguments that every layer has.

    Raises:
        InvalidTypeError: A size or a flag has another type: alone and first, as in torch.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise InvalidTypeError(f"{where}({name})", "a bool", type_and_value(value))
    for name, value in sizes.items():
        if not isinstance(value, int):
            raise InvalidTypeError(f"{where}({name})", "an int", type_and_value(value))
    faults: list[GatewiseError] = [
        InvalidValueError(f"{where}({name})", "at least 1", str(size))
        for name, size in sizes.items()
        if size <= 0 and name != "proj_size"
    ]
    number = isinstance(dropout, int | float) and not isinstance(dropout, bool)
    if not number or not 0 <= dropout <= 1:
        faults.append(
            InvalidValueError(f"{where}(dropout)", "a probability from 0 to 1", repr(dropout))
        )
    return faults


def warn_of_idle_options(layer: LayerShape) -> None:
    """Warn of options that can do nothing in a layer of these sizes."""
    if layer.num_layers > 1:
        return
    idle = {}
    if layer.dropout > 0:
        idle["dropout"] = f"0 with num_layers=1, got {layer.dropout}. It acts between layers"
    width = (2 if layer.bidirectional else 1) * (layer.proj_size or layer.hidden_size)
    if layer.residual and layer.input_size != width:
        idle["residual"] = (
            f"False where input and output differ in width, got True with {layer.input_size} and "
            f"{width}. It adds the one to the other"
        )
    for name, fault in idle.items():
        warnings.warn(
            f"{layer.kind}({name}): expected {fault} and has no effect here.", stacklevel=4
        )


def check_input(layer: LayerShape, x: Tensor, weight: Tensor) -> torch.dtype | None:
    """Refuse an input, in the layer's own layout, that does not fit the weights.

    Returns:
        The dtype of an enclosing autocast if it applies to this input, or None.
    """
    where = f"{layer.kind}(input)"
    if not isinstance(x, Tensor):
        raise InvalidTypeError(
            where, "a tensor or a PackedSequence", type(x).__name__, "Use torch.as_tensor."
        )
    if x.dim() not in (2, 3):
        raise InvalidValueError(where, "2-D or 3-D", f"{x.dim()}-D, {_shape(x)}")
    if x.shape[-1] != layer.input_size:
        raise InvalidStateError(where, f"a last axis of input_size={layer.input_size}", _shape(x))
    if x.device != weight.device:
        raise InvalidStateError(
            where,
            f"the weights' device {weight.device}",
            str(x.device),
            f"Move the input, input.to('{weight.device}'), or the model.",
        )
    if x.shape[1 if layer.batch_first and x.dim() == 3 else 0] == 0:
        raise InvalidStateError(where, "at least one time step", f"none, {_shape(x)}")
    autocast = autocast_dtype(x, weight)
    if x.dtype != weight.dtype and autocast is None:
        raise InvalidValueError(
            where,
            f"the weights' dtype {weight.dtype}",
            str(x.dtype),
            f"Convert the input, input.to({weight.dtype}), or the model, model.to({x.dtype}).",
        )
    return autocast


def check_states(
    layer: LayerShape, hx: Sequence[Tensor], x: Tensor, batch: int | None, *, any_dtype: bool
) -> None:
    """Refuse initial states that do not fit the layer and x; ``batch`` is None when unbatched."""
    where, shapes = f"{layer.kind}(hx)", layer.state_shapes
    if len(hx) != len(shapes):
        raise InvalidStateError(where, f"{len(shapes)} tensors ({', '.join(shapes)})", str(len(hx)))
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    for (name, shape), value in zip(shapes.items(), hx, strict=True):
        place = where if len(shapes) == 1 else f"{where}: {name}"
        expected = (rows, *shape) if batch is None else (rows, batch, *shape)
        if value.shape != expected:
            raise InvalidStateError(
                place,
                f"shape {expected}",
                f"{_shape(value)} for an input of {_shape(x)}",
            )
        if value.dtype != x.dtype and not any_dtype:
            raise InvalidStateError(place, f"the input's {x.dtype}", str(value.dtype))
        if value.device != x.device:
            raise InvalidStateError(place, f"the input's device {x.device}", str(value.device))


def check_lengths(
    kind: str, lengths: Tensor | Sequence[int], T: int, B: int, device: torch.device
) -> Tensor:
    """Return ``lengths`` as int64 [B] on ``device``; refuse counts and values that do not fit."""
    where = f"{kind}(lengths)"
    if not isinstance(lengths, Tensor):
        lengths = torch.as_tensor(lengths)
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise InvalidTypeError(where, "integers", str(lengths.dtype))
    if lengths.shape != (B,):
        raise InvalidStateError(
            where, f"one length for each of {B} sequences, shape ({B},)", _shape(lengths)
        )
    if torch.compiler.is_compiling():
        # Values do not exist yet: the check becomes part of the graph.
        inside = ((lengths >= 1) & (lengths <= T)).all()
        message = f"{where}: expected lengths from 1 to T"
        torch.ops.aten._assert_async.msg(inside, message)  # noqa: SLF001 - an operator of torch
    elif B:
        least, most = (int(value) for value in torch.aminmax(lengths))
        if least < 1 or most > T:
            at = int(((lengths < 1) | (lengths > T)).nonzero()[0])
            raise InvalidValueError(
                where,
                f"lengths from 1 to T={T}",
                f"{int(lengths[at])} for sequence {at}",
                "Leave empty sequences out of the batch.",
            )
    return lengths.to(device=device, dtype=torch.int64)


def check_reset(kind: str, reset: Tensor, expected: tuple[int, ...], device: torch.device) -> None:
    """Refuse a reset mask (in the layer's own layout) that does not fit the input."""
    where = f"{kind}(reset)"
    if not isinstance(reset, Tensor) or reset.dtype != torch.bool:
        got = str(reset.dtype) if isinstance(reset, Tensor) else type(reset).__name__
        raise InvalidTypeError(where, "a bool tensor", got, "Write, for example, mask != 0.")
    if reset.shape != expected:
        raise InvalidStateError(
            where, f"one value for each step and sequence, shape {expected}", _shape(reset)
        )
    if reset.device != device:
        raise InvalidStateError(where, f"the input's device {device}", str(reset.device))


def check_recompute(kind: str, steps: object, *, trace: bool) -> None:
    """Refuse what is no length of a piece, and a trace together with it."""
    where = f"{kind}(recompute)"
    if not isinstance(steps, int) or isinstance(steps, bool):
        raise InvalidTypeError(where, "a number of steps or None", type_and_value(steps))
    if steps < 1:
        raise InvalidValueError(where, "at least 1", str(steps))
    if trace:
        raise InvalidValueError(
            where, "None with trace=True", str(steps), "Recomputing keeps nothing to show."
        )


def _shape(value: Tensor) -> str:
    return f"shape {tuple(value.shape)}"
