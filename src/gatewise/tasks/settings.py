"""Fields of estimators: how they are declared, and how all their faults are found at once.

A field is declared once, with its default, its help, its unit and its range; the shell's options,
the documentation and the checks are all made from that one line.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from gatewise.errors import GatewiseError, InvalidSettingsError, InvalidTypeError, InvalidValueError

_RANGE_WORDS: Final = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_TYPE_WORDS: Final = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    bool: ("True or False", "booleans"),
}


def setting(
    default: Any,
    *,
    help: str,  # noqa: A002 - the customary name of an option's description
    unit: str = "",
    group: str = "",
    ge: int | float | None = None,
    gt: int | float | None = None,
    le: int | float | None = None,
    lt: int | float | None = None,
) -> Any:
    """Declare one field of an estimator.

    Args:
        default: Its value when the user gives none; immutable.
        help: What it is, in one line without a full stop.
        unit: What it is counted in, such as ``steps``; empty for none.
        group: Under which heading ``--help`` shows it.
        ge: Smallest value allowed; of each element when the field is a tuple.
        gt: Value that must be exceeded.
        le: Largest value allowed.
        lt: Value that must not be reached.

    Returns:
        A dataclass field whose metadata holds ``help``, ``unit``, ``group`` and ``range``.
    """
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    limits = {name: bound for name, bound in bounds.items() if bound is not None}
    metadata = {"help": help, "unit": unit, "group": group, "range": limits}
    return dataclasses.field(default=default, metadata=metadata)


def checked_values(estimator: Any) -> dict[str, Any]:
    """Return the values of all fields of a dataclass in their declared types.

    NumPy scalars become Python's, lists become tuples; nothing else is converted.

    Args:
        estimator: An instance of a dataclass whose fields were made by ``setting``.

    Raises:
        InvalidSettingsError: With one fault for each field that has a wrong type or value.
    """
    import pydantic  # here: a heavy import that only a fit needs

    hints = get_type_hints(type(estimator), include_extras=True)
    values: dict[str, Any] = {}
    faults: list[GatewiseError] = []
    for field in dataclasses.fields(estimator):
        value = _plain(getattr(estimator, field.name))
        limits = field.metadata.get("range", {})
        adapter = pydantic.TypeAdapter(
            _limited(hints[field.name], limits), config=pydantic.ConfigDict(strict=True)
        )
        try:
            values[field.name] = adapter.validate_python(value)
        except pydantic.ValidationError as error:
            wrong_type = all(_is_type_fault(fault["type"]) for fault in error.errors())
            kind = InvalidTypeError if wrong_type else InvalidValueError
            expected = describe_type(hints[field.name], limits, field.metadata.get("unit", ""))
            faults.append(kind(field.name, expected, repr(getattr(estimator, field.name))))
    InvalidSettingsError.raise_any(type(estimator).__name__, faults)
    return values


def describe_type(
    annotation: Any, limits: Mapping[str, int | float] | None = None, unit: str = ""
) -> str:
    """Return a type and its range in words, such as ``an integer ≥ 1 (steps) or None``."""
    limits = limits or {}
    members = _members(annotation)
    words = [_describe_member(member, limits) for member in members if member is not type(None)]
    text = " or ".join(words)
    if unit:
        text += f" ({unit})"
    return f"{text} or None" if type(None) in members else text


def _members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union; a single type is a union of one."""
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _describe_member(annotation: Any, limits: Mapping[str, int | float]) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(repr(choice) for choice in get_args(annotation))
    ranges = " and ".join(f"{_RANGE_WORDS[name]} {bound:g}" for name, bound in limits.items())
    if get_origin(annotation) is tuple:
        text = f"a list of {_TYPE_WORDS[get_args(annotation)[0]][1]}"
        return f"{text}, each {ranges}" if ranges else text
    text = _TYPE_WORDS[annotation][0]
    return f"{text} {ranges}" if ranges and annotation in (int, float) else text


def _limited(annotation: Any, limits: Mapping[str, Any]) -> Any:
    """The annotation with its range, put on the numbers inside it."""
    from pydantic import Field

    if annotation in (int, float):
        return Annotated[annotation, Field(**limits)]
    if get_origin(annotation) is tuple and get_args(annotation)[0] in (int, float):
        return tuple[_limited(get_args(annotation)[0], limits), ...]
    members = _members(annotation)
    if len(members) > 1:
        return Union[tuple(_limited(member, limits) for member in members)]  # noqa: UP007
    return annotation


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's, lists as tuples, and NaN as what no range admits."""
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, list):
        return tuple(_plain(element) for element in value)
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def _is_type_fault(kind: str) -> bool:
    return kind.endswith("_type")
