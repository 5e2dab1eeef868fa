"""The page in a real browser, without a network: the pictures are drawn, in both schemes."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gatewise.report import Report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="needs Chromium: apt-get install chromium, or any package of it"
)

DARK = "--blink-settings=preferredColorScheme=0"


class Drawing(HTMLParser):
    """What stands in the document once its scripts have run; the scripts' own text is not read."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.classes: list[str] = []
        self.images = 0
        self.style = ""
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.classes += (attributes.get("class") or "").split()
        self.images += tag == "image" and (attributes.get("xlink:href") or "").startswith("data:")
        self.style += attributes.get("style") or ""


@pytest.fixture
def page(all_figures, tmp_path) -> Path:
    report = Report("All figures")
    for name, figure in all_figures.items():
        report.figure(name, figure)
    return report.write(tmp_path / "report.html")


def chromium(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    quiet = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr",
        f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=4000",
    ]  # fmt: skip
    return subprocess.run(  # noqa: S603 - a browser on a page of our own
        [BROWSER, *quiet, *options, page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip


def complaints(run: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in run.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("scheme", [(), (DARK,)], ids=["light", "dark"])
def test_every_figure_is_drawn(page, scheme):
    run = chromium(page, "--dump-dom", *scheme)
    drawing = Drawing(run.stdout)
    # One svg for traces and one for what lies above them, in each of seven figures.
    assert drawing.classes.count("main-svg") >= 14
    # Lines: 2 × 6 in the forecast, 2 + 3 + 2 + 2 in the others; heatmaps are images.
    assert drawing.classes.count("scatter") == 21
    assert drawing.images == 7
    assert complaints(run) == []
    in_dark = "rgb(88, 180, 240)" in drawing.style
    assert in_dark == bool(scheme)


def test_a_page_whose_figures_are_broken_is_noticed(page):
    break_figures(page)
    run = chromium(page, "--dump-dom")
    assert Drawing(run.stdout).classes.count("main-svg") == 0
    assert complaints(run)


def test_the_policy_stops_what_a_page_would_load(page):
    text = page.read_text().replace("</body>", '<img src="https://example.org/x.png"></body>')
    page.write_text(text)
    assert any(
        "Content Security Policy" in line for line in complaints(chromium(page, "--dump-dom"))
    )


def test_a_screenshot_shows_more_than_the_text(page):
    whole = screenshot_bytes(page)
    break_figures(page)
    # Measured: 161 kB with pictures, 72 kB without.
    assert whole > 1.5 * screenshot_bytes(page)


def break_figures(page: Path) -> None:
    page.write_text(page.read_text().replace("Plotly.react(", "Plotly.reactor("))


def screenshot_bytes(page: Path) -> int:
    picture = page.with_suffix(".png")
    chromium(page, f"--screenshot={picture}", "--window-size=1280,2400")
    return picture.stat().st_size
