"""`python examples/classics`: what it prints, refuses and survives."""

from __future__ import annotations

import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from problems import PROBLEMS

CLASSICS = Path(__file__).parents[2] / "examples" / "classics"


def program(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, str(CLASSICS), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_program_lists_the_problems():
    process = program()
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert [line.split()[0] for line in printed.splitlines()] == list(PROBLEMS)


def test_ctrl_c_ends_cleanly(tmp_path):
    process = program("adding", "--nets", "RNN", "--out", str(tmp_path))
    for line in process.stdout:
        if line.startswith("Solved:"):
            break
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "Stopped" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["adding", "--seeds", "0"], "--seeds: expected at least 1, got 0. Give how many"),
        (["adding", "--seeds", "-1"], "--seeds: expected at least 1, got -1. Give how many"),
        (["adding", "--nets", "LSTM"], "got ['LSTM']. Give names as they stand here"),
        (["adding", "--out", "FILE"], "--out: expected a folder that can be made, got 'FILE'"),
        (["adding", "--out", "FILE/in"], "--out: expected a folder that can be made, got 'FILE"),
    ],
)
def test_what_cannot_be_done_is_refused_before_training(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("Somebody's.")
    monkeypatch.setattr("sys.argv", ["classics", *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(CLASSICS), run_name="__main__")
    assert stopped.value.code == 2
    printed, complained = capsys.readouterr()
    assert printed == ""
    assert message in " ".join(complained.split())
    assert (tmp_path / "FILE").read_text() == "Somebody's."
