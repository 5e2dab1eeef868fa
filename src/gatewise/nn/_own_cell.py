"""A cell of one's own: what a pure function of one step has to look like, and how it is called."""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from gatewise.errors import GatewiseError, InvalidStateError, InvalidTypeError, InvalidValueError
from gatewise.nn._option_faults import type_and_value
from gatewise.ops.reference.sequence import State

_TERM = re.compile(r"([1-9][0-9]*)?([HI]?)")


def shape_of(text: str, *, H: int, I: int) -> tuple[int, ...]:  # noqa: E741 - the field's letter
    """Return the sizes that ``text`` stands for: ``"2H I"`` is (2·H, I), ``""`` a single number.

    Raises:
        InvalidValueError: It has a term that is none.
    """
    sizes = []
    for term in text.split():
        found = _TERM.fullmatch(term)
        if found is None:
            raise InvalidValueError(
                "weights", "shapes of numbers, H and I, such as '2H I'", repr(text)
            )
        factor, letter = found.groups()
        sizes.append(int(factor or 1) * {"H": H, "I": I, "": 1}[letter])
    return tuple(sizes)


def can_be_shown(name: object) -> bool:
    """Say whether a trace may have a field of that name."""
    if not isinstance(name, str) or keyword.iskeyword(name):
        return False
    return name.isidentifier() and not name.startswith("_")


def cell_faults(
    where: str,
    cell: object,
    states: Mapping[str, float],
    weights: Mapping[str, str],
) -> list[GatewiseError]:
    """Return what is wrong with a cell, its states and its weights."""
    faults: list[GatewiseError] = []
    if not states or not all(isinstance(value, int | float) for value in states.values()):
        expected = "the states' names, h first, and the numbers that they begin with"
        faults.append(InvalidValueError(f"{where}(states)", expected, repr(dict(states))))
    unfit = [name for name in states if not can_be_shown(name)]
    if unfit:
        expected = "names that a named tuple may have"
        faults.append(InvalidValueError(f"{where}(states)", expected, ", ".join(map(repr, unfit))))
    if not weights:
        expected = "the weights' names and shapes, such as {'weight_ih': '2H I'}"
        faults.append(InvalidValueError(f"{where}(weights)", expected, "none"))
    for name, text in weights.items():
        try:
            shape_of(text, H=1, I=1)
        except InvalidValueError as fault:
            faults.append(
                InvalidValueError(f"{where}(weights[{name!r}])", fault.expected, fault.got)
            )
    taken = [name for name in weights if name in states or name == "x" or not name.isidentifier()]
    if taken:
        expected = "names of arguments, none of them x or that of a state"
        faults.append(InvalidValueError(f"{where}(weights)", expected, ", ".join(map(repr, taken))))
    if not callable(cell):
        expected = "a function cell(x, *states, **weights)"
        faults.append(InvalidTypeError(f"{where}(cell)", expected, type_and_value(cell)))
    elif not faults:
        faults += _signature_faults(where, cell, states, weights)
    return faults


def _signature_faults(
    where: str, cell: Callable[..., Any], states: Mapping[str, float], weights: Mapping[str, str]
) -> list[GatewiseError]:
    try:
        signature = inspect.signature(cell)
    except ValueError:  # some builtins tell none
        return []
    try:
        signature.bind(None, *states.values(), **weights)
    except TypeError as error:
        call = f"cell(x, {', '.join(states)}, {', '.join(f'{name}=…' for name in weights)})"
        return [InvalidTypeError(f"{where}(cell)", f"one that takes {call}", str(error))]
    return []


class OwnStep:
    """A cell of one's own as the time loop calls it, with its weights; checks what it returns.

    Args:
        where: Of errors.
        cell: Returns the new states, and perhaps a dict of tensors to show, last.
        states: Their names.
        weights: Of one direction of a layer, by name.
    """

    def __init__(
        self,
        where: str,
        cell: Callable[..., Any],
        states: Sequence[str],
        weights: Mapping[str, Tensor],
    ) -> None:
        self.shown: list[str] = []
        """The names of what the last step has shown."""
        self._where, self._cell, self._states, self._weights = where, cell, states, weights

    def __call__(self, x: Tensor, states: State, _: object) -> tuple[State, State]:
        given: Any = self._cell(x, *states, **self._weights)
        parts: list[Any] = list(given) if isinstance(given, tuple | list) else [given]
        shown: dict[str, Any] = parts.pop() if parts and isinstance(parts[-1], dict) else {}
        if len(parts) != len(states) or not all(isinstance(part, Tensor) for part in parts):
            got = ", ".join(type(part).__name__ for part in parts) or "none"
            expected = f"the new {', '.join(self._states)} of a step, tensors"
            raise InvalidTypeError(self._where, expected, got)
        for name, part, before in zip(self._states, parts, states, strict=True):
            if part.shape != before.shape:
                expected = f"a new {name} of shape {tuple(before.shape)}"
                raise InvalidStateError(self._where, expected, f"shape {tuple(part.shape)}")
        for name, part in shown.items():
            fits = isinstance(part, Tensor) and part.shape[:1] == x.shape[:1]
            if name in self._states or not can_be_shown(name) or not fits:
                raise InvalidStateError(
                    self._where,
                    f"tensors to show, with a first axis of {len(x)}, and names that a named "
                    "tuple may have and no state has",
                    f"{name!r}: {getattr(part, 'shape', part)}",
                )
        self.shown = list(shown)
        return tuple(parts), tuple(shown.values())
