"""Every Python block of README and docs runs, page by page, and prints what stands below it."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")

# Training ends in slightly different numbers on another machine.
TOLERANCE = 0.05


def blocks(page: Path) -> list[tuple[int, str, str | None]]:
    """Line, source and shown output of each Python block of a page."""
    text = page.read_text(encoding="utf-8")
    found = list(FENCED.finditer(text))
    python = []
    for block, after in itertools.zip_longest(found, found[1:]):
        if block[1] == "python":
            adjacent = (
                after and after[1] == "text" and not text[block.end() : after.start()].strip()
            )
            line = text.count("\n", 0, block.start()) + 2
            python.append((line, block[2], after[2] if adjacent else None))
    return python


def assert_same_print(shown: str, printed: str) -> None:
    """Raise unless the words are the same and the numbers nearly so."""
    wanted, got = (re.sub(r"\s+", " ", text).strip() for text in (shown, printed))
    assert NUMBER.sub("#", got) == NUMBER.sub("#", wanted)
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (got, wanted)]
    assert numbers[0] == pytest.approx(numbers[1], rel=TOLERANCE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for line, source, shown in blocks(page):
            printed = io.StringIO()
            # Empty lines before it make line numbers in a traceback those of the page.
            code = compile("\n" * (line - 1) + source, str(page), "exec")
            with contextlib.redirect_stdout(printed):
                exec(code, names)  # noqa: S102 - our own pages
            if shown is not None:
                assert_same_print(shown, printed.getvalue())


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler, as the set-up does")
def test_the_cell_of_the_page_compiles(tmp_path):
    text = (ROOT / "docs" / "adding_a_cell.md").read_text(encoding="utf-8")
    (source,) = [body for language, body in FENCED.findall(text) if language == "cpp"]
    page = tmp_path / "janet.cc"
    page.write_text(source.replace("../layer.h", str(ROOT / "native" / "kernels" / "layer.h")))
    flags = ["-std=c++17", "-fsyntax-only", "-DGATEWISE_ISA=page", "-DGATEWISE_VECTOR_BYTES=0"]
    flags += ["-DGATEWISE_FULL=1", "-DGATEWISE_BF16=1"]
    done = subprocess.run(  # noqa: S603 - our own page
        [shutil.which("c++"), *flags, str(page)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_readmes_are_twins():
    english, chinese = (
        [
            [part.strip() for part in re.sub(r"#.*", "", source).splitlines()]
            for _, source, _ in page
        ]
        for page in map(blocks, PAGES[:2])
    )
    assert english == chinese


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)#]+)", prose):
        if not link.startswith("https://"):
            assert os.path.exists(page.parent / link), link  # noqa: PTH110 - folders too


@pytest.mark.parametrize(
    ("shown", "printed"),
    [("MAE 0.56", "MAE 0.66"), ("MAE 0.56", "RMSE 0.56"), ("1 2", "1 2 3"), ("True", "False")],
)
def test_another_print_is_noticed(shown, printed):
    with pytest.raises(AssertionError):
        assert_same_print(shown, printed)


def test_a_page_has_code():
    assert all(blocks(page) for page in PAGES if page.stem in {"README", "layers", "forecasting"})
