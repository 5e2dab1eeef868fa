"""The continual embedded Reber grammar: strings without end, and nobody says where one begins.

F. Gers, J. Schmidhuber, F. Cummins, "Learning to forget: continual prediction with LSTM", Neural
Computation 12(10), 2000, the continual embedded Reber grammar problem. A string is B, then T or P,
then a string of Reber's grammar, then the same T or P again, and E; strings follow each other.
After each symbol all that may come next is to be predicted, one or two of the seven symbols.

The paper's criterion: a prediction is right if the error of every output is below 0.49. Training
and test alternate; each stream of either ends with the first wrong prediction or after a million,
and a perfect solution has a million in all ten test streams. Of the paper's 100 nets each, the LSTM
of 1997 had none; told where strings begin, 74; the LSTM with forget gates 18, and 62 with a
decaying learning rate.

Ours differs in the training: 16 streams of 1000 steps in stretches of 40 with the state carried
on, then 16 others; Adam, the gradient through the stretch, cross-entropy; a test follows whenever
the 50,000 most recent predictions were right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from nets import Net, lstm_1997
from problem import LOGISTIC, Batch, Problem
from streams import Cut, stretches, tested_streams

from gatewise.nn import GRU, LSTM, RNN

SYMBOLS = "BTPSXVE"
BOUND = 0.49
SHORTEST = 9
"""Symbols of the shortest string."""

REBER = {1: "T2 P3", 2: "S2 X4", 3: "T3 V5", 4: "X3 S6", 5: "P4 V6", 6: "E7"}
"""Reber's grammar after its B: from a node, by a symbol, to a node; 7 is the end."""


def embedded() -> tuple[np.ndarray, np.ndarray]:
    """Return the embedded grammar as tables of the symbol and the next node, nodes × 2.

    Two choices a node, with the same chance; where there is one, both entries hold it. Node 0 is
    the beginning of a string and its end.
    """
    edges = {0: "B1", 1: "T2 P10", 18: "E0"}
    for start, outer in ((2, "T"), (10, "P")):
        edges[start] = f"B{start + 1}"
        for node, choices in REBER.items():
            moved = [f"{choice[0]}{start + int(choice[1:])}" for choice in choices.split()]
            edges[start + node] = " ".join(moved)
        edges[start + 7] = f"{outer}18"
    tables = np.zeros((2, len(edges), 2), dtype=np.int8)
    for node, choices in edges.items():
        both = (choices.split() * 2)[:2]
        tables[0, node] = [SYMBOLS.index(choice[0]) for choice in both]
        tables[1, node] = [int(choice[1:]) for choice in both]
    return tables[0], tables[1]


SYMBOL, NEXT = embedded()
ALLOWED = torch.zeros(len(NEXT), len(SYMBOLS)).scatter_(1, torch.from_numpy(SYMBOL).long(), 1.0)
"""For each node the symbols that may come next, as targets."""


def strings(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``count`` strings, one after the other in one row.

    Returns:
        The symbols, and the node that each leads to.
    """
    node = np.zeros(count, dtype=np.int8)
    alive = np.ones(count, dtype=bool)
    symbols, nodes = [], []
    while alive.any():
        coin = rng.integers(2, size=count)
        symbols.append(np.where(alive, SYMBOL[node, coin], np.int8(-1)))
        node = NEXT[node, coin]
        nodes.append(node)
        alive = alive & (node != 0)
    rows, ends = np.stack(symbols, 1), np.stack(nodes, 1)
    return rows[rows >= 0], ends[rows >= 0]


def stream(seed: Sequence[int], streams: int, steps: int) -> Cut:
    """Draw streams of strings; each begins with a string's beginning."""
    rng = np.random.default_rng(seed)
    pairs = [strings(-(-steps // SHORTEST), rng) for _ in range(streams)]
    symbols, nodes = (np.stack([pair[n][:steps] for pair in pairs], 1) for n in (0, 1))

    def cut(start: int, stop: int) -> Batch:
        read = torch.from_numpy(symbols[start:stop]).long()
        reached = torch.from_numpy(nodes[start:stop]).long()
        # A string begins where the symbol before has ended one.
        before = nodes[start - 1 : start] if start else np.zeros((1, streams), dtype=np.int8)
        begins = np.concatenate([before, nodes[start : stop - 1]]) == 0
        return Batch(
            x=torch.eye(len(SYMBOLS))[read],
            target=ALLOWED[reached],
            counts=torch.ones_like(read, dtype=torch.bool),
            reset=torch.from_numpy(begins),
        )

    return cut


HIDDEN = 12

CONTINUAL_REBER = Problem(
    name="reber",
    title="Continual embedded Reber grammar",
    source="Gers, Schmidhuber & Cummins 2000, the continual embedded Reber grammar problem",
    task="After each symbol of an endless stream of strings, all that may come next is asked for.",
    criterion=(
        "On ten streams of a million steps each, no prediction with an error of 0.49 or more in any"
        " output; tested when the 50,000 most recent predictions in training were right. The paper,"
        " of 100 nets: LSTM of 1997 none, told where strings begin 74, LSTM with forget gates 18,"
        " 62 with a decaying learning rate."
    ),
    nets={
        "RNN": Net(lambda: RNN(len(SYMBOLS), 26)),
        "LSTM of 1997": Net(lambda: lstm_1997(len(SYMBOLS), HIDDEN, -1.0)),
        "LSTM of 1997, told resets": Net(
            lambda: lstm_1997(len(SYMBOLS), HIDDEN, -1.0), told_resets=True
        ),
        "LSTM": Net(lambda: LSTM(len(SYMBOLS), HIDDEN, forget_bias=1.0)),
        "GRU": Net(lambda: GRU(len(SYMBOLS), HIDDEN)),
    },
    outputs=len(SYMBOLS),
    answer=LOGISTIC,
    bound=BOUND,
    batches=stretches(stream, 16, 40),
    test=tested_streams(stream, LOGISTIC, BOUND, streams=10, steps=1_000_000),
    budget=3_000_000,
    halving=1_000_000,
    window=50_000,
    per_step=True,
)
