"""Copy memory: ten symbols are shown, and asked for again a hundred steps later.

M. Arjovsky, A. Shah, Y. Bengio, "Unitary evolution recurrent neural networks", ICML 2016, the
copying memory problem, after the long lags of Hochreiter & Schmidhuber (1997). T + 20 steps: ten of
eight symbols, T − 1 blanks, a mark, ten blanks. The target is T + 10 blanks and then the ten
symbols in their order. What remembers nothing has a cross-entropy of 10·ln 8 / (T + 20); in the
paper's pictures an RNN stays at it.

The paper has no criterion but to leave that baseline. Ours: at least 990 of the 1000 most recent
training sequences have no wrong step. The variant is the LSTM with chrono initialisation, which
C. Tallec, Y. Ollivier, "Can recurrent neural networks warp time?", ICLR 2018, show on this
task.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from nets import Net
from problem import CLASSES, Batch, Problem, endless, on_sequences

from gatewise.nn import GRU, LSTM, RNN

DELAY = 100
SYMBOLS, COPIED = 8, 10
BLANK, MARK = SYMBOLS, SYMBOLS + 1
INPUTS = SYMBOLS + 2


def sample(size: int, generator: torch.Generator) -> Batch:
    """Draw sequences of the copy task."""
    shown = torch.randint(SYMBOLS, (COPIED, size), generator=generator)
    symbols = torch.full((DELAY + 2 * COPIED, size), BLANK)
    target = symbols.clone()
    symbols[:COPIED] = shown
    symbols[COPIED + DELAY - 1] = MARK
    target[-COPIED:] = shown
    return Batch(
        F.one_hot(symbols, INPUTS).float(), target, torch.ones_like(target, dtype=torch.bool)
    )


COPY = Problem(
    name="copy",
    title="Copy memory",
    source="Arjovsky, Shah & Bengio 2016, the copying memory problem, T = 100",
    task="Ten symbols are shown first, and asked for in their order after 100 further steps.",
    criterion=(
        "At least 990 of the 1000 most recent training sequences have no wrong step among their"
        " 120; tested on 2560 sequences. The baseline that remembers nothing has a cross-entropy of"
        " 10·ln 8 / 120 = 0.173. The paper has no criterion but to leave it."
    ),
    nets={
        "RNN": Net(lambda: RNN(INPUTS, 120)),
        "LSTM, chrono": Net(lambda: LSTM(INPUTS, 64, init="chrono", chrono_steps=150)),
        "GRU, chrono": Net(lambda: GRU(INPUTS, 72, init="chrono", chrono_steps=150)),
    },
    outputs=SYMBOLS + 1,
    answer=CLASSES,
    bound=0.5,
    batches=endless(sample, 10),
    test=on_sequences(sample, CLASSES, 0.5),
    budget=150_000,
    learning_rate=8e-3,
    halving=75_000,
    window=1000,
    allowed=10,
    baseline=COPIED * math.log(SYMBOLS) / (DELAY + 2 * COPIED),
)
