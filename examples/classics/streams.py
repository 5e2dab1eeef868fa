"""Streams: learning stretch by stretch with the state carried on, tests to the first wrong answer.

So did Gers and his co-authors train and test, but for the stretches: they learned after each step.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from nets import Network
from problem import TEST_SEED, Answer, Batch, Score, Test

Cut = Callable[[int, int], Batch]
"""From two steps to what streams hold between them."""

Stream = Callable[[Sequence[int], int, int], Cut]
"""From a seed, a number of streams and a number of steps to the streams, to be cut."""

STRETCH = 10_000
"""Steps that a test runs at once."""

LENGTH = 25
"""Stretches of a stream in training. Then others begin, so that nets learn how to begin, too."""


def stretches(stream: Stream, streams: int, steps: int) -> Callable[[int], Iterator[Batch]]:
    """Return what makes stretches of ``steps`` steps of ``streams`` streams, without end."""

    def batches(seed: int) -> Iterator[Batch]:
        for turn in itertools.count():
            whole = stream((seed, turn), streams, LENGTH * steps)
            for start in range(0, LENGTH * steps, steps):
                yield whole(start, start + steps)._replace(fresh=start == 0)

    return batches


def right_steps(
    net: Network, whole: Cut, steps: int, answer: Answer, bound: float
) -> tuple[torch.Tensor, float]:
    """Return for each stream how many steps a net goes before a wrong answer, and its mean loss.

    Args:
        net: A net; its weights stay as they are.
        whole: Streams.
        steps: How long they are.
        answer: What outputs mean.
        bound: An answer is wrong where its error is not below.

    Returns:
        The steps, B, each at most ``steps``; the loss is that of the first stretch.
    """
    state, loss = None, 0.0
    first = torch.zeros(0)
    for start in range(0, steps, STRETCH):
        batch = whole(start, min(start + STRETCH, steps))
        with torch.no_grad():
            output, state = net(batch, state)
        if start == 0:
            first = torch.full((batch.x.shape[1],), steps)
            loss = float(answer.losses(output, batch.target)[batch.counts].mean())
        wrong = (answer.errors(output, batch.target) >= bound) & batch.counts
        here = torch.where(wrong.any(0), start + wrong.int().argmax(0), steps)
        first = torch.minimum(first, here)
        if bool((first < start + STRETCH).all()):
            break
    return first, loss


def tested_streams(
    stream: Stream, answer: Answer, bound: float, *, streams: int, steps: int
) -> Test:
    """Return a test on ``streams`` streams of ``steps`` steps: solved if no answer is wrong."""

    def test(net: Network, attempt: int) -> Score:
        whole = stream((TEST_SEED, attempt), streams, steps)
        first, loss = right_steps(net, whole, steps, answer, bound)
        passed = int((first == steps).sum())
        text = f"{passed} of {streams} whole, mean {first.double().mean():,.0f} steps"
        return Score(solved=passed == streams, text=text, loss=loss)

    return test
