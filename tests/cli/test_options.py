"""Every field of an estimator is an option of the same name, with its type, default and help."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest


def option_line(page: str, option: str) -> str:
    """The entry of an option in a help page, its wrapped lines joined."""
    entries = re.split(r"\n│ (?=--)", page)
    entry = next(entry for entry in entries if re.match(rf"{option}\b", entry))
    lines = entry.split("╰")[0].splitlines()
    return " ".join(" ".join(lines).replace("│", " ").split())


@pytest.fixture
def help_page(gatewise, monkeypatch) -> str:
    monkeypatch.setenv("COLUMNS", "100")
    ending = gatewise("fit", "sleeper", "--help")
    assert ending.status == 0
    return ending.out


@pytest.mark.parametrize(
    ("option", "entry"),
    [
        ("--horizon", "--horizon INT Steps to forecast [default: 24]"),
        ("--target", "--target STR Column to forecast [default: y]"),
        ("--covariates", "--covariates STR... Columns known ahead [default: none]"),
        ("--levels", "--levels FLOAT... Quantile levels [default: 0.1,0.9]"),
        ("--clip", "--clip FLOAT Largest norm of the gradient [default: 1.0]"),
        ("--widths", "--widths INT... Sizes of the layers (units) [default: none]"),
        ("--devices", "--devices INT|STR Processes [default: 1]"),
        ("--head", "--head CHOICE What is forecast [choices: point, quantile] [default: point]"),
        (
            "--calendar",
            "--calendar --no-calendar Use features of the [date] and *time* [default: yes]",
        ),
    ],
)
def test_help_tells_type_default_and_unit(help_page, option, entry):
    assert option_line(help_page, option) == entry


def test_help_has_one_option_for_each_field(help_page, gatewise):
    import sys

    estimator = sys.modules["gatewise.tasks"].ESTIMATORS["sleeper"]
    names = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(estimator)}
    own = {"--out", "--validation", "--resume", "--overwrite", "--progress", "--help", "--version"}
    shown = set(re.findall(r"^│ (--[\w-]+)", help_page, re.MULTILINE))
    assert shown - own == names
    assert own - {"--help", "--version"} <= shown


def test_help_shows_groups_in_the_order_of_the_fields(help_page):
    titles = re.findall(r"╭─ (\w+)", help_page)
    assert titles == ["Arguments", "Run", "Data", "Model", "Training"]


def test_summary_is_the_first_line_of_the_docstring(gatewise):
    page = gatewise("fit", "--help").out
    assert re.search(r"sleeper\s+Forecast nothing\.", page)
    assert "not for the summary" not in page


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--horizon", "7"], "horizon", 7),
        (["--horizon=7"], "horizon", 7),
        (["--covariates", "a,b"], "covariates", ["a", "b"]),
        (["--covariates", "a", "--covariates", "b"], "covariates", ["a", "b"]),
        (["--covariates", '"a, with comma",b'], "covariates", ["a, with comma", "b"]),
        (["--covariates", "none"], "covariates", []),
        (["--levels", "0.1, 0.5"], "levels", [0.1, 0.5]),
        (["--clip", "none"], "clip", None),
        (["--clip", "0.5"], "clip", 0.5),
        (["--widths", "3,4"], "widths", [3, 4]),
        (["--widths", "none"], "widths", None),
        (["--devices", "auto"], "devices", "auto"),
        (["--devices", "2"], "devices", 2),
        (["--head", "quantile"], "head", "quantile"),
        (["--no-calendar"], "calendar", False),
        (["--validation", "v.csv"], "validation", "v.csv"),
        (["--no-progress"], "progress", False),
        ([], "progress", True),
        ([], "validation", None),
    ],
)
def test_options_reach_the_estimator(gatewise, tmp_path, arguments, field, value):
    ending = gatewise("fit", "sleeper", "data.csv", "--out", "run", *arguments)
    given = ending.given(tmp_path / "run")
    assert given[field] == value
    assert given["X"] == "data.csv"


def test_fields_keep_their_defaults(gatewise, tmp_path):
    given = gatewise("fit", "sleeper", "data.csv", "--out", "run").given(tmp_path / "run")
    defaults: dict[str, Any] = {
        "horizon": 24,
        "target": "y",
        "covariates": [],
        "levels": [0.1, 0.9],
        "clip": 1.0,
        "widths": None,
        "devices": 1,
        "head": "point",
        "calendar": True,
    }
    assert {name: given[name] for name in defaults} == defaults


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--horizn", "3"], "Unknown option: --horizn. Did you mean --horizon?"),
        (["--horizon", "many"], 'Invalid value for --horizon: unable to convert "many" into int.'),
        (["--horizon"], "--horizon requires an argument"),
        (["--levels", "0.1,x"], "Invalid value for --levels: expected a number, got 'x'."),
        (["--widths", "1.5"], "Invalid value for --widths: expected an integer, got '1.5'."),
        (["--head", "median"], 'Invalid value "median" for --head. Choose from: "point"'),
        (["other.csv"], "Unexpected argument: other.csv."),
    ],
)
def test_wrong_arguments_are_one_clean_message(gatewise, arguments, message):
    ending = gatewise("fit", "sleeper", "data.csv", *arguments)
    assert ending.status == 2
    assert message in ending.err
    assert "See gatewise fit sleeper --help." in ending.err
    assert ending.out == ""


def test_unknown_commands_name_the_nearest(gatewise):
    ending = gatewise("fti")
    assert ending.status == 2
    assert 'Did you mean "fit"?' in ending.err
    ending = gatewise("fit", "sleepr")
    assert ending.status == 2
    assert 'Did you mean "sleeper"?' in ending.err
