"""The page: escaped, accessible, complete in itself, written whole or not at all."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

from gatewise.errors import InvalidFileError, InvalidValueError
from gatewise.report import Report
from gatewise.report.cells import format_column, format_value

DASH = "\N{EN DASH}"
HOSTILE = """</script><script>alert(1)</script><img src="https://example.org/x.png" onerror='x'>"""


class Elements(HTMLParser):
    """Collects every element with its attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def hostile_page(figure: go.Figure) -> str:
    return (
        Report(HOSTILE, HOSTILE)
        .number(HOSTILE, HOSTILE, HOSTILE)
        .text(HOSTILE, HOSTILE)
        .table(HOSTILE, [HOSTILE, "b"], [[HOSTILE, HOSTILE]], HOSTILE)
        .figure(HOSTILE, figure.update_layout(title=HOSTILE), HOSTILE)
        .to_html()
    )


def test_text_of_users_is_text(all_figures):
    elements = Elements(hostile_page(all_figures["horizon"]))
    assert not elements.named("img")
    # plotly, the colours, the page's own, and the figure's data.
    assert len(elements.named("script")) == 4
    # title, heading, subtitle, strip, headings, contents, text, table, note, caption
    assert elements.text.count(HOSTILE) >= 15


def test_nothing_is_loaded_from_anywhere(all_figures):
    report = Report("Title")
    for name, figure in all_figures.items():
        report.figure(name, figure)
    page = report.to_html()
    elements = Elements(page)
    for tag, attributes in elements.found:
        assert not {"src", "srcset", "data", "action", "poster"} & set(attributes), tag
        assert (attributes.get("href") or "#").startswith("#"), tag
    assert not elements.named("link")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(m for m in elements.named("meta") if "http-equiv" in m)["content"]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "://" not in page.replace(get_plotlyjs(), "")


def test_plotly_is_inlined_once_and_only_when_needed(all_figures):
    two = Report("t").figure("a", all_figures["horizon"]).figure("b", all_figures["training"])
    assert two.to_html().count("plotly.js v") == 1
    assert len(Report("t").text("a", "b").to_html()) < 20_000


def test_figure_data_comes_back_from_the_page(all_figures):
    page = Report("t").figure("a", all_figures["horizon"]).to_html()
    data = re.search(r'<script type="application/json">(.*?)</script>', page)[1]
    assert json.loads(data)["data"] == json.loads(all_figures["horizon"].to_json())["data"]


def test_headings_are_labelled_and_the_contents_link_to_them():
    report = Report("t")
    for heading in ("Scores", "Scores", "Über alles", "Settings"):
        report.text(heading, "x")
    elements = Elements(report.to_html())
    anchors = [attributes["id"] for attributes in elements.named("h2")]
    assert len(set(anchors)) == 4
    assert [section["aria-labelledby"] for section in elements.named("section")] == anchors
    links = [a["href"] for a in elements.named("a") if a.get("class") != "skip"]
    assert links == [f"#{anchor}" for anchor in anchors]
    assert elements.named("html")[0]["lang"] == "en"


def test_short_reports_have_no_contents():
    assert "<nav" not in Report("t").text("a", "b").to_html()


def test_tables_have_scoped_headers_and_a_row_that_stands_out():
    page = Report("t").table(
        "Scores", ["forecast", "MAE"], [["model", 0.5], ["naive", 12.25]], emphasise="model"
    )
    elements = Elements(page.to_html())
    assert [th["scope"] for th in elements.named("th")] == ["col", "col", "row", "row"]
    assert [tr.get("class") for tr in elements.named("tr")] == [None, "emphasised", None]
    assert "0.50" in elements.text
    assert "12.25" in elements.text


def test_figures_have_a_text_alternative_and_a_caption(all_figures):
    page = Report("t").figure("Gates", all_figures["gates"]).to_html()
    plot = next(a for _, a in Elements(page).found if a.get("class") == "plot")
    assert plot["role"] == "img"
    assert plot["aria-label"].startswith("Heatmaps of input gate i")
    assert "longest memory on top" in re.search(r"<figcaption>(.*?)</figcaption>", page)[1]
    noted = Report("t").figure("Gates", all_figures["gates"], note="Read in segments.")
    assert "<figcaption>Read in segments. Each thin row" in noted.to_html()
    plain = Report("t").figure("Foreign", go.Figure(), note="A note.").to_html()
    assert 'aria-label="Foreign"' in plain
    assert "<figcaption>A note.</figcaption>" in plain


def test_rows_of_wrong_width_are_refused():
    with pytest.raises(InvalidValueError, match=r"'Scores': row 2: expected 2 values, got 1"):
        Report("t").table("Scores", ["a", "b"], [[1, 2], [3]])


def test_empty_tables_are_possible():
    elements = Elements(Report("t").table("Scores", ["a", "b"], []).to_html())
    assert len(elements.named("th")) == 2


def test_write_makes_folders_and_returns_the_path(tmp_path):
    path = Report("Grüße").write(tmp_path / "deep" / "report.html")
    assert path.read_text(encoding="utf-8").count("<h1>Grüße</h1>") == 1
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_failed_write_leaves_the_old_page_and_no_scrap(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidFileError, match="No space left on device"):
        Report("new").write(path)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]


def test_a_place_that_is_no_folder_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidFileError, match=r"expected a place to write the report.*Choose"):
        Report("t").write(tmp_path / "file" / "report.html")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, DASH),
        (float("nan"), DASH),
        (True, "yes"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (123456.7, "123,457"),
        (1e-9, "1e-09"),
        (0.0, "0"),
        (float("inf"), "inf"),
        ((1, 0.5), "1, 0.5"),
        (np.float32(0.5), "0.5"),
        ("a", "a"),
    ],
)
def test_values_as_text(value, text):
    assert format_value(value) == text


def test_columns_of_like_size_share_their_decimals():
    assert format_column([0.28123, 9.13, None]) == ["0.281", "9.130", DASH]
    assert format_column([0.5056, 10.86]) == ["0.506", "10.860"]
    assert format_column([0.0001, 9.0]) == ["0.0001", "9"]
