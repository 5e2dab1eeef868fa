"""The commands over a tagger: a file of sentences from fit to evaluate, and its options."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tasks.tagging_cases import conll, tagged_names

SMALL = (
    "--characters", "cnn", "--character-size", "4", "--character-hidden-size", "4",
    "--embedding-size", "8", "--hidden-size", "8", "--max-epochs", "2", "--no-progress",
)  # fmt: skip

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.conll and dev.conll and a model trained on them in run/."""
    from gatewise.cli import main

    folder = tmp_path_factory.mktemp("tagger")
    for name, seed in (("train", 0), ("dev", 1)):
        (folder / f"{name}.conll").write_text(conll(*tagged_names(60, seed=seed)))
    given = (f"{folder}/train.conll", "--validation", f"{folder}/dev.conll")
    assert main(["fit", "sequence-tagger", *given, "--out", f"{folder}/run", *SMALL]) == 0
    return folder


@pytest.fixture
def command(place: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command; ``@`` stands for the folder."""
    from gatewise.cli import main

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([argument.replace("@", str(place)) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def test_fit_leaves_a_model_with_its_fields(place: Path):
    fields = json.loads((place / "run" / "config.json").read_text())["fields"]
    assert (fields["characters"], fields["hidden_size"]) == ("cnn", 8)
    assert (place / "run" / "report.html").exists()


def test_predict_gives_a_row_for_each_token(command: Command):
    status, out, err = command("predict", "@/run", "@/dev.conll")
    assert (status, err) == (0, "")
    frame = pd.read_csv(io.StringIO(out), dtype=str)
    assert list(frame.columns) == ["sentence", "token", "tag"]
    assert frame["token"].tolist() == [
        one for tokens in tagged_names(60, seed=1)[0] for one in tokens
    ]


def test_evaluate_and_show(command: Command):
    status, out, _ = command("evaluate", "@/run", "@/dev.conll", "--json")
    assert status == 0
    scores = json.loads(out)
    assert set(scores) == {"model", "most_frequent_tag", "most_frequent_tag_of_word"}
    assert set(scores["model"]) == {"precision", "recall", "f1", "accuracy"}
    status, out, _ = command("show", "@/run")
    assert status == 0
    assert "trained scheme" in out


def test_columns_are_numbers_or_names(command: Command, tmp_path: Path):
    path = tmp_path / "three.conll"
    path.write_text("x Bern B\nx lies O\n\n" * 30)
    given = ("--token-column", "1", "--tag-column", "-1", "--scheme", "none", "--repair")
    status, _, err = command(
        "fit", "sequence-tagger", str(path), "--out", f"{tmp_path}/a", *given, *SMALL
    )
    assert status == 0, err
    fields = json.loads((tmp_path / "a" / "config.json").read_text())["fields"]
    assert (fields["token_column"], fields["tag_column"]) == (1, -1)
    assert fields["repair"] is True
    named = ("--tag-column", "xpos", "--layout", "conllu")
    status, _, err = command(
        "fit", "sequence-tagger", str(path), "--out", f"{tmp_path}/b", *named, *SMALL
    )
    assert status == 2
    assert "line 1: expected 10 columns" in err


def test_a_broken_line_is_one_message(command: Command, tmp_path: Path):
    path = tmp_path / "bad.conll"
    path.write_text("in O\nBern B-CITY\n")
    status, out, err = command("evaluate", "@/run", str(path))
    assert (status, out) == (2, "")
    assert f"{path}, line 2: expected a span of 'LOC', 'PER', got 'B-CITY'" in err
