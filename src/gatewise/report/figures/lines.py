"""What all figures share: checked arrays, axis values, thinning, captions, escaped names."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from gatewise.errors import InvalidTypeError, InvalidValueError
from gatewise.report import theme

POINT_LIMIT = 2000
"""Points that one line may keep: about two for each pixel of a wide screen."""


def escape(name: object) -> str:
    """Return a user's name as plotly shows it literally: plotly reads tags in text."""
    return html.escape(str(name), quote=False)


def numbers(where: str, values: ArrayLike, length: int | None = None) -> np.ndarray:
    """Return one-dimensional ``values`` as float64, or raise an error that names ``where``."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as fault:
        raise InvalidTypeError(
            where, "numbers", f"{type(values).__name__} ({fault})", "Pass an array of numbers."
        ) from fault
    if array.ndim != 1 or (length is not None and len(array) != length):
        wanted = "one dimension" if length is None else f"{length} values"
        raise InvalidValueError(
            where, wanted, f"shape {array.shape}", "Pass arrays that belong together."
        )
    return array


def axis_values(values: ArrayLike) -> np.ndarray:
    """Return times as plotly takes them: ISO text for dates, numbers for numbers, else text."""
    array = np.asarray(values)
    if array.dtype.kind == "M":
        seconds = array.astype("datetime64[s]")
        whole_days = bool((seconds == seconds.astype("datetime64[D]")).all())
        return np.datetime_as_string(seconds, unit="D" if whole_days else "s")
    if array.dtype.kind in "iuf":
        return array
    return np.array([str(value) for value in array], dtype=object)


def thin(x: np.ndarray, y: np.ndarray, limit: int = POINT_LIMIT) -> tuple[np.ndarray, np.ndarray]:
    """Return at most about ``limit`` points of a line, the extremes of every stretch among them.

    The line is cut into equal stretches; each keeps its first, lowest and highest point, and a gap
    (NaN) where it holds one. What the eye sees of a peak, a trough or a gap stays; unlike a mean
    or every n-th point, nothing is smoothed away.
    """
    if len(y) <= limit:
        return x, y
    keep = [0, len(y) - 1]
    edges = np.linspace(0, len(y), limit // 4 + 1).astype(np.int64)
    for start, stop in itertools.pairwise(edges):
        stretch = y[start:stop]
        keep.append(start)
        missing = np.isnan(stretch)
        if missing.any():
            keep.append(start + int(missing.argmax()))
        if not missing.all():
            keep += [start + int(np.nanargmin(stretch)), start + int(np.nanargmax(stretch))]
    chosen = np.unique(np.array(keep))
    return x[chosen], y[chosen]


def base_figure(
    figure: go.Figure, *, height: int, caption: Sequence[str], alt: str, **layout: Any
) -> go.Figure:
    """Give ``figure`` the shared template, its height, its caption and its text alternative."""
    return figure.update_layout(
        template=theme.template(),
        height=height,
        meta={"caption": " ".join(part for part in caption if part), "alt": alt},
        **layout,
    )


def line_style(place: int, *, width: float = 1.6) -> dict[str, Any]:
    """Return colour and dash of the line at ``place``: two marks, so neither is needed alone."""
    count = len(theme.SERIES)
    name = theme.SERIES[place % count]
    # From the second round of colours on, the dash moves by one: no pair returns before 25 lines.
    dash = theme.DASHES[(place + place // count) % len(theme.DASHES)]
    return {"color": theme.colour(name), "dash": dash, "width": width}


def line_places(baselines: Iterable[str]) -> dict[str, int]:
    """Return the place of each baseline's line style: the same in every figure of a page."""
    return {name: place for place, name in enumerate(sorted(baselines), start=1)}


def meta(figure: go.Figure) -> Mapping[str, str]:
    """Return what ``base_figure`` noted on a figure; empty for figures made elsewhere."""
    noted = figure.layout["meta"]
    return noted if isinstance(noted, Mapping) else {}
