"""The commands over a text classifier, from fit to show, and its options."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = (
    "--embedding-size", "8", "--hidden-size", "8", "--max-epochs", "4", "--batch-size", "8",
    "--learning-rate", "0.03", "--pooling", "last,max", "--no-progress",
)  # fmt: skip
LINES = "".join(
    f"{label}\tthe {thing} is {word}\n"
    for thing in ("film", "book", "song", "play", "meal")
    for label, words in {"good": ("fine", "great"), "bad": ("dull", "poor")}.items()
    for word in words
)
FORM = ("--layout", "label-first", "--separator", "\t")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts.txt and a model trained on it in run/."""
    from gatewise.cli import main

    folder = tmp_path_factory.mktemp("classifier")
    (folder / "texts.txt").write_text(LINES * 3, encoding="utf-8")
    arguments = ["fit", "text-classifier", f"{folder}/texts.txt", "--out", f"{folder}/run"]
    assert main([*arguments, *FORM, *SMALL]) == 0
    return folder


@pytest.fixture
def command(place: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    from gatewise.cli import main

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([argument.replace("@", str(place)) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def test_fit_keeps_the_options(place: Path):
    fields = json.loads((place / "run" / "config.json").read_text())["fields"]
    assert (fields["pooling"], fields["hidden_size"]) == (["last", "max"], 8)
    assert (fields["layout"], fields["separator"]) == ("label-first", "\t")
    assert (place / "run" / "report.html").is_file()


def test_predict_gives_text_label_and_probabilities(command, place: Path):
    status, out, err = command("predict", "@/run", "@/texts.txt")
    assert (status, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["text", "label", "p(bad)", "p(good)"]
    assert [row["text"] for row in rows] == [
        line.split("\t")[1] for line in (LINES * 3).splitlines()
    ]
    assert all(math.isclose(float(r["p(bad)"]) + float(r["p(good)"]), 1) for r in rows)
    status, out, _ = command("evaluate", "@/run", "@/texts.txt", "--json")
    scores = json.loads(out)
    right = sum(row["label"] == line.split("\t")[0] for row, line in zip(
        rows, (LINES * 3).splitlines(), strict=True
    ))  # fmt: skip
    assert status == 0
    assert scores["model"]["accuracy"] == pytest.approx(right / len(rows))
    assert set(scores) == {"model", "majority", "naive_bayes"}


def test_show_tells_the_labels(command):
    status, out, _ = command("show", "@/run")
    assert status == 0
    assert "bad, good" in out
    assert "encoder.layers.0" in out


def test_bad_texts_are_one_message(command, place: Path, tmp_path: Path):
    (tmp_path / "bad.txt").write_bytes(LINES.encode() + b"good\t\xff\n")
    status, out, err = command(
        "fit", "text-classifier", str(tmp_path / "bad.txt"), "--out", f"{tmp_path}/run", *FORM
    )
    assert (status, out) == (2, "")
    assert f"bad.txt, line {LINES.count(chr(10)) + 1}: expected text in UTF-8" in err
    (tmp_path / "new.txt").write_text("gud\ta film\n")
    status, _, err = command("evaluate", "@/run", str(tmp_path / "new.txt"))
    assert status == 2
    assert "new.txt, line 1: expected one of 'bad', 'good', got 'gud'" in err
