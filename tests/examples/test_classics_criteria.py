"""What the papers ask for, beside what examples/classics does: criteria, nets, distributions."""

from __future__ import annotations

from collections.abc import Callable

import adding
import framewise
import multiplication
import pytest
import spikes
import temporal_order
import torch
from nets import Network
from problem import Batch
from problems import PROBLEMS

from gatewise.nn import GRU, LSTM, RNN

DRAWN = 4000

# Of the papers: when an answer is wrong, how many of the most recent, and of which, may be so at
# most, what their mean error must be below, and the loss of the best answer that knows nothing.
CRITERIA = {
    "adding": (0.04, 2000, "sequences", 0, 0.01),
    "multiplication": (0.04, 2000, "sequences", 12, float("inf")),
    "order2": (0.3, 2000, "sequences", 0, 0.1),
    "order3": (0.3, 2000, "sequences", 0, 0.1),
    "copy": (0.5, 1000, "sequences", 10, float("inf")),
    "reber": (0.49, 50_000, "steps", 0, float("inf")),
    "spikes_measure": (0.49, 1000, "steps", 0, float("inf")),
    "spikes_generate": (0.49, 20_000, "steps", 0, float("inf")),
    "framewise": (0.5, 50_000, "steps", None, float("inf")),
}


def test_every_problem_is_in_the_table():
    assert list(CRITERIA) == list(PROBLEMS)


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_is_the_paper_s(name):
    problem = PROBLEMS[name]
    own = (problem.bound, problem.window, problem.items, problem.allowed, problem.mean_error)
    assert own == CRITERIA[name]
    assert problem.halving > 0
    assert problem.budget > problem.window


LONG_LAG = {
    "RNN": (RNN, {}),
    "LSTM of 1997": (LSTM, {"forget_gate": False}),
    "LSTM, chrono": (LSTM, {"init": "chrono", "chrono_steps": 100}),
    "GRU, chrono": (GRU, {"init": "chrono", "chrono_steps": 100}),
}
COPY = {
    "RNN": (RNN, {}),
    "LSTM, chrono": (LSTM, {"init": "chrono", "chrono_steps": 150}),
    "GRU, chrono": (GRU, {"init": "chrono", "chrono_steps": 150}),
}
REBER = {
    "RNN": (RNN, {}),
    "LSTM of 1997": (LSTM, {"forget_gate": False}),
    "LSTM of 1997, told resets": (LSTM, {"forget_gate": False, "told_resets": True}),
    "LSTM": (LSTM, {"forget_bias": 1.0}),
    "GRU": (GRU, {}),
}
SPIKES = {
    "RNN": (RNN, {}),
    "LSTM": (LSTM, {"forget_bias": 2.0}),
    "LSTM, peepholes": (LSTM, {"forget_bias": 2.0, "peephole": True}),
    "GRU": (GRU, {}),
}
FRAMEWISE = {
    "RNN": (RNN, {}),
    "LSTM": (LSTM, {}),
    "LSTM, 5 frames later": (LSTM, {"delay": 5}),
    "BRNN": (RNN, {"bidirectional": True}),
    "BLSTM": (LSTM, {"bidirectional": True}),
}
NETS = {
    **dict.fromkeys(("adding", "multiplication", "order2", "order3"), LONG_LAG),
    "copy": COPY,
    "reber": REBER,
    **dict.fromkeys(("spikes_measure", "spikes_generate"), SPIKES),
    "framewise": FRAMEWISE,
}
PLAIN = {
    "forget_gate": True,
    "peephole": False,
    "bidirectional": False,
    "init": "torch",
    "chrono_steps": None,
    "forget_bias": None,
    "told_resets": False,
    "delay": 0,
}


@pytest.mark.parametrize("name", NETS)
def test_a_net_is_what_its_name_says(name):
    problem = PROBLEMS[name]
    assert list(problem.nets) == list(NETS[name])
    for net, (kind, options) in NETS[name].items():
        network = Network(problem.nets[net], problem.outputs)
        layer = network.stack[0]
        assert type(layer) is kind, net
        for option, value in (PLAIN | options).items():
            owner = network if option in ("told_resets", "delay") else layer
            assert getattr(owner, option, PLAIN[option]) == value, (net, option)


# --- distributions --------------------------------------------------------------------------------


