"""The loop of examples/classics, seen by a net that notes what it is given."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
import train
from problem import LINEAR, Batch, Problem, Score
from torch import nn
from train import fit


class Noting(nn.Module):
    """Answers 0 at first, learns a bias, and notes batches and states."""

    weights = 1

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self.given, self.returned = [], []

    def forward(self, batch, state=None):
        self.given.append(state)
        self.returned.append(self.bias * torch.ones(1) + len(self.returned))
        return self.bias * torch.ones_like(batch.target), self.returned[-1]


class NotedAdam(torch.optim.Adam):
    """Adam that notes the learning rate of each of its steps."""

    rates: list[float]

    def step(self, closure=None):
        type(self).rates.append(self.param_groups[0]["lr"])
        return super().step(closure)


@pytest.fixture
def net(monkeypatch):
    noting = Noting()
    monkeypatch.setattr(train, "built", lambda problem, name, seed: noting)
    monkeypatch.setattr(torch.optim, "Adam", NotedAdam)
    NotedAdam.rates = []
    return noting


def problem(**changes) -> Problem:
    """A task of ten sequences of one step, whose answer is 1; streams begin at each third batch."""
    own = Problem(
        name="noted",
        title="Noted",
        source="None.",
        task="Answer 1.",
        criterion="None.",
        nets={},
        outputs=1,
        answer=LINEAR,
        bound=0.5,
        batches=stretched,
        test=lambda net, attempt: Score(solved=True, text=f"attempt {attempt}", loss=0.0),
        budget=90,
        halving=40,
        allowed=None,
    )
    return dataclasses.replace(own, **changes)


def stretched(seed: int):
    for number in itertools.count():
        ones = torch.ones(1, 10, 1)
        yield Batch(ones, ones, torch.ones(1, 10, dtype=torch.bool), fresh=number % 3 == 0)


def test_the_state_is_carried_along_a_stream_and_not_into_others(net):
    run = fit(problem(), "any", 0)
    assert run.seen == 90
    assert len(net.given) == 9
    for number, state in enumerate(net.given):
        if number % 3 == 0:
            assert state is None
        else:
            assert torch.equal(state, net.returned[number - 1])
            assert not state.requires_grad  # the gradient ends with its stretch


def test_the_learning_rate_falls_steadily(net):
    fit(problem(learning_rate=0.01), "any", 0)
    assert NotedAdam.rates == pytest.approx(
        [0.01 * 0.5 ** (seen / 40) for seen in range(0, 90, 10)]
    )
    assert NotedAdam.rates[4] == pytest.approx(0.005)


def test_a_learning_rate_without_halving_stays(net):
    fit(problem(learning_rate=0.01, halving=0), "any", 0)
    assert set(NotedAdam.rates) == {0.01}


def test_each_look_has_a_test_of_its_own(net):
    asked = []

    def test(tested, attempt):
        assert tested is net
        asked.append(attempt)
        return Score(solved=attempt == 3, text=f"attempt {attempt}", loss=0.0)

    with torch.no_grad():
        net.bias.fill_(1.0)
    run = fit(problem(test=test, allowed=0, window=20, budget=900), "any", 0)
    assert asked == [0, 1, 2, 3]
    # The window fills anew after each look.
    assert (run.solved, run.seen, run.test) == (True, 80, "attempt 3")


def test_a_wrong_answer_in_the_window_puts_the_test_off(net):
    # Adam moves the bias by about its rate: 0, 0.2 and 0.4 are wrong, the next two are right.
    run = fit(problem(allowed=0, window=20, budget=900, learning_rate=0.2, halving=0), "any", 0)
    assert (run.solved, run.seen) == (True, 50)
    # And each batch is judged before the net has learned from it.
    biases = [float(state.detach()) - number for number, state in enumerate(net.returned)]
    assert [bias > 0.5 for bias in biases] == [False] * 3 + [True] * 2


def test_a_test_that_refuses_a_net_is_heard_where_training_has_no_criterion(net):
    refusing = problem(test=lambda net, attempt: Score(solved=False, text="no", loss=2.0))
    run = fit(refusing, "any", 0)
    assert (run.solved, run.test, run.loss) == (False, "no", 2.0)
    assert fit(problem(), "any", 0).solved


def test_only_what_counts_is_learned(net):
    def batches(seed):
        for batch in stretched(seed):
            counts = batch.counts.clone()
            counts[:, 5:] = False
            yield batch._replace(target=torch.where(counts[..., None], 1.0, 100.0), counts=counts)

    run = fit(problem(batches=batches, budget=10, learning_rate=0.25), "any", 0)
    assert [loss for _, loss in run.curve] == [1.0]
    assert net.bias.item() == pytest.approx(0.25)
