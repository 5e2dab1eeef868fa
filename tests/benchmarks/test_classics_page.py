"""benchmarks/classics.py keeps every run that was done, and never loses others."""

from __future__ import annotations

import json

import classics
import pytest
import torch
from problems import PROBLEMS
from train import Run

ADDING = PROBLEMS["adding"]
WEIGHTS = {"RNN": 337, "LSTM of 1997": 297, "LSTM, chrono": 393, "GRU, chrono": 297}


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    """Results in a folder of the test's own, runs without training, no pictures."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(classics, "NUMBERS", tmp_path / "classics.json")
    monkeypatch.setattr(classics, "PAGE", tmp_path / "classics.md")
    monkeypatch.setattr(classics, "fit", a_run)
    monkeypatch.setattr(classics, "gradients_of", lambda problem: {"RNN": [1.0, 0.5]})
    monkeypatch.setattr(classics, "photographed", lambda problem, entry: None)
    yield tmp_path
    torch.set_num_threads(threads)


def a_run(problem, net, seed, *, seen=1000):
    weights = WEIGHTS.get(net, 1)
    return Run(net, seed, weights, True, seen + seed, 0.1, "0 of 2560", 0.01, [(50, 0.5)])


def program(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["classics.py", *arguments])
    classics.main()


def kept(folder, name="adding"):
    """From net and seed to what the run was trained on."""
    entries = json.loads((folder / "classics.json").read_text())[name]["runs"]
    return {(entry["net"], entry["seed"]): entry["seen"] for entry in entries}


def all_of(seeds):
    return {(net, seed): 1000 + seed for net in ADDING.nets for seed in seeds}


def test_fewer_seeds_replace_their_own_runs_alone(results, monkeypatch):
    program(monkeypatch, "adding", "--seeds", "3")
    assert kept(results) == all_of(range(3))
    monkeypatch.setattr(classics, "fit", lambda *asked: a_run(*asked, seen=7))
    program(monkeypatch, "adding", "--seeds", "1")
    assert kept(results) == all_of((1, 2)) | {(net, 0): 7 for net in ADDING.nets}
    program(monkeypatch, "order2", "--seeds", "1")
    assert len(kept(results)) == 12
    page = (results / "classics.md").read_text()
    assert "| RNN          | 337     | 3 of 3 | 7 / 1,001 / 1,002 |" in page
    assert "falls steadily, by half over every 150,000 sequences" in page
    assert page.index("## Adding") < page.index("## Temporal order, 2 symbols")


def test_ctrl_c_keeps_what_was_done(results, monkeypatch):
    program(monkeypatch, "adding", "--seeds", "2")
    calls = []

    def interrupted(problem, net, seed):
        calls.append(net)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return a_run(problem, net, seed, seen=7)

    monkeypatch.setattr(classics, "fit", interrupted)
    with pytest.raises(SystemExit, match=r"^Stopped\. The runs that were done are in .*json\.$"):
        program(monkeypatch, "adding", "--seeds", "2")
    anew = {("RNN", 0): 7, ("RNN", 1): 8, ("LSTM of 1997", 0): 7}
    assert kept(results) == all_of(range(2)) | anew
    assert [path.name for path in results.iterdir() if path.suffix == ".part"] == []
    assert "7 / 8" in (results / "classics.md").read_text()


def test_runs_with_other_settings_go_only_if_as_many_seeds_come(results, monkeypatch, capsys):
    program(monkeypatch, "adding", "--seeds", "3")
    before = (results / "classics.json").read_bytes()
    monkeypatch.setattr(classics, "training", lambda problem: "In another way.")
    with pytest.raises(SystemExit):
        program(monkeypatch, "adding", "--seeds", "2")
    assert "--seeds: expected at least 3" in capsys.readouterr().err
    assert (results / "classics.json").read_bytes() == before
    monkeypatch.setattr(classics, "fit", lambda *asked: a_run(*asked, seen=7))
    program(monkeypatch, "adding", "--seeds", "4")
    assert set(kept(results).values()) == {7, 8, 9, 10}


def test_a_net_that_has_changed_leaves_no_old_runs(results, monkeypatch):
    program(monkeypatch, "adding", "--seeds", "1")
    entry = json.loads((results / "classics.json").read_text())["adding"]
    assert len(classics.kept(ADDING, entry)) == 4
    entry["runs"][0]["weights"] += 1
    entry["runs"][1]["net"] = "no longer there"
    assert [run["net"] for run in classics.kept(ADDING, entry)] == ["LSTM, chrono", "GRU, chrono"]
    assert classics.kept(ADDING, entry | {"training": "Otherwise."}) == []
    assert classics.kept(ADDING, None) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "--seeds: expected at least 1, got 0. Give"),
        (["--seeds", "-1"], "--seeds: expected at least 1, got -1. Give"),
        (["subtracting"], "problems: expected some of ['adding', "),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, message, results, monkeypatch, capsys):
    program(monkeypatch, "adding", "--seeds", "1")
    before = (results / "classics.json").read_bytes()
    with pytest.raises(SystemExit) as stopped:
        program(monkeypatch, *arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert (results / "classics.json").read_bytes() == before


def test_the_reach_is_that_of_fifty_steps_or_as_far_as_all_nets_go():
    falling = [0.9**step for step in range(100)]
    told = classics.reach({"RNN": falling, "LSTM": [1.0] * 60})
    assert told.startswith("Gradient by the state 50 steps before the answer")
    assert f"RNN {0.9**50:.2g}; LSTM 1." in told
    shorter = classics.reach({"RNN": falling, "LSTM": [1.0] * 31})
    assert f"the state 30 steps before the answer, before training: RNN {0.9**30:.2g}" in shorter
