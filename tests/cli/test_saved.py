"""``predict``, ``evaluate``, ``backtest`` and ``show`` on a saved model."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest


def test_predict_prints_csv(gatewise):
    ending = gatewise("predict", "model", "data.csv", "--future", "f.csv")
    frame = pd.read_csv(io.StringIO(ending.out))
    assert list(frame["forecast"]) == [1.5, 2.0]
    assert list(frame["unique_id"]) == ["ä", "b"]
    assert list(frame["future"]) == ["f.csv", "f.csv"]
    assert ending.err == ""


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a/f.csv", pd.read_csv),
        ("f.tsv", lambda path: pd.read_csv(path, sep="\t")),
        ("f.parquet", pd.read_parquet),
    ],
)
def test_predict_writes_the_kind_of_the_suffix(gatewise, tmp_path, name, read):
    ending = gatewise("predict", "model", "data.csv", "--out", name)
    assert ending.status == 0
    assert "2 rows written to" in ending.out
    assert list(read(tmp_path / name)["forecast"]) == [1.5, 2.0]
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [name.split("/")[-1]]


def test_an_unknown_suffix_is_refused_before_the_model_is_read(gatewise):
    ending = gatewise("predict", "no model here", "data.csv", "--out", "f.xlsx")
    assert ending.status == 2
    assert "--out: expected a file name that ends in .csv, .tsv, .parquet" in ending.err


def test_a_failed_write_keeps_the_old_file(gatewise, tmp_path, monkeypatch):
    (tmp_path / "f.csv").write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    ending = gatewise("predict", "model", "data.csv", "--out", "f.csv")
    assert ending.status == 2
    assert "'f.csv': expected a place to write to, got No space left on device." in ending.err
    assert (tmp_path / "f.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["f.csv"]


def test_missing_files_and_models_are_clear_errors(gatewise):
    ending = gatewise("predict", "model", "missing.csv")
    assert (ending.status, ending.out) == (2, "")
    assert (
        ending.err == "Error: 'missing.csv': expected a table, got no such file. Check the path.\n"
    )
    ending = gatewise("show", "nothing")
    assert ending.status == 2
    assert "'nothing': expected a saved model" in ending.err


def test_evaluate_prints_a_table(gatewise):
    lines = [line.split() for line in gatewise("evaluate", "model", "data.csv").out.splitlines()]
    assert lines == [
        ["model", "naive"],
        ["mse", "1,235", "5"],
        ["mae", "0.25", "-"],
        ["crps", "0.125", "-"],
    ]


def test_evaluate_prints_json_for_programs(gatewise):
    scores = json.loads(gatewise("evaluate", "model", "data.csv", "--json").out)
    assert scores == {
        "model": {"mse": 1234.5678, "mae": 0.25, "crps": 0.125},
        "naive": {"mse": 5.0, "mae": None},
    }


def test_score_tables_fit_narrow_terminals(gatewise, monkeypatch):
    monkeypatch.setenv("COLUMNS", "24")
    out = gatewise("evaluate", "model", "data.csv").out
    assert "1,235" in out
    assert "…" not in out


def test_backtest_needs_and_hands_on_the_windows(gatewise):
    frame = pd.read_csv(io.StringIO(gatewise("backtest", "model", "d.csv", "--windows", "3").out))
    assert list(frame["window"]) == [0, 1, 2]
    ending = gatewise("backtest", "model", "d.csv")
    assert ending.status == 2
    assert "--windows" in ending.err
    ending = gatewise("backtest", "model", "d.csv", "--windows", "0")
    assert ending.status == 2
    assert "backtest: windows: expected at least 1, got 0." in ending.err


def test_show_describes_the_model(gatewise):
    lines = [line.split() for line in gatewise("show", "model").out.splitlines() if line]
    assert lines == [
        ["task", "sleeper"],
        ["parameters", "1,234,567"],
        ["layers"],
        ["name", "shape", "parameters"],
        ["lstm", "64,", "128", "99,000"],
        ["head", "24", "-"],
        ["step"],
        ["flops", "2.5e+06"],
        ["memory", "1.2", "MB"],
    ]


def test_generate_goes_on_from_the_prompt(gatewise):
    ending = gatewise("generate", "model", "--prompt", "once", "--temperature", "0.5")
    assert ending.out == "once and so on 0.5 None\n"
    assert ending.err == ""
    ending = gatewise("generate", "model", "--stop", "a", "--stop", "b c")
    assert ending.out == " and so on 1.0 ['a', 'b c']\n"


def test_what_a_task_has_not_is_refused(gatewise):
    for command in (("generate", "bare"), ("backtest", "bare", "data.csv", "--windows", "1")):
        ending = gatewise(*command)
        assert ending.status == 2
        assert f"{command[0]}: expected a model of a task that has it, got a bare." in ending.err
    ending = gatewise("predict", "bare", "data.csv", "--future", "f.csv")
    assert ending.status == 2
    assert "expected options that the task has, got --future for a bare." in ending.err
