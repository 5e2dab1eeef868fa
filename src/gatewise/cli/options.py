"""Options of the shell, made from the fields of an estimator.

A field's name, type, default, help, unit and group become one option: ``learning_rate`` becomes
``--learning-rate FLOAT``, a ``Literal`` its choices, ``None`` the word ``none``, and a tuple an
option that is repeated or takes a comma-separated list.
"""

from __future__ import annotations

import csv
import dataclasses
import inspect
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from cyclopts import Group, Parameter, Token

_LAST: Final = ("Training", "Hardware")


def field_parameters(estimator: type) -> list[inspect.Parameter]:
    """Return one keyword-only parameter for each field of a dataclass, for cyclopts to read.

    Args:
        estimator: A dataclass whose fields carry ``help``, ``unit`` and ``group`` as metadata.
    """
    hints = get_type_hints(estimator)
    fields = [field for field in dataclasses.fields(estimator) if field.init]
    # In the order in which the fields name them, after the run's own; what all share at the end.
    titles = sorted(dict.fromkeys(map(_title, fields)), key=lambda title: title in _LAST)
    groups = {title: Group(title, sort_key=10 + place) for place, title in enumerate(titles)}
    parameters = []
    for field in fields:
        option = _option(hints[field.name], field.metadata, groups[_title(field)])
        parameters.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(field),
                annotation=Annotated[hints[field.name], option],
            )
        )
    return parameters


def _title(field: dataclasses.Field[Any]) -> str:
    return (field.metadata.get("group") or "settings").capitalize()


def _option(hint: Any, metadata: Any, group: Group) -> Parameter:
    help_line, unit = metadata.get("help", ""), metadata.get("unit", "")
    if unit and unit not in help_line.lower():
        help_line = f"{help_line} ({unit})"
    common = {"help": help_line, "group": group, "show_default": _shown_default}
    if _tuple_of(hint) is None:
        return Parameter(**common)
    converter = partial(_tuple_from_tokens, hint)
    return Parameter(**common, converter=converter, n_tokens=1, negative="")


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty


def _shown_default(value: Any) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return str(value)


def _tuple_of(hint: Any) -> type | None:
    """The type of the elements if ``hint`` is a tuple, perhaps an optional one."""
    if get_origin(hint) is tuple:
        return get_args(hint)[0]
    members = [member for member in get_args(hint) if member is not type(None)]
    return _tuple_of(members[0]) if len(members) == 1 else None


def _tuple_from_tokens(hint: Any, _: Any, tokens: Sequence[Token]) -> tuple[Any, ...] | None:
    """What the user gave for a field of the type ``hint``; cyclopts' own idea of it lacks None."""
    texts = [token.value for token in tokens]
    if texts == ["none"]:
        return None if type(None) in get_args(hint) else ()
    element = _tuple_of(hint) or str
    # As in a CSV file, quotes protect a comma that belongs to a name.
    parts = [part for row in csv.reader(texts, skipinitialspace=True) for part in row if part]
    return tuple(_element(element, part) for part in parts)


def _element(kind: type, text: str) -> Any:
    try:
        return kind(text)
    except ValueError as fault:
        word = {int: "an integer", float: "a number"}.get(kind, kind.__name__)
        raise ValueError(f"expected {word}, got {text!r}.") from fault
