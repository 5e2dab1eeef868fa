"""The classics are learned to their papers' criteria: minutes, so not by `make test`.

One seed each; benchmarks/results/classics.md has three.
"""

from __future__ import annotations

import pytest
import torch
from problems import PROBLEMS
from train import fit

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("problem", "net"),
    [
        ("adding", "LSTM of 1997"),
        ("adding", "LSTM, chrono"),
        ("order2", "LSTM of 1997"),
        ("order3", "LSTM, chrono"),
        ("copy", "LSTM, chrono"),
        ("reber", "LSTM"),
        ("framewise", "BLSTM"),
    ],
)
def test_solves(problem, net):
    run = fit(PROBLEMS[problem], net, 0)
    assert run.solved, run.test


@pytest.mark.parametrize(
    ("problem", "net"),
    [("adding", "RNN"), ("copy", "RNN"), ("reber", "LSTM of 1997"), ("framewise", "LSTM")],
)
def test_does_not_solve(problem, net):
    run = fit(PROBLEMS[problem], net, 0)
    assert not run.solved, run.test
