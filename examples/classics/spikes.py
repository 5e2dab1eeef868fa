"""Spike timing: measuring the time between spikes, and making spikes at the right time.

F. Gers, N. Schraudolph, J. Schmidhuber, "Learning precise timing with LSTM recurrent networks",
Journal of Machine Learning Research 3, 2002. The n-th spike of a train comes F + I(n) steps after
the one before, with I(n) drawn from {0, 1} here. MSD, measuring spike delays: the input is the
train, and at each spike I(n) is asked for. GTS, generating timed spikes, has the roles reversed:
the input is I(n), and the target is the train. The paper does not say when I(n) is shown; here it
is at the first step after the spike before, with zeros elsewhere.

The paper's criterion: a test stream of 1000 spikes without an error of 0.49 or more; for GTS at any
step. It trained nets with a single cell, those with peepholes solved GTS for F up to 50, and those
without did not learn it. MSD both learned.

Ours differs in the training: 16 streams in stretches of some intervals with the state carried on,
25 stretches long, Adam, the gradient through the stretch, cross-entropy; and in the test, ten
streams instead of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from nets import Net
from problem import LOGISTIC, Batch, Problem, entropy
from streams import Cut, Stream, stretches, tested_streams

from gatewise.nn import GRU, LSTM, RNN

BOUND = 0.49
SPIKES = 1000
"""In each stream of a test."""


def trains(
    period: int, streams: int, steps: int, seed: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw trains of spikes.

    Returns:
        The spikes, and I(n) at each step of the n-th interval, both steps × streams, 0 or 1. The
        last step of an interval is its spike.
    """
    rng = np.random.default_rng(seed)
    spikes = np.zeros((steps, streams), dtype=np.int8)
    delays = np.zeros((steps, streams), dtype=np.int8)
    for column in range(streams):
        own = rng.integers(2, size=steps // period + 1)
        times = np.cumsum(period + own) - 1
        delays[:, column] = np.repeat(own, period + own)[:steps]
        spikes[times[times < steps], column] = 1
    return spikes, delays


def measuring(period: int) -> Stream:
    """Return the streams of MSD."""

    def stream(seed: Sequence[int], streams: int, steps: int) -> Cut:
        spikes, delays = trains(period, streams, steps, seed)

        def cut(start: int, stop: int) -> Batch:
            seen = torch.from_numpy(spikes[start:stop])
            asked = torch.from_numpy(delays[start:stop])
            return Batch(seen[..., None].float(), asked[..., None].float(), seen.bool())

        return cut

    return stream


def generating(period: int) -> Stream:
    """Return the streams of GTS."""

    def stream(seed: Sequence[int], streams: int, steps: int) -> Cut:
        spikes, delays = trains(period, streams, steps, seed)
        told = delays.copy()
        told[1:] *= spikes[:-1]  # only in the step after a spike, and in the first

        def cut(start: int, stop: int) -> Batch:
            target = torch.from_numpy(spikes[start:stop])[..., None].float()
            x = torch.from_numpy(told[start:stop])[..., None].float()
            return Batch(x, target, torch.ones(x.shape[:2], dtype=torch.bool))

        return cut

    return stream


def nets(hidden: int, rnn_hidden: int) -> Mapping[str, Net]:
    """Return the nets of both tasks; the RNN gets about as many weights as the others."""
    return {
        "RNN": Net(lambda: RNN(1, rnn_hidden)),
        "LSTM": Net(lambda: LSTM(1, hidden, forget_bias=2.0)),
        "LSTM, peepholes": Net(lambda: LSTM(1, hidden, forget_bias=2.0, peephole=True)),
        "GRU": Net(lambda: GRU(1, hidden)),
    }


PERIOD = 10
"""F."""


def problem(
    short: str,
    stream: Stream,
    *,
    name: str,
    title: str,
    task: str,
    criterion: str,
    intervals: int,
    budget: int,
    halving: int,
    window: int,
    baseline: float,
) -> Problem:
    """Return one of the two tasks; ``intervals`` of the longer kind make a stretch."""
    return Problem(
        name=name,
        title=f"{title}, F = {PERIOD}",
        source=(f"Gers, Schraudolph & Schmidhuber 2002, {short}, F = {PERIOD}, I(n) in {{0, 1}}"),
        task=task,
        criterion=criterion,
        nets=nets(8, 18),
        outputs=1,
        answer=LOGISTIC,
        bound=BOUND,
        batches=stretches(stream, 16, intervals * (PERIOD + 1)),
        test=tested_streams(stream, LOGISTIC, BOUND, streams=10, steps=(PERIOD + 1) * SPIKES),
        budget=budget,
        halving=halving,
        window=window,
        per_step=True,
        baseline=baseline,
    )


MEASURING = problem(
    "MSD",
    measuring(PERIOD),
    name="spikes_measure",
    title="Measuring spike delays",
    task="Spikes come 10 or 11 steps after each other; at each it is asked which.",
    criterion=(
        "On ten streams of 1000 spikes no error of 0.49 or more; tested when the 1000 most recent"
        " spikes in training had none. In the paper nets of one cell learn it with and without"
        " peepholes."
    ),
    intervals=4,
    budget=400_000,
    halving=130_000,
    window=1000,
    baseline=math.log(2),
)

GENERATING = problem(
    "GTS",
    generating(PERIOD),
    name="spikes_generate",
    title="Generating timed spikes",
    task="After being told 0 or 1, make a spike 10 or 11 steps after the one before.",
    criterion=(
        "On ten streams of 1000 spikes no step with an error of 0.49 or more; tested when the"
        " 20,000 most recent steps in training had none. In the paper nets of one cell learn it"
        " with peepholes only."
    ),
    intervals=6,
    budget=6_000_000,
    halving=2_000_000,
    window=20_000,
    baseline=entropy(1 / (PERIOD + 0.5)),  # of a spike, when the last one is forgotten
)
