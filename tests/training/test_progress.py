"""What a fit shows: a bar on a terminal, plain lines elsewhere, nothing when asked."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gatewise.training import EpochRecord, FitSettings, fit
from gatewise.training import progress as progress_module
from gatewise.training.progress import ProgressReport
from support.tiny_task import TinyTask, tiny_network

RECORD = EpochRecord(
    epoch=2, train_loss=0.5, scores={"mae": 0.25}, learning_rate=0.1, seconds=2.0, samples=3000
)


def shown(console: Console, *, wanted: bool = True) -> str:
    with ProgressReport(4, "mae", shown=wanted, console=console) as report:
        report.epoch(RECORD, 2, 0.25)
        report.step(3, 5, 10, 0.4, 32)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_lines_without_control_characters_where_there_is_no_terminal() -> None:
    text = shown(Console(file=io.StringIO(), width=40))
    expected = "epoch 2/4  train loss 0.5  validation mae 0.25 (best)  1,500 samples/s  2.0 s\n"
    assert text == expected


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_REDRAW_SECONDS", 0.0)
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    text = shown(console)
    assert "epoch 3/4" in text
    assert "loss 0.4  best mae 0.25 (epoch 2)" in text
    assert "samples/s" in text
    assert "left" in text
    assert "train loss" not in text


def test_nothing_when_not_wanted() -> None:
    assert shown(Console(file=io.StringIO()), wanted=False) == ""


def test_a_fit_speaks_on_stderr_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for progress in (True, False):
        fit(tiny_network(), TinyTask(), FitSettings(max_epochs=2), progress=progress)
        out, err = capsys.readouterr()
        assert out == ""
        assert [line.split("  ")[0] for line in err.splitlines()] == (
            ["epoch 1/2", "epoch 2/2"] if progress else []
        )
