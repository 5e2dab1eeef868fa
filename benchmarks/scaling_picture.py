"""The picture of results/scaling.json, as SVG that follows the reader's light or dark scheme.

    python benchmarks/scaling_picture.py    draws docs/img/scaling.svg anew, without measuring

Each panel shows one size on the horizontal and the cost of a step and row on the vertical axis,
both logarithmic. The colour is the library, the dash the pass; each line is named at its end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from machine import RESULTS

from gatewise.report.theme import COLOURS, FONT

NUMBERS = RESULTS / "scaling.json"
PICTURE = Path(__file__).parents[1] / "docs" / "img" / "scaling.svg"

WIDTH, HEIGHT = 300, 200  # of a panel, in pixels
LEFT, RIGHT, ABOVE, BELOW = 64, 146, 52, 44  # around it
TITLE, FOOT = 68, 40
LINE = 16  # between names
SERIES = {"ours": ("gatewise", "blue"), "torch": ("torch", "orange")}
AXES = {"T": "steps T", "B": "batch B", "H": "hidden size H"}
UNITS = ((1, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s"))


class Panel(NamedTuple):
    """Where a panel stands, and the ends of its axes as logarithms to base 10."""

    left: float
    top: float
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, size: float) -> float:
        """Return the place of a size."""
        return self.left + WIDTH * (math.log10(size) - self.x[0]) / (self.x[1] - self.x[0])

    def up(self, cost: float) -> float:
        """Return the place of a cost."""
        return self.top + HEIGHT * (self.y[1] - math.log10(cost)) / (self.y[1] - self.y[0])


def drawn(results: Mapping[str, Any]) -> str:
    """Return the picture: a column for each kind of layer, a row for each size that varies."""
    points = results["points"]
    kinds = list(dict.fromkeys(point["kind"] for point in points))
    sizes = list(dict.fromkeys(point["varied"] for point in points))
    wide = len(kinds) * (LEFT + WIDTH + RIGHT)
    high = TITLE + len(sizes) * (ABOVE + HEIGHT + BELOW) + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" '
        f'role="img" aria-label="Cost of a step against its sizes">',
        f"<style>{_style()}</style>",
        f'<rect class="paper" width="{wide}" height="{high}"/>',
        _text(LEFT, 32, "Time for one step of one row", "title"),
        _text(LEFT, 54, "I = H; lower is better; solid: training, dashed: forward only", "muted"),
    ]
    for row, varied in enumerate(sizes):
        ladder = _ladder([p for p in points if p["varied"] == varied])
        for column, kind in enumerate(kinds):
            own = [p for p in points if (p["kind"], p["varied"]) == (kind, varied)]
            left = LEFT + column * (LEFT + WIDTH + RIGHT)
            top = TITLE + ABOVE + row * (ABOVE + HEIGHT + BELOW)
            others = [f"{n} = {v}" for n, v in results["centre"].items() if n != varied]
            title = f"{kind}, {', '.join(others)}"
            parts += _panel(left, top, own, ladder, title, AXES[varied])
    parts.append(_text(LEFT, high - 16, results["machine"], "small"))
    return "\n".join([*parts, "</svg>", ""])


def _ladder(points: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the ticks that hold the costs of a row of panels: 1, 2, 5, 10, or powers of ten."""
    costs = [cost for point in points for cost in point["cost"].values()]
    powers = range(math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs))) + 1)
    steps = (1, 2, 5) if max(costs) < 100 * min(costs) else (1,)
    ticks = [step * 10.0**power for power in powers for step in steps]
    below = [tick for tick in ticks if tick <= min(costs)]
    above = [tick for tick in ticks if tick >= max(costs)]
    return [tick for tick in ticks if below[-1] <= tick <= above[0]]


