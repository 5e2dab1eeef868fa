"""The layers of a Keras model in their order, if each is called on what the one before it gives.

A Functional model is written as a graph. A mask stands in it beside the layers, as operations on
their inputs, NotEqual and Any, that are handed to the layers after them. Where these are what an
Embedding or a Masking makes of its input, and nothing else, the row of layers alone says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gatewise.errors import InvalidValueError

Described = Mapping[str, Any]

_OPERATIONS: Final = ("NotEqual", "Any")


def chain(kind: str, config: Described) -> list[Described]:
    """Return the layers of a Sequential or Functional model, without its input.

    Raises:
        InvalidValueError: They do not follow one another.
    """
    where = f"{kind} model {str(config.get('name'))[:80]!r}"
    rows = config.get("layers")
    if not isinstance(rows, list | tuple) or not all(isinstance(row, Mapping) for row in rows):
        raise InvalidValueError(where, "a list of layers", repr(rows)[:80])
    if kind == "Functional":
        rows = _followed(where, config, rows)
    rows = [row for row in rows if row.get("class_name") != "InputLayer"]
    if not rows:
        raise InvalidValueError(where, "at least one layer", "none")
    return rows


def _followed(where: str, config: Described, rows: Sequence[Described]) -> list[Described]:
    """Return the layers of a graph that is a row."""
    layers = [row for row in rows if row.get("class_name") not in _OPERATIONS]
    operations = [row for row in rows if row.get("class_name") in _OPERATIONS]
    before: Any = None
    masks: list[Any] = []
    for row in layers:
        if not _follows(row, before, masks):
            raise _branching(where, row)
        masks = _masks_after(row, before, masks, operations)
        before = row.get("name")
    ends = [list(_names(config.get(end))) for end in ("input_layers", "output_layers")]
    if layers and ends != [[layers[0].get("name")], [before]]:
        raise _branching(where, layers[-1])
    return layers


def _branching(where: str, row: Described) -> InvalidValueError:
    return InvalidValueError(
        where,
        "layers that follow one another, each called once on what the one before it gives",
        f"{row.get('class_name')} layer {str(row.get('name'))[:80]!r}, which is called otherwise",
        "Convert the layers one by one, from_keras(layer), and call them as the model does.",
    )


def _follows(row: Described, before: Any, masks: Sequence[Any]) -> bool:
    """Say whether a layer is called once, on one tensor, with the mask that its row hands on."""
    calls = row.get("inbound_nodes")
    if before is None:
        return calls == []
    arguments, options = _call(calls)
    if len(arguments) != 1 or _names_in(arguments) != [before] or options.get("training"):
        return False
    others = [value for name, value in options.items() if name != "mask"]
    return not _names_in(others) and _names_in(options.get("mask")) in ([], *([m] for m in masks))


def _masks_after(
    row: Described, before: Any, masks: list[Any], operations: Sequence[Described]
) -> list[Any]:
    """Return the operations that compute the mask which a layer hands on."""
    kind, config = row.get("class_name"), _options(row)
    if kind == "Embedding":
        return _operations_on(before, 0, operations) if config.get("mask_zero") else []
    if kind == "Masking":
        differs = _operations_on(before, config.get("mask_value"), operations)
        return [
            operation.get("name")
            for operation in operations
            if operation.get("class_name") == "Any"
            and _names_in(operation.get("inbound_nodes")) in [[name] for name in differs]
            and _options(operation).get("axis") == -1
        ]
    return masks


def _operations_on(before: Any, value: Any, operations: Sequence[Described]) -> list[Any]:
    """Return the operations that compare what a layer gives with a number."""
    found = []
    for operation in operations:
        arguments, _ = _call(operation.get("inbound_nodes"))
        compares = operation.get("class_name") == "NotEqual" and len(arguments) == 2
        if compares and _names_in(arguments) == [before] and arguments[1] == value:
            found.append(operation.get("name"))
    return found


def _options(row: Described) -> Described:
    config = row.get("config")
    return config if isinstance(config, Mapping) else {}


def _call(calls: Any) -> tuple[Sequence[Any], Described]:
    """Return the arguments of the only call of a layer; none if there is not one."""
    if isinstance(calls, list | tuple) and len(calls) == 1 and isinstance(calls[0], Mapping):
        arguments, options = calls[0].get("args"), calls[0].get("kwargs")
        if isinstance(arguments, list | tuple) and isinstance(options, Mapping):
            return arguments, options
    return (), {}


def _names_in(value: Any) -> list[Any]:
    """Return the names of the layers and operations whose outputs a value holds."""
    if isinstance(value, Mapping):
        history = value.get("keras_history")
        if isinstance(history, list | tuple) and history:
            return [history[0]]
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [name for part in value for name in _names_in(part)]
    return []


def _names(ends: Any) -> Iterator[Any]:
    """Yield the names in ``input_layers`` or ``output_layers``: of [name, node, tensor]."""
    if isinstance(ends, Mapping):
        ends = list(ends.values())
    if not isinstance(ends, list | tuple) or not ends:
        return
    if isinstance(ends[0], list | tuple | Mapping):
        for end in ends:
            yield from _names(end)
    else:
        yield ends[0]
