"""How the program ends, seen from outside: status, messages, no traceback for bad input."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import gatewise as package

ESCAPE = "\x1b"


def test_bad_input_is_one_message_and_status_2(shell):
    ending = shell("fit", "sleeper", "data.csv", "--fate", "value")
    assert ending.status == 2
    # Text of users is no markup: "[bold]" stands as it is.
    assert ending.err == ("Error: Series 'a', row 3: expected a number, got 'x [bold]'. Mend it.\n")
    assert ending.out == ""


def test_all_faults_of_the_settings_are_shown(shell):
    ending = shell("fit", "sleeper", "data.csv", "--fate", "settings")
    assert ending.status == 2
    assert "horizon: expected a number > 0, got -1." in ending.err
    assert "clip: expected a number, got 'x'." in ending.err
    assert "Traceback" not in ending.err


def test_a_fault_of_ours_is_short_and_says_how_to_see_more(shell):
    ending = shell("fit", "sleeper", "data.csv", "--fate", "bug")
    assert ending.status == 1
    assert "Unexpected error: ZeroDivisionError: a fault of ours" in ending.err
    assert "GATEWISE_DEBUG=1" in ending.err
    assert "Traceback" not in ending.err


@pytest.mark.parametrize("fate", ["bug", "value"])
def test_the_traceback_is_there_for_who_asks(shell, fate):
    ending = shell("fit", "sleeper", "data.csv", "--fate", fate, GATEWISE_DEBUG="1")
    assert ending.status == 1
    assert "Traceback" in ending.err
    assert "in _end" in ending.err


def test_warnings_are_notes(shell):
    ending = shell("fit", "sleeper", "data.csv", "--fate", "warning")
    assert ending.status == 0
    assert ending.err == "Note: 3 gaps were filled\n"


def test_ctrl_c_ends_with_130(tmp_path):
    fakes = Path(__file__).with_name("fakes.py")
    command = [sys.executable, fakes, "fit", "sleeper", "data.csv", "--fate", "sleep"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stderr.readline() == "asleep\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "Interrupted.\n"


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["my data.csv", "--covariates", 'a,"b c"', "--out", "my run"], "covariates", ["a", "b c"]),
        (["--horizon", "7", "--out=run", "--overwrite"], "horizon", 7),
        (["data.csv", "--no-calendar"], "calendar", False),
    ],
)
def test_an_interrupted_fit_prints_the_command_that_resumes_it(gatewise, arguments, field, value):
    ending = gatewise("fit", "sleeper", *arguments, "--fate", "interrupted")
    assert ending.status == 130
    program, *resuming = shlex.split(ending.err.splitlines()[-1])
    assert program == "gatewise"
    # The very line works: it goes on in the same directory with the same settings.
    ended = gatewise(*resuming)
    assert ended.status == 0
    directory = Path(re.search(r"Model +(.*)", ended.out)[1])
    given = ended.given(directory)
    assert given["resume"]
    assert given[field] == value
    assert given["fate"] == "interrupted"


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    fakes = Path(__file__).with_name("fakes.py")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, fakes, "predict", "model", "data.csv"]
    done = subprocess.run(  # noqa: S603 - our own program
        command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writing)
    assert done.returncode == 141
    assert done.stderr == ""


def test_a_terminal_without_a_character_shows_something_else(shell):
    ending = shell("predict", "model", "data.csv", PYTHONIOENCODING="ascii")
    assert ending.status == 0
    assert "?,2024-01-01,1.5" in ending.out


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "sleeper", "--help"], ["--version"]])
def test_pipes_get_no_control_characters(shell, arguments):
    ending = shell(*arguments, TERM="xterm-256color", COLUMNS="40")
    assert ending.status == 0
    assert ESCAPE not in ending.out
    assert max(map(len, ending.out.splitlines())) <= 40


def test_version(shell):
    assert shell("--version").out == f"{package.__version__}\n"


def test_no_arguments_show_the_help(gatewise):
    ending = gatewise()
    assert ending.status == 0
    assert "gatewise fit forecaster" in ending.out


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_light_commands_import_nothing_heavy(arguments):
    program = (
        "import sys\n"
        "from gatewise.cli import main\n"
        f"main({arguments!r})\n"
        "print(sorted({'torch', 'pandas', 'plotly', 'numpy', 'gatewise.tasks'} & {*sys.modules}))"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_m_gatewise_is_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "gatewise", "--version"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, f"{package.__version__}\n")
