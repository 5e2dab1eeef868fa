"""Colours: all from one place, legible on both papers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from gatewise.report import theme

COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}|rgba?\([^)]*\)|hsla?\([^)]*\)")


def colours_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from colours_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from colours_in(item)
    elif isinstance(value, str) and COLOUR.fullmatch(value):
        yield value


def luminance(hex_colour: str) -> float:
    parts = [int(hex_colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: 4.5 for text, 3 for lines that carry meaning."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("name", "least"), [("ink", 7.0), ("muted", 4.5), *((name, 3.0) for name in theme.SERIES)]
)
def test_contrast_with_the_paper(name, least, scheme):
    assert contrast(theme.COLOURS[name][scheme], theme.COLOURS["paper"][scheme]) >= least


def test_light_colours_are_told_apart_when_swapped():
    light = [pair[0] for pair in theme.COLOURS.values()]
    assert len(set(light)) == len(light)


def test_figures_take_all_colours_from_the_theme(all_figures):
    known = {pair[0] for pair in theme.COLOURS.values()} | {"rgba(0,0,0,0)"}
    for name, figure in all_figures.items():
        used = set(colours_in(figure.to_plotly_json()))
        assert used, name
        assert used <= known, name


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_gate_scale_is_monotone(scheme):
    names = ("paper", "gate_1", "gate_2", "gate_3", "gate_4")
    steps = [luminance(theme.COLOURS[name][scheme]) for name in names]
    assert steps == sorted(steps, reverse=scheme == 0)


def test_scales_run_from_zero_to_one():
    for scale in (theme.gate_scale(), theme.state_scale()):
        assert [place for place, _ in scale] == [0, 0.25, 0.5, 0.75, 1]
