"""The error types of gatewise and the one form of their messages.

Every message reads ``<Where>: expected …, got …. <What to do.>`` Each type also inherits the
builtin that a caller would expect, so ``except ValueError`` works as it does with torch.
"""

from __future__ import annotations

from collections.abc import Sequence


class GatewiseError(Exception):
    """Base of every error that gatewise raises on purpose.

    Args:
        where: The argument, field, file or place in a file at fault.
        expected: What would have been right.
        got: What came instead.
        remedy: What to do about it: a whole sentence, or empty.
    """

    def __init__(self, where: str, expected: str, got: str, remedy: str = "") -> None:
        # All four in args, so that an error survives pickling between worker processes.
        super().__init__(where, expected, got, remedy)
        self.where = where
        self.expected = expected
        self.got = got
        self.remedy = remedy

    def __str__(self) -> str:
        message = f"{self.where}: expected {self.expected}, got {self.got}."
        return f"{message} {self.remedy}" if self.remedy else message


class InvalidValueError(GatewiseError, ValueError):
    """A value of the right type is out of range or contradicts another."""


class InvalidTypeError(GatewiseError, TypeError):
    """A value has the wrong type or dtype."""


class InvalidStateError(GatewiseError, RuntimeError):
    """The call is not possible now: wrong shape or device for the layer, not fitted, no kernel."""


class InvalidFileError(GatewiseError, OSError):
    """A file is missing, damaged, of another kind, or cannot be written."""


class InvalidSettingsError(GatewiseError, ValueError):
    """Several faults of one configuration, reported together.

    Args:
        where: The object being configured, such as ``Forecaster``.
        faults: One error for each fault, at least one.
    """

    def __init__(self, where: str, faults: Sequence[GatewiseError]) -> None:
        self.faults = tuple(faults)
        super().__init__(where, "valid settings", f"{len(self.faults)} fault(s)")
        self.args = (where, self.faults)

    def __str__(self) -> str:
        lines = [f"{self.where}: {len(self.faults)} setting(s) to correct."]
        lines += [f"  {fault}" for fault in self.faults]
        return "\n".join(lines)

    @classmethod
    def raise_any(cls, where: str, faults: Sequence[GatewiseError]) -> None:
        """Raise one error for all ``faults``; do nothing when there are none."""
        if faults:
            raise cls(where, faults)

    def __reduce__(self) -> tuple[type, tuple[str, tuple[GatewiseError, ...]]]:
        return type(self), (self.where, self.faults)
