"""The multiplication problem: as adding, but the product of the two marked numbers is asked for.

S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997, section 5.5
(experiment 5), with T = 100. Numbers are from 0 to 1; if the first step is among the marked, X1 is
one (here: its number counts as one). The net can no longer simply integrate.

The paper's criterion, the stricter of its two: fewer than 13 of the 2000 most recent training
sequences have an error above 0.04. It needed 1,273,000 sequences, and 14 of 2560 test sequences
were wrong.

Ours differs in the training, as in adding.py.
"""

from __future__ import annotations

import torch
from adding import FIRST_STEP as P
from adding import STEPS, at_the_end, marked_pairs
from nets import long_lag_nets
from problem import LINEAR, Batch, Problem, endless, on_sequences


def sample(size: int, generator: torch.Generator) -> Batch:
    """Draw sequences of the multiplication problem."""
    x, lengths, marked = marked_pairs(size, generator, low=0.0)
    numbers = x[marked, torch.arange(size)[:, None], 0]
    numbers = torch.where(marked == 0, 1.0, numbers)
    return at_the_end(x, lengths, numbers.prod(1, keepdim=True))


MULTIPLICATION = Problem(
    name="multiplication",
    title="Multiplication",
    source="Hochreiter & Schmidhuber 1997, section 5.5, T = 100",
    task="Two numbers among 100 to 110 are marked; at the end their product is asked for.",
    criterion=(
        "Fewer than 13 of the 2000 most recent training sequences have an error of 0.04 or more;"
        " tested on 2560 sequences. The paper: 1,273,000 sequences, 14 of 2560 wrong."
    ),
    nets=long_lag_nets(2, 16, 30, STEPS),
    outputs=1,
    answer=LINEAR,
    bound=0.04,
    batches=endless(sample, 50),
    test=on_sequences(sample, LINEAR, 0.04),
    budget=500_000,
    halving=60_000,
    allowed=12,
    baseline=(1 - P) / 9 + P / 3 - ((1 - P) / 4 + P / 2) ** 2,  # the variance of the target
)
