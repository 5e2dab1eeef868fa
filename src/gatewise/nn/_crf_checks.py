"""What `gatewise.nn.CRF` accepts, and the errors for what it refuses but values of tags.

Those the operators look at, where there are values: `gatewise.ops.crf_problem.check_tags`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gatewise.errors import GatewiseError, InvalidStateError, InvalidTypeError, InvalidValueError
from gatewise.nn._option_faults import type_and_value
from gatewise.nn._precision import autocast_dtype
from gatewise.nn._validate import raise_faults
from gatewise.nn.tag_constraints import TagConstraints


def check_constructor(tags: int, batch_first: bool, constraints: TagConstraints | None) -> None:
    """Refuse sizes and constraints that are none or do not fit."""
    if not isinstance(tags, int) or isinstance(tags, bool):
        raise InvalidTypeError("CRF(tags)", "an int", type_and_value(tags))
    if not isinstance(batch_first, bool):
        raise InvalidTypeError("CRF(batch_first)", "a bool", type_and_value(batch_first))
    if tags < 1:
        raise InvalidValueError("CRF(tags)", "at least 1", str(tags))
    if constraints is not None:
        raise_faults("CRF", _constraint_faults(tags, constraints))


def _constraint_faults(tags: int, constraints: TagConstraints) -> list[GatewiseError]:
    where = "CRF(constraints)"
    if not isinstance(constraints, TagConstraints):
        got = type(constraints).__name__
        raise InvalidTypeError(
            where, "TagConstraints", got, "Use gatewise.nn.tag_constraints, or TagConstraints."
        )
    faults: list[GatewiseError] = []
    for name, mask in constraints._asdict().items():
        shape = (tags, tags) if name == "transitions" else (tags,)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            got = str(mask.dtype) if isinstance(mask, Tensor) else type(mask).__name__
            faults.append(InvalidTypeError(f"{where}: {name}", "a bool tensor", got))
        elif mask.shape != shape:
            got = str(tuple(mask.shape))
            faults.append(InvalidValueError(f"{where}: {name}", f"shape {shape}", got))
        elif name != "transitions" and not mask.is_meta and not mask.any():
            faults.append(InvalidValueError(f"{where}: {name}", "at least one tag", "none"))
    return faults


def check_count(n: int) -> None:
    """Refuse what is no number of paths."""
    if not isinstance(n, int) or isinstance(n, bool):
        raise InvalidTypeError("CRF(n)", "a number of paths", type_and_value(n))
    if n < 1:
        raise InvalidValueError("CRF(n)", "at least 1", str(n))


def check_emissions(emissions: Tensor, tags: int, weight: Tensor, *, batch_first: bool) -> None:
    """Refuse emissions, in the layer's own layout, that do not fit the parameters."""
    where, layout = "CRF(emissions)", "[B, T, K]" if batch_first else "[T, B, K]"
    if not isinstance(emissions, Tensor):
        raise InvalidTypeError(where, "a tensor", type(emissions).__name__, "Use torch.as_tensor.")
    shape = tuple(emissions.shape)
    if emissions.dim() != 3:
        raise InvalidValueError(
            where,
            f"3-D, {layout}",
            f"{emissions.dim()}-D, shape {shape}",
            f"Make a single sequence a batch, unsqueeze({0 if batch_first else 1}).",
        )
    if shape[-1] != tags:
        raise InvalidStateError(where, f"a last axis of tags={tags}", f"shape {shape}")
    if shape[1 if batch_first else 0] == 0:
        raise InvalidStateError(where, "at least one time step", f"none, shape {shape}")
    if emissions.device != weight.device:
        raise InvalidStateError(
            where,
            f"the parameters' device {weight.device}",
            str(emissions.device),
            f"Move the emissions, emissions.to('{weight.device}'), or the model.",
        )
    if emissions.dtype != weight.dtype and autocast_dtype(emissions, weight) is None:
        raise InvalidValueError(
            where,
            f"the parameters' dtype {weight.dtype}",
            str(emissions.dtype),
            f"Convert the emissions, emissions.to({weight.dtype}), or the layer.",
        )


def check_tags(tags: Tensor, emissions: Tensor) -> None:
    """Refuse tags, in the layer's own layout, that are not of the emissions' sequences."""
    where = "CRF(tags)"
    if not isinstance(tags, Tensor):
        raise InvalidTypeError(where, "a tensor", type(tags).__name__, "Use torch.as_tensor.")
    if tags.is_floating_point() or tags.is_complex() or tags.dtype == torch.bool:
        raise InvalidTypeError(where, "integers", str(tags.dtype), "Convert them, tags.long().")
    expected = tuple(emissions.shape[:2])
    if tags.shape != expected:
        raise InvalidStateError(
            where, f"shape {expected}, a tag for each step", f"shape {tuple(tags.shape)}"
        )
    if tags.device != emissions.device:
        raise InvalidStateError(
            where, f"the emissions' device {emissions.device}", str(tags.device)
        )
