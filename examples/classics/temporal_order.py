"""Temporal order: in which order did two, or three, X and Y come among a hundred distractors?

S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997, section 5.6
(experiments 6a and 6b). A sequence of 100 to 110 symbols begins with E, ends with B, and consists
of a, b, c and d otherwise, but for an X or Y at t1 (10 to 20) and t2 (50 to 60); with three, at
10 to 20, 33 to 43 and 66 to 76. The class is which of them is an X and which a Y: 4 or 8 classes,
an output for each.

The paper's criterion: the 2000 most recent training sequences have an error below 0.3 in every
output, and their mean error is below 0.1. It needed 31,390 sequences (6a; 1 of 2560 test sequences
wrong) and 571,100 (6b; 2 wrong).

Ours differs in the training: batches of 50, Adam, the whole gradient, cross-entropy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from nets import Net, long_lag_nets
from problem import LOGISTIC, Batch, Problem, Sample, endless, entropy, on_sequences

SYMBOLS = "EBabcdXY"
SHORTEST, LONGEST = 100, 110
TWO = ((10, 20), (50, 60))
THREE = ((10, 20), (33, 43), (66, 76))


def sampler(places: Sequence[tuple[int, int]]) -> Sample:
    """Return what draws sequences with an X or Y somewhere in each of ``places``, ends included."""

    def sample(size: int, generator: torch.Generator) -> Batch:
        def whole(low: int, high: int, *shape: int) -> torch.Tensor:
            return torch.randint(low, high + 1, shape, generator=generator)

        everyone = torch.arange(size)
        lengths = whole(SHORTEST, LONGEST, size)
        symbols = whole(SYMBOLS.index("a"), SYMBOLS.index("d"), LONGEST, size)
        symbols[0] = SYMBOLS.index("E")
        symbols[lengths - 1, everyone] = SYMBOLS.index("B")
        classes = torch.zeros(size, dtype=torch.int64)
        for low, high in places:
            bit = whole(0, 1, size)  # 0 for X, 1 for Y
            symbols[whole(low, high, size), everyone] = SYMBOLS.index("X") + bit
            classes = 2 * classes + bit
        x = F.one_hot(symbols, len(SYMBOLS)).float()
        steps = torch.arange(LONGEST)[:, None]
        x[steps >= lengths] = 0
        target = F.one_hot(classes, 2 ** len(places)).float().expand(LONGEST, -1, -1)
        return Batch(x, target, steps == lengths - 1, lengths)

    return sample


def problem(
    number: str, places: Sequence[tuple[int, int]], published: str, nets: Mapping[str, Net]
) -> Problem:
    """Return the task with an X or Y in each of ``places``."""
    classes, sample = 2 ** len(places), sampler(places)
    return Problem(
        name=f"order{len(places)}",
        title=f"Temporal order, {len(places)} symbols",
        source=f"Hochreiter & Schmidhuber 1997, section 5.6, experiment {number}",
        task=(
            f"{len(places)} of 100 to 110 symbols are an X or a Y; at the end their order is asked"
            f" for, one of {classes}."
        ),
        criterion=(
            "The 2000 most recent training sequences all have an error below 0.3 in every output,"
            f" and a mean error below 0.1; tested on 2560 sequences. The paper: {published}."
        ),
        nets=nets,
        outputs=classes,
        answer=LOGISTIC,
        bound=0.3,
        batches=endless(sample, 50),
        test=on_sequences(sample, LOGISTIC, 0.3),
        budget=300_000,
        halving=60_000,
        mean_error=0.1,
        baseline=entropy(1 / classes),
    )


NETS_2 = long_lag_nets(len(SYMBOLS), 8, 18, SHORTEST)
NETS_3 = long_lag_nets(len(SYMBOLS), 12, 26, SHORTEST)
ORDER_2 = problem("6a", TWO, "31,390 sequences, 1 of 2560 wrong", NETS_2)
ORDER_3 = problem("6b", THREE, "571,100 sequences, 2 of 2560 wrong", NETS_3)