def _panel(
    left: float,
    top: float,
    points: Sequence[Mapping[str, Any]],
    ladder: Sequence[float],
    title: str,
    label: str,
) -> list[str]:
    """Return the marks of a panel."""
    sizes = [point["size"] for point in points]
    ends = [(math.log10(ends[0]), math.log10(ends[-1])) for ends in (sizes, ladder)]
    panel = Panel(left, top, *ends)
    right, bottom = left + WIDTH, top + HEIGHT
    parts = [_text(left, top - 16, title, "head")]
    for tick in ladder:
        y = panel.up(tick)
        parts.append(_line([(left, y), (right, y)], "grid"))
        parts.append(_text(left - 8, y + 4, _time(tick), "tick end"))
    for size in sizes[:: 1 + len(sizes) // 7]:
        x = panel.across(size)
        parts.append(_line([(x, bottom), (x, bottom + 4)], "rule"))
        parts.append(_text(x, bottom + 18, f"{size:,}", "tick middle"))
    parts.append(_line([(left, bottom), (right, bottom)], "rule"))
    parts.append(_text(left + WIDTH / 2, bottom + 36, label, "tick middle"))
    tails = []
    for name in points[0]["cost"]:
        what, library = name.split()
        track = [
            (panel.across(p["size"]), panel.up(p["cost"][name]))
            for p in points
            if name in p["cost"]
        ]
        spoken, _ = SERIES[library]
        parts.append(_line(track, f"{library} {what}"))
        tails.append((track[-1], f"{spoken}, {what}", library))
    return parts + _names(tails, right)


def _names(tails: list[tuple[tuple[float, float], str, str]], right: float) -> list[str]:
    """Return the names of lines beside their ends, moved apart where they would overlap."""
    tails.sort(key=lambda tail: tail[0][1])
    places = [tail[0][1] for tail in tails]
    for _ in range(100):
        for upper, lower in pairwise(range(len(places))):
            overlap = LINE - (places[lower] - places[upper])
            if overlap > 0:
                places[upper] -= overlap / 2
                places[lower] += overlap / 2
    parts = []
    for (end, name, library), place in zip(tails, places, strict=True):
        parts.append(_line([end, (right + 10, place)], f"{library} leader"))
        parts.append(_text(right + 14, place + 4, name, f"name {library}-name"))
    return parts


def _time(nanoseconds: float) -> str:
    factor, unit = next(pair for pair in reversed(UNITS) if nanoseconds >= pair[0])
    return f"{nanoseconds / factor:g} {unit}"


def _line(points: Sequence[tuple[float, float]], kind: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{places}"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _style() -> str:
    """Return the style sheet: shapes once, colours for a light and for a dark scheme."""
    light, dark = ({name: pair[n] for name, pair in COLOURS.items()} for n in (0, 1))
    return f"""
text {{ font: 13px {FONT}; }}
.title {{ font-size: 19px; font-weight: 640; }} .head {{ font-size: 14px; font-weight: 600; }}
.small {{ font-size: 10.5px; }} .end {{ text-anchor: end; }} .middle {{ text-anchor: middle; }}
polyline {{ fill: none; stroke-width: 2; stroke-linejoin: round; }}
.forward {{ stroke-dasharray: 6 4; }} .grid, .rule {{ stroke-width: 1; }}
.leader {{ stroke-width: 1; opacity: 0.55; }}
{_colours(light)}
@media (prefers-color-scheme: dark) {{ {_colours(dark)} }}
"""


def _colours(colours: Mapping[str, str]) -> str:
    lines = [
        f".{library} {{ stroke: {colours[name]}; }} .{library}-name {{ fill: {colours[name]}; }}"
        for library, (_, name) in SERIES.items()
    ]
    lines.append(f".paper {{ fill: {colours['paper']}; }}")
    lines.append(f".title, .head {{ fill: {colours['ink']}; }}")
    lines.append(f".muted, .small, .tick {{ fill: {colours['muted']}; }}")
    lines += [f".{name} {{ stroke: {colours[name]}; }}" for name in ("grid", "rule")]
    return " ".join(lines)


if __name__ == "__main__":
    PICTURE.write_text(drawn(json.loads(NUMBERS.read_text())))