def check_uniform(drawn: torch.Tensor, low: int, high: int) -> None:
    """Raise unless whole numbers take each value from ``low`` to ``high`` about equally often."""
    values = drawn.flatten().long()
    assert low <= values.min()
    assert values.max() <= high
    share = 1 / (high - low + 1)
    found = torch.bincount(values - low, minlength=high - low + 1) / len(values)
    # Five deviations of a share of so many draws.
    assert float((found - share).abs().max()) < 5 * (share * (1 - share) / len(values)) ** 0.5


def drawn(sample: Callable[[int, torch.Generator], Batch]) -> Batch:
    return sample(DRAWN, torch.Generator().manual_seed(11))


@pytest.mark.parametrize("wrong", [torch.full((DRAWN,), 3), torch.arange(DRAWN) % 10])
def test_a_distribution_that_is_not_uniform_is_noticed(wrong):
    check_uniform(torch.arange(DRAWN) % 11, 0, 10)
    with pytest.raises(AssertionError):
        check_uniform(wrong, 0, 10)


@pytest.mark.parametrize(("sample", "low"), [(adding.sample, -1), (multiplication.sample, 0)])
def test_marked_numbers_are_spread_as_the_paper_says(sample, low):
    batch = drawn(sample)
    check_uniform(batch.lengths, 100, 110)
    there = torch.arange(110)[:, None] < batch.lengths
    numbers, markers = batch.x[..., 0][there], batch.x[..., 1]
    tenths = ((numbers - low) / (1 - low) * 10).floor()
    check_uniform(tenths, 0, 9)
    # Every step from 10 to 48 is marked equally often: the second mark alone can be there.
    later = (markers[10:49] == 1).nonzero()[:, 0]
    check_uniform(later, 0, 38)
    assert not (markers[49:] == 1).any()
    # One of the first ten always, and one more of those with a chance of 9 in 48.
    early = (markers[:10] == 1).sum(0)
    assert set(early.tolist()) == {1, 2}
    assert float((early == 2).float().mean()) == pytest.approx(9 / 48, abs=0.03)


@pytest.mark.parametrize(
    ("problem", "places"),
    [
        (temporal_order.ORDER_2, [(10, 20), (50, 60)]),
        (temporal_order.ORDER_3, [(10, 20), (33, 43), (66, 76)]),
    ],
)
def test_symbols_are_spread_as_the_paper_says(problem, places):
    batch = drawn(temporal_order.sampler(places))
    check_uniform(batch.lengths, 100, 110)
    symbols = batch.x.argmax(2)
    there = torch.arange(110)[:, None] < batch.lengths
    assert torch.equal(batch.x.sum(2), there.float())
    distractors = symbols[there & (symbols >= 2) & (symbols <= 5)]
    check_uniform(distractors, 2, 5)
    asked = (symbols >= 6) & there
    where = asked.T.nonzero()[:, 1].view(DRAWN, len(places))
    for place, (low, high) in zip(where.T, places, strict=True):
        check_uniform(place, low, high)
    check_uniform(symbols.T[asked.T], 6, 7)
    check_uniform(batch.target[0].argmax(1), 0, 2 ** len(places) - 1)
    trained = next(problem.batches(0))
    assert set(trained.lengths.tolist()) <= set(range(100, 111))
    assert trained.target.shape[2] == problem.outputs == 2 ** len(places)


@pytest.mark.parametrize(("problem", "intervals"), [(spikes.MEASURING, 4), (spikes.GENERATING, 6)])
def test_waits_between_spikes_are_spread_as_the_paper_says(problem, intervals):
    batch = next(problem.batches(0))
    assert batch.x.shape == (intervals * 11, 16, 1)
    train = batch.x if problem is spikes.MEASURING else batch.target
    waits = torch.cat(
        [torch.diff(one.nonzero()[:, 0], prepend=torch.tensor([-1])) for one in train[..., 0].T]
    )
    assert set(waits.tolist()) == {10, 11}
    all_spikes, delays = spikes.trains(10, 40, 1100, (3,))
    check_uniform(torch.from_numpy(delays[all_spikes == 1]), 0, 1)


def test_sounds_last_as_long_as_they_should():
    sound, _ = framewise.sounds(DRAWN, torch.Generator().manual_seed(11))
    changes = sound[1:] != sound[:-1]
    # The first sound begins with the first frame: where it ends is how long it lasts.
    check_uniform(changes.int().argmax(0) + 1, 4, 12)
    check_uniform(sound[0], 0, 4)
    steps = (sound[1:] - sound[:-1])[changes] % 5
    check_uniform(steps, 1, 4)
