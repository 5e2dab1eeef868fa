"""The layers of a Keras model in their order, if each is called on what the one before it gives.

A Functional model is written as a graph. A mask stands in it beside the layers, as operations on
their inputs, NotEqual and Any, that are handed to the layers after them. Where these are what an
Embedding or a Masking makes of its input, and nothing else, the row of layers alone says the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
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
    names = [row.get("name") for row in layers]
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise InvalidValueError(where, "layers with names of their own", repr(names)[:80])
    operations = _by_what_they_take(rows)
    before: Any = None
    masks: set[str] = set()
    for row in layers:
        if not _follows(row, before, masks):
            raise _branching(where, row)
        masks = _masks_after(row, before, masks, operations)
        before = row.get("name")
    ends = [list(_names(config.get(end))) for end in ("input_layers", "output_layers")]
    if layers and ends != [[layers[0].get("name")], [before]]:
        raise _branching(where, layers[-1])
    return layers


def _by_what_they_take(rows: Sequence[Described]) -> Mapping[str, list[Described]]:
    """Return the operations on the output of one layer or operation each, by the name of that."""
    operations: defaultdict[str, list[Described]] = defaultdict(list)
    for row in rows:
        if row.get("class_name") in _OPERATIONS and isinstance(row.get("name"), str):
            taken = _names_in(row.get("inbound_nodes"))
            if len(taken) == 1:
                operations[taken[0]].append(row)
    return operations


def _branching(where: str, row: Described) -> InvalidValueError:
    return InvalidValueError(
        where,
        "layers that follow one another, each called once on what the one before it gives",
        f"{row.get('class_name')} layer {str(row.get('name'))[:80]!r}, which is called otherwise",
        "Convert the layers one by one, from_keras(layer), and call them as the model does.",
    )


def _follows(row: Described, before: Any, masks: Set[str]) -> bool:
    """Say whether a layer is called once, on one tensor, with the mask that its row hands on."""
    calls = row.get("inbound_nodes")
    if before is None:
        return calls == []
    arguments, options = _call(calls)
    if len(arguments) != 1 or not _is_tensor(arguments[0]) or _names_in(arguments) != [before]:
        return False
    others = [value for name, value in options.items() if name not in ("mask", "training")]
    if options.get("training") or not _nothing(others):
        return False
    mask = options.get("mask")
    taken = _names_in(mask)
    return _nothing(mask) or (_is_tensor(mask) and len(taken) == 1 and taken[0] in masks)


def _nothing(value: Any) -> bool:
    """Say whether an argument was left out: a constant counts as much as a tensor does."""
    if isinstance(value, list | tuple):
        return all(map(_nothing, value))
    return value is None


def _masks_after(
    row: Described, before: Any, masks: set[str], operations: Mapping[str, Sequence[Described]]
) -> set[str]:
    """Return the operations that compute the mask which a layer hands on."""
    kind, config = row.get("class_name"), _options(row)
    if kind == "Embedding":
        differs = _comparisons(operations.get(before, ()), 0)
        return differs if config.get("mask_zero") else set()
    if kind == "Masking":
        differs = _comparisons(operations.get(before, ()), config.get("mask_value"))
        return {
            str(operation.get("name"))
            for name in differs
            for operation in operations.get(name, ())
            if operation.get("class_name") == "Any"
            and _options(operation).get("axis") == -1
            and not _options(operation).get("keepdims")
        }
    return masks


def _comparisons(operations: Sequence[Described], value: Any) -> set[str]:
    """Return which operations compare what they take with a number."""
    found = set()
    for operation in operations:
        arguments, _ = _call(operation.get("inbound_nodes"))
        compares = operation.get("class_name") == "NotEqual" and len(arguments) == 2
        if compares and _is_tensor(arguments[0]) and arguments[1] == value:
            found.add(str(operation.get("name")))
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


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__"


def _names_in(value: Any) -> list[str]:
    """Return the names of the layers and operations whose outputs a value holds."""
    if isinstance(value, Mapping):
        history = value.get("keras_history")
        if isinstance(history, list | tuple) and history:
            return [str(history[0])]
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
