"""How examples/classics tests nets: against nets whose answers, right and wrong, are known."""

from __future__ import annotations

import math

import framewise
import pytest
import streams
import torch
from problem import CLASSES, LINEAR, LOGISTIC, TEST_SEED, Batch, entropy, on_sequences
from problems import PROBLEMS
from streams import right_steps, stretches
from torch import nn


class Told(nn.Module):
    """Reads the target and answers it, with the errors that it is told to make.

    Args:
        errors: From the number of the batch, and the batch, to the error of each answer, T×B.
    """

    def __init__(self, errors=lambda number, batch: torch.zeros(batch.counts.shape)):
        super().__init__()
        self.errors = errors
        self.batches, self.states = [], []

    def forward(self, batch, state=None):
        errors = self.errors(len(self.batches), batch)
        self.batches.append(batch)
        self.states.append(state)
        if batch.target.is_floating_point():
            off = errors[..., None] * (1 - 2 * batch.target)
            output = torch.logit(batch.target + off, eps=1e-6)
        else:
            labels = torch.where(errors > 0, 1 - batch.target, batch.target)
            output = 9 * nn.functional.one_hot(labels, 2).float()
        return output, len(self.batches)


# --- tests on sequences ---------------------------------------------------------------------------


class Fixed(nn.Module):
    """Answers what it is told to."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, batch, state=None):
        return self.output, None


@pytest.mark.parametrize("wrong", [0, 1, 7])
def test_a_test_on_sequences_counts_those_with_a_wrong_step_and_the_loss_of_what_counts(wrong):
    counts = torch.zeros(3, 8, dtype=torch.bool)
    counts[1] = True
    output = torch.full((3, 8, 1), 5.0)  # where nothing counts, however wrong
    output[1] = 0.1
    output[1, :wrong] = 0.6
    drawn = []

    def sample(size, generator):
        drawn.append((size, generator.initial_seed()))
        zeros = torch.zeros(3, 8, 1)
        return Batch(zeros, zeros, counts)

    test = on_sequences(sample, LINEAR, 0.5, count=8)
    score = test(Fixed(output), 0)
    assert (score.solved, score.text) == (True, f"{wrong} of 8")
    assert score.loss == pytest.approx((wrong * 0.36 + (8 - wrong) * 0.01) / 8)
    test(Fixed(output), 1)
    test(Fixed(output), 2)
    sizes, seeds = zip(*drawn, strict=True)
    assert set(sizes) == {8}
    assert len(set(seeds)) == 3  # other sequences at each look
    assert min(seeds) >= TEST_SEED > 1_000_000  # and never those of a training


class Near(nn.Module):
    """Reads the target and misses every answer by ``error``; where it is a class, by another."""

    def __init__(self, problem, error):
        super().__init__()
        self.problem, self.error = problem, error

    def forward(self, batch, state=None):
        target = batch.target
        if self.problem.answer is LINEAR:
            return target + self.error, None
        if self.problem.answer is LOGISTIC:
            return torch.logit(target + self.error * (1 - 2 * target)), None
        labels = target if self.error < 0.5 else (target + 1) % self.problem.outputs
        return nn.functional.one_hot(labels, self.problem.outputs).float(), None


@pytest.mark.parametrize("name", ["adding", "multiplication", "order2", "order3", "copy"])
def test_long_lag_problems_are_tested_on_2560_sequences_by_their_bound(name):
    problem = PROBLEMS[name]
    for share, text in ((0.99, "0 of 2560"), (1.01, "2560 of 2560")):
        assert problem.test(Near(problem, share * problem.bound), 0).text == text


@pytest.mark.parametrize(("share", "solved"), [(0.0, True), (0.29, True), (0.31, False)])
def test_framewise_labelling_is_solved_below_the_share_of_the_blind(share, solved, monkeypatch):
    drawn = []

    def sample(size, generator):
        drawn.append(generator.initial_seed())
        return Batch(
            torch.zeros(100, size, 1),
            torch.ones(100, size, dtype=torch.int64),
            torch.ones(100, size, dtype=torch.bool),
        )

    monkeypatch.setattr(framewise, "sample", sample)
    wrong = (torch.arange(100)[:, None] < 100 * share).float().expand(100, 500)
    score = framewise.test(Told(lambda number, batch: wrong), 0)
    assert score.solved == solved
    assert score.text == f"{100 * share:.1f} % of frames wrong"
    right, missed = math.log(1 + math.exp(-9)), math.log(1 + math.exp(9))
    assert score.loss == pytest.approx(share * missed + (1 - share) * right, abs=1e-5)
    framewise.test(Told(), 1)
    assert len(set(drawn)) == 2
    assert min(drawn) >= TEST_SEED


# --- items ----------------------------------------------------------------------------------------


def test_items_are_steps_or_sequences():
    counts = torch.ones(4, 3, dtype=torch.bool)
    counts[3, 2] = False
    target = torch.full((4, 3, 1), 0.5)
    output = torch.zeros(4, 3, 1)
    output[1:3, 0] = 3.0  # an error of 0.45: two steps of one sequence
    output[3, 2] = 9.0  # does not count
    batch = Batch(target, target, counts)
    steps, sequences = PROBLEMS["reber"], PROBLEMS["order2"]
    errors = 2 * (1 / (1 + math.exp(-3)) - 0.5) / 11
    for bound_of, expected in ((steps, (11, 0)), (sequences, (3, 1))):
        items, wrong, mean = bound_of.judged(output, batch)
        assert (items, wrong) == expected
        assert mean == pytest.approx(errors)
    output[0, 1] = -9.0  # an error of nearly 0.5: just one more step
    assert steps.judged(output, batch)[:2] == (11, 1)
    assert sequences.judged(output, batch)[:2] == (3, 2)


# --- streams --------------------------------------------------------------------------------------


def test_a_stream_is_judged_with_its_state_and_only_where_it_counts(monkeypatch):
    monkeypatch.setattr(streams, "STRETCH", 4)
    counts = torch.ones(10, 2, dtype=torch.bool)
    counts[2, 0] = counts[6, 0] = False
    wrong = torch.zeros(10, 2, dtype=torch.bool)
    wrong[2, 0] = wrong[6, 0] = wrong[8, 0] = wrong[9, 1] = True

    def whole(start, stop):
        zeros = torch.zeros(stop - start, 2, 1)
        return Batch(zeros, zeros, counts[start:stop])

    def of(error):
        return Told(lambda number, batch: error * wrong[4 * number : 4 * number + 4])

    net = of(0.6)
    first, _ = right_steps(net, whole, 10, LOGISTIC, 0.49)
    assert first.tolist() == [8, 9]
    assert net.states == [None, 1, 2]  # what it returned for the stretch before
    # An error below the bound is right.
    assert right_steps(of(0.48), whole, 10, LOGISTIC, 0.49)[0].tolist() == [10, 10]


def recorded_stream(drawn, cuts):
    """A stream of numbers that notes what it was asked for."""

    def stream(seed, count, steps):
        drawn.append((tuple(seed), count, steps))

        def cut(start, stop):
            cuts.append((start, stop))
            zeros = torch.zeros(stop - start, count, 1)
            return Batch(zeros, zeros, torch.ones(stop - start, count, dtype=torch.bool))

        return cut

    return stream


@pytest.mark.parametrize("bad", [0, 1, 9, 10])
def test_a_test_on_streams_is_passed_if_all_are_whole(bad):
    drawn, cuts = [], []
    test = streams.tested_streams(
        recorded_stream(drawn, cuts), LOGISTIC, 0.49, streams=10, steps=20
    )
    errors = torch.zeros(20, 10)
    errors[5, :bad] = 0.5
    score = test(Told(lambda number, batch: errors), 0)
    assert score.solved == (bad == 0)
    mean = (5 * bad + 20 * (10 - bad)) / 10
    assert score.text == f"{10 - bad} of 10 whole, mean {mean:,.0f} steps"
    test(Told(), 1)
    test(Told(), 2)
    seeds = {seed for seed, *_ in drawn}
    assert len(seeds) == 3  # other streams at each look
    assert {seed[0] for seed in seeds} == {TEST_SEED}
    assert {asked[1:] for asked in drawn} == {(10, 20)}


def test_training_goes_along_streams_and_then_begins_others(monkeypatch):
    monkeypatch.setattr(streams, "LENGTH", 3)
    drawn, cuts = [], []
    batches = stretches(recorded_stream(drawn, cuts), 16, 7)(5)
    fresh = [next(batches).fresh for _ in range(9)]
    assert fresh == [True, False, False] * 3
    assert cuts == [(0, 7), (7, 14), (14, 21)] * 3
    assert drawn == [((5, turn), 16, 21) for turn in range(3)]


@pytest.mark.parametrize(
    ("name", "steps", "width"),
    [
        ("reber", 1_000_000, 7),
        ("spikes_measure", 11_000, 1),
        ("spikes_generate", 11_000, 1),
    ],
)
def test_a_problem_of_streams_is_tested_as_its_paper_says(name, steps, width):
    first = []

    def errors(number, batch):
        own = torch.zeros(batch.counts.shape)
        if number == 0:
            first[:] = batch.counts.int().argmax(0).tolist()
            # Just too much at the first answer of one stream, and nearly so at that of another.
            own[first[3], 3], own[first[5], 5] = 0.491, 0.489
        return own

    net = Told(errors)
    score = PROBLEMS[name].test(net, 0)
    assert not score.solved
    assert score.text == f"9 of 10 whole, mean {(9 * steps + first[3]) / 10:,.0f} steps"
    assert net.batches[0].x.shape[1:] == (10, width)


def test_the_loss_of_a_constant_answer():
    assert entropy(0.5) == pytest.approx(math.log(2))
    target = torch.tensor([1.0, 0, 0, 0])[:, None]
    output = torch.full((4, 1), math.log(1 / 3))
    assert entropy(0.25) == pytest.approx(LOGISTIC.losses(output, target).mean().item())
    assert CLASSES.losses(torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.int64)).item() > 1.38
