"""``gatewise fit``: where runs go, what is printed, and the embedded series."""

from __future__ import annotations

import re

import pytest

from gatewise.cli import output


def test_prints_scores_beside_baselines_and_where_things_are(gatewise):
    ending = gatewise("fit", "sleeper", "my data.csv", "--out", "run")
    assert ending.status == 0
    lines = [line.split() for line in ending.out.splitlines()]
    assert ["model", "seasonal", "naive"] in lines
    assert ["mae", "0.4123", "1.68"] in lines
    assert ["crps", "0.3", "-"] in lines
    assert ["Report", "run/report.html"] in lines
    assert "gatewise predict run 'my data.csv'" in ending.out
    assert "The model's mae is 75% below that of the best baseline." in ending.out


@pytest.mark.parametrize(
    ("mode", "model", "naive", "said"),
    [
        ("min", 1.0, 4.0, "The model's mae is 75% below that of the best baseline."),
        ("min", 5.0, 4.0, "The model's mae is no lower than that of a baseline"),
        ("min", 4.0, 4.0, "The model's mae is no lower than that of a baseline"),
        ("max", 9.5, 4.0, "The model's mae is 9.5, that of the best baseline 9."),
        ("max", 9.0, 4.0, "The model's mae is no higher than that of a baseline"),
        ("max", 5.0, 4.0, "The model's mae is no higher than that of a baseline"),
        ("min", float("nan"), 4.0, ""),
        ("min", 1.0, float("nan"), ""),
        ("min", 1.0, 0.0, ""),
    ],
)
def test_the_verdict_is_honest(mode, model, naive, said):
    scores = {"model": {"mae": model}, "naive": {"mae": naive}, "other": {"mae": 9.0}}
    if not said:
        del scores["other"]
    sentence = output.verdict(scores, "mae", mode)
    assert sentence.startswith(said)
    assert bool(sentence) == bool(said)


def test_without_a_file_the_embedded_series_is_used(gatewise, tmp_path):
    ending = gatewise("fit", "sleeper", "--out", "run", "--target", "mine")
    given = ending.given(tmp_path / "run")
    assert given["X"] == [1, 2, 3]
    assert given["horizon"] == 52  # suits the series
    assert given["target"] == "mine"  # what the user says counts
    assert "embedded series of 3 rows" in ending.out
    assert "Next" not in ending.out


def test_with_a_file_nothing_of_the_example_is_set(gatewise, tmp_path):
    ending = gatewise("fit", "sleeper", "data.csv", "--out", "run")
    assert ending.given(tmp_path / "run")["horizon"] == 24


def test_the_default_directory_is_named_after_task_and_time(gatewise, tmp_path):
    for _ in range(3):
        assert gatewise("fit", "sleeper", "data.csv").status == 0
    names = [path.name for path in (tmp_path / "runs").iterdir()]
    assert len(names) == 3
    assert all(re.fullmatch(r"sleeper-\d{8}-\d{6}(-\d)?", name) for name in names)


@pytest.mark.parametrize("flag", ["--resume", "--overwrite"])
def test_a_full_directory_needs_a_flag(gatewise, tmp_path, flag):
    run = tmp_path / "run"
    run.mkdir()
    (run / "precious.txt").write_text("mine")
    ending = gatewise("fit", "sleeper", "data.csv", "--out", "run")
    assert ending.status == 2
    assert "--out: 'run': expected a new or empty directory" in ending.err
    assert not (run / "given.json").exists()
    given = gatewise("fit", "sleeper", "data.csv", "--out", "run", flag).given(run)
    assert given["resume"] == (flag == "--resume")
    assert (run / "precious.txt").read_text() == "mine"


def test_an_empty_directory_is_fine(gatewise, tmp_path):
    (tmp_path / "run").mkdir()
    assert gatewise("fit", "sleeper", "data.csv", "--out", "run").status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "--resume: expected --out with the run to go on with, got no --out."),
        (["--out", "run", "--resume", "--overwrite"], "expected --resume or --overwrite, got both"),
        (["--out", "file"], "--out: 'file': expected a directory, got a file."),
    ],
)
def test_flags_that_make_no_sense_are_refused(gatewise, tmp_path, arguments, message):
    (tmp_path / "file").write_text("")
    ending = gatewise("fit", "sleeper", "data.csv", *arguments)
    assert ending.status == 2
    assert message in ending.err


def test_processes_of_torchrun_but_the_first_are_silent(gatewise, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    run = tmp_path / "run"
    run.mkdir()
    (run / "of the first process").write_text("")
    ending = gatewise("fit", "sleeper", "data.csv", "--out", "run")
    assert ending.given(run)["X"] == "data.csv"
    assert ending.out == ""
