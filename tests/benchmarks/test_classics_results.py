"""The committed results of benchmarks/classics.py, and what docs/classics.md makes of them."""

from __future__ import annotations

import json
import re

import classics
import pytest
from problems import PROBLEMS

RESULTS = classics.HERE / "results"
PAGE = (classics.HERE.parent / "docs" / "classics.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e-\d+)?")


def known():
    return json.loads((RESULTS / "classics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", PROBLEMS)
def test_results_are_those_of_three_seeds_of_the_nets_as_they_are(name):
    problem = PROBLEMS[name]
    runs = classics.kept(problem, known()[name])
    assert {(run["net"], run["seed"]) for run in runs} == {
        (net, seed) for net in problem.nets for seed in range(3)
    }


def test_the_page_of_results_is_made_of_the_runs():
    assert (RESULTS / "classics.md").read_text(encoding="utf-8") == classics.page(known())


def missing(section: str) -> set[str]:
    """The numbers of a section of the manual that are in no table of the problems it shows."""
    shown = re.findall(r"img/classics_(\w+)\.png", section)
    tables = classics.page({name: known()[name] for name in shown})
    text = re.sub(r"\]\(.*?\)", "", section)
    return set(NUMBER.findall(text)) - set(NUMBER.findall(tables))


SECTIONS = [part for part in PAGE.split("\n## ") if "img/classics_" in part]


def test_every_problem_has_its_picture_in_the_manual():
    shown = re.findall(r"img/classics_(\w+)\.png", PAGE)
    assert sorted(shown) == sorted(PROBLEMS)
    assert all((classics.PICTURES / f"classics_{name}.png").exists() for name in shown)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition("\n")[0])
def test_every_number_of_the_manual_is_in_a_table(section):
    assert missing(section) == set()
    assert missing(section + " 31,415 steps, 2.718 and 4.2e-42") == {"31,415", "2.718", "4.2e-42"}
