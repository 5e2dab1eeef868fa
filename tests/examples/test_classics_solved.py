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
        ("multiplication", "GRU, chrono"),
        ("order2", "LSTM of 1997"),
        ("order3", "LSTM, chrono"),
        ("reber", "LSTM"),
        ("spikes_measure", "LSTM, peepholes"),
        ("spikes_generate", "LSTM, peepholes"),
        ("framewise", "BLSTM"),
    ],
)
def test_solves(problem, net):
    run = fit(PROBLEMS[problem], net, 0)
    assert run.solved, run.test


@pytest.mark.parametrize(
    ("problem", "net"),
    [
        ("adding", "RNN"),
        ("multiplication", "RNN"),
        ("order2", "RNN"),
        ("reber", "LSTM of 1997"),
        ("framewise", "LSTM"),
    ],
)
def test_does_not_solve(problem, net):
    run = fit(PROBLEMS[problem], net, 0)
    assert not run.solved, run.test


@pytest.mark.parametrize(
    ("net", "least", "most"),
    [("RNN", 0.99, 1.1), ("LSTM, chrono", 0, 0.6), ("GRU, chrono", 0, 0.2)],
)
def test_gates_leave_the_baseline_of_copy_memory(net, least, most):
    copy = PROBLEMS["copy"]
    assert least * copy.baseline < fit(copy, net, 0).loss < most * copy.baseline
