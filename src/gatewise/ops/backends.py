"""Who decides which kernel runs: the layer, a block of code, the environment, or nobody.

The nearest wins: ``backend=`` of a layer, then the innermost `use_backend` that is open, then the
environment variable ``GATEWISE_BACKEND``. Without any of them the best kernel is chosen.

What is open is kept in a plain list, which torch's compiler guards: a compiled layer follows it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple, cast, get_args

from gatewise.errors import InvalidValueError

Backend = Literal["auto", "native", "reference"]

BACKENDS: tuple[str, ...] = get_args(Backend)


class Asked(NamedTuple):
    """A backend, and by what it was asked for, as `explain` says it."""

    backend: Backend
    by: str


def _from_environment() -> Asked:
    name = os.environ.get("GATEWISE_BACKEND") or "auto"
    check_backend("GATEWISE_BACKEND", name)
    return Asked(cast("Backend", name), f"GATEWISE_BACKEND={name}")


def check_backend(where: str, name: object) -> None:
    """Raise unless ``name`` is a backend.

    Raises:
        InvalidValueError: It is not.
    """
    if name not in BACKENDS:
        raise InvalidValueError(where, " or ".join(map(repr, BACKENDS)), repr(name))


_environment = _from_environment()
_open: list[Asked] = []


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Run layers on one backend while the block is open, in the whole process, as torch's flags do.

    A layer that was made with a ``backend`` of its own keeps it. ``auto`` lets the best be chosen
    again inside a block or an environment that says otherwise.

    Args:
        backend: ``native``, ``reference`` or ``auto``. A call that the native kernels cannot run
            raises under ``native``.

    Raises:
        InvalidValueError: Another name.

    Example:
        >>> import gatewise as gw
        >>> with gw.use_backend("reference"):
        ...     gw.nn.GRU(3, 8).explain()
        "reference (torch): use_backend('reference') asks for it"
    """
    check_backend("use_backend(backend)", backend)
    entry = Asked(backend, f"use_backend({backend!r})")
    _open.append(entry)
    try:
        yield
    finally:
        # Not the last one, if blocks of several threads overlap.
        _open[:] = [other for other in _open if other is not entry]


def asked(backend: Backend) -> Asked:
    """Return what decides for a layer whose own ``backend`` this is."""
    if backend != "auto":
        return Asked(backend, f"backend={backend!r}")
    return _open[-1] if _open else _environment
