"""A regular time axis: timestamps to step numbers and back.

Four kinds cover what pandas calls an offset. ``integer``: a step counter. ``fixed``: a constant
number of seconds, or of days by the clock on the wall, so that daily data keep their hour across a
change of daylight-saving time. ``month``: months, quarters and years, anchored at the start or the
end of the month. ``offset``: everything else (business days …), enumerated by pandas.

Every series has its own anchor, its first timestamp: weekly series may fall on different weekdays,
and hourly ones on different minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd

from gatewise.errors import InvalidValueError

DAY: Final = 86_400_000_000_000
"""One day in nanoseconds."""

_OLD_ALIASES: Final = {
    "H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "N": "ns", "M": "ME", "Q": "QE",
    "Y": "YE", "A": "YE", "AS": "YS", "BM": "BME", "BQ": "BQE", "d": "D", "w": "W", "b": "B",
}  # fmt: skip


def to_offset(frequency: str) -> pd.tseries.offsets.BaseOffset:
    """Return the pandas offset of an alias, of today or of older pandas versions.

    Args:
        frequency: ``h``, ``15min``, ``D``, ``W-SUN``, ``MS``, ``B`` …; also ``H``, ``M``, ``Q``.

    Returns:
        The offset.

    Raises:
        InvalidValueError: If pandas knows no such frequency, or it runs backwards.
    """
    digits = len(frequency) - len(frequency.lstrip("0123456789"))
    name, _, anchor = frequency[digits:].partition("-")
    name = _OLD_ALIASES.get(name, name)
    try:
        offset = pd.tseries.frequencies.to_offset(
            frequency[:digits] + name + (f"-{anchor}" if anchor else "")
        )
    except ValueError:
        offset = None
    if offset is None or getattr(offset, "n", 1) < 1:
        raise InvalidValueError(
            "frequency", "a pandas offset alias", repr(frequency),
            "Use for example 'h', '15min', 'D', 'W-SUN', 'MS', 'QS', 'YS' or 'B'.",
        )  # fmt: skip
    return offset


@dataclass(frozen=True)
class Grid:
    """The rule that leads from one timestamp of a series to the next.

    Args:
        kind: See the head of this file.
        width: Size of a step: counter units, nanoseconds or months; 1 for ``offset``.
        alias: The pandas alias; empty for a step counter.
        wall: Whether ``fixed`` steps follow the wall clock of the time zone.
        from_end: Whether months are anchored at their end.
    """

    kind: Literal["integer", "fixed", "month", "offset"]
    width: int
    alias: str = ""
    wall: bool = False
    from_end: bool = False

    @classmethod
    def of(cls, frequency: str | None, step: int = 1) -> Grid:
        """Return the grid of a frequency alias, or of a step counter (None).

        Args:
            frequency: A pandas offset alias or None.
            step: The distance between neighbours of a step counter.

        Returns:
            The grid.
        """
        if frequency is None:
            return cls("integer", step)
        offset = to_offset(frequency)
        n, alias = int(getattr(offset, "n", 1)), str(offset.freqstr)
        if isinstance(offset, pd.offsets.Week):
            return cls("fixed", 7 * DAY * n, alias, wall=True)
        if isinstance(offset, pd.offsets.Day):
            return cls("fixed", DAY * n, alias, wall=True)
        if isinstance(offset, pd.offsets.Tick):
            return cls("fixed", int(offset.nanos), alias)
        name = type(offset).__name__
        for prefix, months in (("Month", 1), ("Quarter", 3), ("Year", 12)):
            if name in (f"{prefix}Begin", f"{prefix}End"):
                return cls("month", months * n, alias, from_end=name.endswith("End"))
        return cls("offset", 1, alias)

    def number(self, times: pd.Index, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number the steps of each timestamp from the first of its series.

        Args:
            times: All timestamps, N.
            first: For each, the position in ``times`` of its series' first timestamp: int64, N.

        Returns:
            Step numbers, int64, N; and where a timestamp is off the grid, bool, N (its number is
            then meaningless).
        """
        if self.kind == "integer":
            values = times.to_numpy()
            steps, rest = np.divmod(values - values[first], self.width)
            return steps, rest != 0
        stamps = pd.DatetimeIndex(times)
        if self.kind == "offset":
            axis = self._axis(stamps)
            at = np.asarray(axis.get_indexer(stamps), dtype=np.int64)
            return at - at[first], (at < 0) | (at[first] < 0)
        if self.kind == "month":
            months = _wall(stamps).astype("datetime64[M]").astype(np.int64)
            steps = (months - months[first]) // self.width
        else:
            values = _wall(stamps).view(np.int64) if self.wall else stamps.asi8
            width = self._units(stamps)
            steps = np.rint((values - values[first]) / width).astype(np.int64)
        back = pd.DatetimeIndex(self.times(stamps[first], steps))
        # Compared by the wall clock: at the end of daylight saving an hour occurs twice.
        same = (_wall(back) == _wall(stamps)) if self.wall else (back.asi8 == stamps.asi8)
        return steps, ~same

    def times(self, anchors: pd.Index, steps: np.ndarray) -> pd.Index:
        """Return the timestamps ``steps`` after their anchors.

        Args:
            anchors: Timestamps on the grid, N.
            steps: Step numbers, int64, N, at least 0.

        Returns:
            Timestamps, N, in the time zone and unit of ``anchors``.
        """
        if self.kind == "integer":
            return pd.Index(anchors.to_numpy() + steps * self.width)
        stamps = pd.DatetimeIndex(anchors)
        if self.kind == "offset":
            return self._count_on(stamps, steps)
        if self.kind == "fixed" and not self.wall:
            return _like(stamps, stamps.asi8 + steps * self._units(stamps))
        wall = _wall(stamps)
        if self.kind == "fixed":
            moved = wall + (steps * self._units(stamps)).astype(f"timedelta64[{stamps.unit}]")
        else:
            months = wall.astype("datetime64[M]") + int(self.from_end)
            base = months.astype(wall.dtype)
            moved = (months + steps * self.width).astype(wall.dtype) + (wall - base)
        index = pd.DatetimeIndex(moved)
        if stamps.tz is None:
            return index
        first = np.ones(len(index), dtype=bool)
        return index.tz_localize(stamps.tz, ambiguous=first, nonexistent="shift_forward")

    def _units(self, stamps: pd.DatetimeIndex) -> int:
        """Return the width in the unit of the timestamps."""
        width, rest = divmod(self.width, 1 if stamps.unit == "ns" else 1000)
        if rest:
            raise InvalidValueError(
                "frequency", "microseconds or coarser", repr(self.alias),
                "Use integers as time for finer steps.",
            )  # fmt: skip
        return width

    def _axis(self, stamps: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Enumerate the grid of an offset from the first of the timestamps to the last."""
        ends = stamps[[int(stamps.argmin()), int(stamps.argmax())]]
        return pd.date_range(ends[0], ends[1], freq=to_offset(self.alias), unit=stamps.unit)

    def _count_on(self, anchors: pd.DatetimeIndex, steps: np.ndarray) -> pd.DatetimeIndex:
        """Count steps of an offset on from the anchors."""
        if len(anchors) == 0:
            return anchors
        past = self._axis(anchors)
        at = np.asarray(past.get_indexer(anchors), dtype=np.int64) + steps
        offset = to_offset(self.alias)
        periods = max(len(past), int(at.max()) + 1)
        axis = pd.date_range(past[0], periods=periods, freq=offset, unit=anchors.unit)
        return pd.DatetimeIndex(axis[at])


def _wall(stamps: pd.DatetimeIndex) -> np.ndarray:
    """Return what the clock on the wall shows, as datetime64."""
    return stamps.tz_localize(None).to_numpy()


def _like(stamps: pd.DatetimeIndex, values: np.ndarray) -> pd.DatetimeIndex:
    """Return int64 instants in the unit and the time zone of ``stamps``."""
    index = pd.DatetimeIndex(values.view(f"datetime64[{stamps.unit}]"))
    return index if stamps.tz is None else index.tz_localize("UTC").tz_convert(stamps.tz)
