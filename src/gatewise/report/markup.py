"""The HTML of a report, piece by piece; every text that comes in is escaped here."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from gatewise._version import __version__
from gatewise.report import theme
from gatewise.report.cells import format_column, format_value, is_number, plain
from gatewise.report.figures.lines import meta

CONTENTS_FROM = 4
"""Sections from which on a table of contents helps."""

COMPACT_FROM = 12
"""Rows from which on a table is for looking things up, and set tighter."""

PROSE_FROM = 24
"""Letters of a cell from which on its column is for reading, and not made narrow."""

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
)
"""What the browser may load: nothing but what the file itself holds."""


@dataclass(frozen=True)
class Section:
    """A heading and the finished HTML under it."""

    heading: str
    content: str


def page(title: str, subtitle: str, numbers: Sequence[str], sections: Sequence[Section]) -> str:
    """Return the whole document."""
    anchors = [f"{_slug(section.heading)}-{n}" for n, section in enumerate(sections, start=1)]
    body = "\n".join(
        f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{escape(section.heading)}</h2>\n'
        f"{section.content}\n</section>"
        for anchor, section in zip(anchors, sections, strict=True)
    )
    strip = f'<dl class="numbers">{"".join(numbers)}</dl>' if numbers else ""
    contents = _contents(anchors, sections) if len(sections) >= CONTENTS_FROM else ""
    drawn = any('class="plot"' in section.content for section in sections)
    scripts = _scripts() if drawn else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="gatewise {__version__}">
<title>{escape(title)}</title>
<style>
{_variables()}
{_resource("page.css")}
</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<h1>{escape(title)}</h1>
{f'<p class="subtitle">{escape(subtitle)}</p>' if subtitle else ""}
{strip}
</header>
<div class="{"columns" if contents else "column"}">
{contents}
<main id="content">
{body}
</main>
</div>
<footer><p>Made with gatewise {__version__}. This file needs no network.</p></footer>
{scripts}
</body>
</html>
"""


def headline_number(label: str, value: object, note: str) -> str:
    """Return one entry of the strip of key numbers."""
    detail = f'<dd class="note">{escape(note)}</dd>' if note else ""
    shown = escape(format_value(value, significant=3))
    return f'<div><dt>{escape(label)}</dt><dd class="value">{shown}</dd>{detail}</div>'


def paragraphs(text: str) -> str:
    """Return plain text as paragraphs."""
    parts = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    return "\n".join(f"<p>{escape(part)}</p>" for part in parts)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    note: str,
    emphasise: str | None,
    *,
    caption: str,
) -> str:
    """Return a table with scoped headers; numbers are aligned by their last digit."""
    kind = ' class="compact"' if len(rows) >= COMPACT_FROM else ""
    cells = list(zip(*(format_column(c) for c in zip(*rows, strict=True)), strict=True))
    classes = [
        _column_class([row[n] for row in rows], [texts[n] for texts in cells])
        for n in range(len(columns))
    ]
    head = "".join(
        f'<th scope="col"{kind}>{escape(str(name))}</th>'
        for name, kind in zip(columns, classes, strict=True)
    )
    body = "\n".join(
        _row(texts, classes, emphasised=emphasise is not None and str(row[0]) == emphasise)
        for row, texts in zip(rows, cells, strict=True)
    )
    # The frame scrolls sideways on narrow screens; tabindex lets the keyboard scroll it.
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(caption)}">\n'
        f"<table{kind}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
        + (f'\n<p class="note">{escape(note)}</p>' if note else "")
    )


def figure(fig: go.Figure, note: str, *, fallback: str) -> str:
    """Return a figure with its data, caption and text alternative; the page's script draws it."""
    noted = meta(fig)
    caption = " ".join(part for part in (note, noted.get("caption", "")) if part)
    height = fig.layout["height"] or 400
    data = _json_for_html(fig.to_json() or "{}")
    return (
        "<figure>\n"
        f'<div class="plot" role="img" aria-label="{escape(noted.get("alt", fallback))}"'
        f' style="min-height:{height:.0f}px"></div>\n'
        f'<script type="application/json">{data}</script>\n'
        + (f"<figcaption>{escape(caption)}</figcaption>\n" if caption else "")
        + "</figure>"
    )


def _row(texts: Sequence[str], classes: Sequence[str], *, emphasised: bool) -> str:
    first, *rest = texts
    data = "".join(
        f"<td{kind}>{escape(text)}</td>" for text, kind in zip(rest, classes[1:], strict=True)
    )
    mark = ' class="emphasised"' if emphasised else ""
    return f'<tr{mark}><th scope="row"{classes[0]}>{escape(first)}</th>{data}</tr>'


def _column_class(values: Sequence[object], texts: Sequence[str]) -> str:
    if any(is_number(plain(value)) for value in values):
        return ' class="number"'
    return ' class="prose"' if any(len(text) >= PROSE_FROM for text in texts) else ""


def _contents(anchors: Sequence[str], sections: Sequence[Section]) -> str:
    items = "".join(
        f'<li><a href="#{anchor}">{escape(section.heading)}</a></li>'
        for anchor, section in zip(anchors, sections, strict=True)
    )
    return f'<nav aria-label="Contents"><ol>{items}</ol></nav>'


def _scripts() -> str:
    pairs = _json_for_html(json.dumps(dict(theme.COLOURS.values())))
    noscript = "<noscript><p>The pictures of this page need JavaScript.</p></noscript>"
    return (
        f"{noscript}\n<script>{get_plotlyjs()}</script>\n"
        f'<script type="application/json" id="colours">{pairs}</script>\n'
        f"<script>\n{_resource('page.js')}</script>"
    )


def _variables() -> str:
    def block(scheme: int) -> str:
        named = {name: pair[scheme] for name, pair in theme.COLOURS.items()}
        return " ".join(f"--{name.replace('_', '-')}: {value};" for name, value in named.items())

    return (
        f":root {{ color-scheme: light dark; --font: {theme.FONT}; {block(0)} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {block(1)} }} }}"
    )


def _slug(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") or "section"


def _json_for_html(text: str) -> str:
    # Inside a script element only these can end the script or open a comment.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _resource(name: str) -> str:
    return files("gatewise.report").joinpath(name).read_text(encoding="utf-8")
