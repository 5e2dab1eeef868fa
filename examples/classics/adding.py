"""The adding problem: two marked numbers, far apart, whose sum is asked for at the end.

S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997, section 5.4
(experiment 4), with T = 100. Each step shows a number from −1 to 1 and a marker. The first and the
last marker are −1; one of the first ten steps, and one more of the first T/2 − 1, are marked with
1, all others with 0. Sequences have 100 to 110 steps. The target at the end is 0.5 + (X1 + X2) / 4;
if the first step is among the marked, X1 is zero (here: its number counts as zero).

The paper's criterion: the 2000 most recent training sequences have an error below 0.04, and their
mean error is below 0.01. It needed 74,000 sequences, and 1 of 2560 test sequences was wrong.

Ours differs in the training: batches of 50, Adam, the whole gradient, a linear output.
"""

from __future__ import annotations

import torch
from nets import long_lag_nets
from problem import LINEAR, Batch, Problem, endless, on_sequences
from torch import Tensor

STEPS = 100
FIRST_STEP = 1 / 10 + 9 / 10 / (STEPS // 2 - 2)
"""The chance that the first step is among the marked."""


def marked_pairs(
    size: int, generator: torch.Generator, *, low: float, steps: int = STEPS
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw sequences of numbers and markers.

    Args:
        size: B, how many.
        generator: What draws.
        low: Numbers are from ``low`` to 1.
        steps: T; a sequence has T to T + T/10 steps.

    Returns:
        The inputs, (T + T/10)×B×2, zero beyond the lengths; the lengths, B; and the two marked
        steps, B×2.
    """
    longest = steps + steps // 10
    lengths = torch.randint(steps, longest + 1, (size,), generator=generator)
    first = torch.randint(10, (size,), generator=generator)
    # The second is drawn from the steps that are left: one less, and those after the first move up.
    second = torch.randint(steps // 2 - 2, (size,), generator=generator)
    second += second >= first
    marked = torch.stack([first, second], 1)
    numbers = low + (1 - low) * torch.rand(longest, size, generator=generator)
    markers = torch.zeros(longest, size)
    everyone = torch.arange(size)
    markers[0] = -1
    markers[lengths - 1, everyone] = -1
    for chosen in marked.unbind(1):
        markers[chosen, everyone] = 1
    x = torch.stack([numbers, markers], 2)
    x[torch.arange(longest)[:, None] >= lengths] = 0
    return x, lengths, marked


def at_the_end(x: Tensor, lengths: Tensor, answers: Tensor) -> Batch:
    """Return the batch whose targets are asked for at the last step of each sequence, B×O."""
    T, B, _ = x.shape
    counts = torch.arange(T)[:, None] == lengths - 1
    return Batch(x, answers.expand(T, B, -1), counts, lengths)


def sample(size: int, generator: torch.Generator) -> Batch:
    """Draw sequences of the adding problem."""
    x, lengths, marked = marked_pairs(size, generator, low=-1.0)
    numbers = x[marked, torch.arange(size)[:, None], 0]
    numbers = torch.where(marked == 0, 0.0, numbers)
    return at_the_end(x, lengths, 0.5 + numbers.sum(1, keepdim=True) / 4)


ADDING = Problem(
    name="adding",
    title="Adding",
    source="Hochreiter & Schmidhuber 1997, section 5.4, T = 100",
    task="Two numbers among 100 to 110 are marked; at the end their sum is asked for.",
    criterion=(
        "The 2000 most recent training sequences all have an error below 0.04, and a mean error"
        " below 0.01; tested on 2560 sequences. The paper: 74,000 sequences, 1 of 2560 wrong."
    ),
    nets=long_lag_nets(2, 8, 16, STEPS),
    outputs=1,
    answer=LINEAR,
    bound=0.04,
    batches=endless(sample, 50),
    test=on_sequences(sample, LINEAR, 0.04),
    budget=400_000,
    halving=150_000,
    mean_error=0.01,
    baseline=(2 - FIRST_STEP) / 3 / 16,  # the variance of the target
)
