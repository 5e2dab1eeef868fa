"""What a problem is: where batches come from, when an answer is wrong, when it counts as solved.

No training and no network here: see train.py and nets.py. Shape letters: T steps, B sequences or
streams, I inputs, O outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from nets import Net, Network
from torch import Tensor

TEST_SEED = 1_000_003
"""Of the first test of every net, and one more for each test that follows; no training draws so.

Other sequences each time: among many looks at the same ones, one would pass by chance.
"""


class Batch(NamedTuple):
    """Sequences to learn from, or the next stretch of streams.

    Args:
        x: Inputs, T×B×I.
        target: T×B×O, or T×B numbers of classes.
        counts: Where the target counts, T×B.
        lengths: Valid steps of each sequence, B; None where all have T.
        reset: Where a string begins, T×B, for nets that are told; None where there are none.
        fresh: Whether streams begin here, rather than go on where the batch before ended.
    """

    x: Tensor
    target: Tensor
    counts: Tensor
    lengths: Tensor | None = None
    reset: Tensor | None = None
    fresh: bool = True


class Answer(NamedTuple):
    """What outputs mean: the loss to train with, and the error to judge by; T×B each."""

    losses: Callable[[Tensor, Tensor], Tensor]
    errors: Callable[[Tensor, Tensor], Tensor]


LINEAR = Answer(
    lambda output, target: (output - target).square().mean(-1),
    lambda output, target: (output - target).abs().amax(-1),
)
"""Outputs are the answer; squared error. The error is that of the worst output."""

LOGISTIC = Answer(
    lambda output, target: F.binary_cross_entropy_with_logits(
        output, target, reduction="none"
    ).mean(-1),
    lambda output, target: (output.sigmoid() - target).abs().amax(-1),
)
"""The answer is the sigmoid of each output; cross-entropy, the mean over outputs."""

CLASSES = Answer(
    lambda output, target: F.cross_entropy(
        output.flatten(0, 1), target.flatten(), reduction="none"
    ).view_as(target),
    lambda output, target: (output.argmax(-1) != target).to(output.dtype),
)
"""The answer is the class with the largest output; cross-entropy. The error is 0 or 1."""


class Score(NamedTuple):
    """What a test says of a net.

    Args:
        solved: Whether the test's own criterion is met; True where it has none.
        text: What the table shows.
        loss: Mean loss.
    """

    solved: bool
    text: str
    loss: float


Test = Callable[[Network, int], Score]
"""From a net, and how often it was tested before, to its score."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A task, the nets that try it, and the criterion.

    Training ends as soon as the most recent ``window`` items, each judged before the net learned
    from it, hold at most ``allowed`` wrong ones and have a mean error below ``mean_error``, and
    the test agrees; or with the budget.

    Args:
        name: On the command line and in file names.
        title: In tables and pictures.
        source: Paper and section.
        task: What is to be learned, in a sentence or two.
        criterion: When it counts as solved, in words.
        nets: By name, in the order of the table.
        outputs: O.
        answer: What outputs mean.
        bound: An answer is wrong where its error is not below.
        batches: From a seed to training batches without end.
        test: From a trained net, and how often it was tested before, to its score.
        budget: Items to train on at most.
        learning_rate: Of Adam, at the beginning.
        halving: The learning rate falls steadily, by half over so many items; 0 for never.
        window: Items that the criterion looks back on.
        allowed: Wrong ones among them; None to train until the budget is spent.
        mean_error: The mean error of the window must be below.
        per_step: Whether each step that counts is an item, rather than each sequence.
        baseline: The loss of the best answer that remembers nothing; None where there is none.
    """

    name: str
    title: str
    source: str
    task: str
    criterion: str
    nets: Mapping[str, Net]
    outputs: int
    answer: Answer
    bound: float
    batches: Callable[[int], Iterator[Batch]]
    test: Test
    budget: int
    learning_rate: float = 1e-2
    halving: int = 0
    window: int = 2000
    allowed: int | None = 0
    mean_error: float = float("inf")
    per_step: bool = False
    baseline: float | None = None

    @property
    def items(self) -> str:
        """What is counted."""
        return "steps" if self.per_step else "sequences"

    def judged(self, output: Tensor, batch: Batch) -> tuple[int, int, float]:
        """Return how many items a batch has, how many are wrong, and their mean error."""
        errors = self.answer.errors(output.detach(), batch.target)[batch.counts]
        if self.per_step:
            return errors.numel(), int((errors >= self.bound).sum()), float(errors.mean())
        return (
            batch.x.shape[1],
            wrong_sequences(self.answer, self.bound, output, batch),
            float(errors.mean()),
        )


def entropy(share: float) -> float:
    """Return the cross-entropy of the best constant answer to what is so in ``share`` of cases."""
    return -(share * math.log(share) + (1 - share) * math.log(1 - share))


def wrong_sequences(answer: Answer, bound: float, output: Tensor, batch: Batch) -> int:
    """Count the sequences with a step that counts and whose error is not below the bound."""
    errors = answer.errors(output.detach(), batch.target)
    return int(((errors >= bound) & batch.counts).any(0).sum())


Sample = Callable[[int, torch.Generator], Batch]
"""From a number of sequences and a generator to a batch of them."""


def endless(sample: Sample, size: int) -> Callable[[int], Iterator[Batch]]:
    """Return what makes fresh batches of ``size`` sequences from a seed, without end."""

    def batches(seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield sample(size, generator)

    return batches


def on_sequences(sample: Sample, answer: Answer, bound: float, count: int = 2560) -> Test:
    """Return a test on ``count`` sequences; it counts wrong ones, and is no criterion itself."""

    def test(net: Network, attempt: int) -> Score:
        batch = sample(count, torch.Generator().manual_seed(TEST_SEED + attempt))
        with torch.no_grad():
            output, _ = net(batch)
        wrong = wrong_sequences(answer, bound, output, batch)
        losses = answer.losses(output, batch.target)[batch.counts]
        return Score(solved=True, text=f"{wrong} of {count}", loss=float(losses.mean()))

    return test
