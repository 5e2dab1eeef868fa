"""Framewise labelling: a label for each frame that may depend on what comes after it.

After A. Graves, J. Schmidhuber, "Framewise phoneme classification with bidirectional LSTM and other
neural network architectures", Neural Networks 18(5-6), 2005. Its speech may not be redistributed;
this set is generated, and has what makes phonemes hard: a sound lasts some frames, a frame alone
does not tell it, and how it is to be labelled depends on its neighbours.

Five sounds follow each other, each for 4 to 12 frames and never twice in a row. A frame is one-hot
plus noise of deviation 0.7. The label is the sound and one bit: for the sounds 0, 1 and 2 whether
the next sound is one or two steps further in the circle of five (rather than three or four), for 3
and 4 the same of the step from the sound before. Whatever sees the past alone can only guess the
bit of three sounds in five, so 30 % of its frames are wrong on average, or more.

The paper finds that bidirectional nets have fewer wrong frames than unidirectional ones, also than
those that answer some frames later, and LSTM fewer than RNN, with about as many weights each. The
criterion here follows from the set: fewer wrong frames than anything can have that sees the past
alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from nets import Net, Network
from problem import CLASSES, TEST_SEED, Batch, Problem, Score, endless
from torch import Tensor

from gatewise.nn import LSTM, RNN

SOUNDS, SHORTEST, LONGEST = 5, 4, 12
FRAMES = 80
NOISE = 0.7
BLIND = 0.3
"""The share of wrong frames that nothing which sees the past alone goes below on average."""


def sounds(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw sequences of sounds.

    Returns:
        The sound of each frame and its label, FRAMES×B. The sounds before and after the frames that
        are shown count for the labels too.
    """
    segments = FRAMES // SHORTEST + 3
    steps = torch.randint(1, SOUNDS, (segments, size), generator=generator)
    steps[0] = torch.randint(SOUNDS, (size,), generator=generator)  # the first may be any
    sound = steps.cumsum(0) % SOUNDS
    # From a sound to the next, in the circle; that to a sound's own from the one before it.
    near = steps <= SOUNDS // 2
    bit = torch.where(sound[1:-1] <= 2, near[2:], near[1:-1]).long()
    label = 2 * sound[1:-1] + bit
    lasting = torch.randint(SHORTEST, LONGEST + 1, (segments - 2, size), generator=generator)
    ends = lasting.cumsum(0)
    segment = (torch.arange(FRAMES)[:, None, None] >= ends).sum(1)
    return sound[1:-1].gather(0, segment), label.gather(0, segment)


def sample(size: int, generator: torch.Generator) -> Batch:
    """Draw sequences of noisy frames with their labels."""
    sound, label = sounds(size, generator)
    noise = torch.randn(FRAMES, size, SOUNDS, generator=generator)
    x = F.one_hot(sound, SOUNDS) + NOISE * noise
    return Batch(x, label, torch.ones_like(label, dtype=torch.bool))


def test(net: Network, attempt: int) -> Score:
    """Count the wrong frames of 500 sequences."""
    batch = sample(500, torch.Generator().manual_seed(TEST_SEED + attempt))
    with torch.no_grad():
        output, _ = net(batch)
    wrong = float(CLASSES.errors(output, batch.target).mean())
    loss = float(CLASSES.losses(output, batch.target).mean())
    return Score(solved=wrong < BLIND, text=f"{100 * wrong:.1f} % of frames wrong", loss=loss)


FRAMEWISE = Problem(
    name="framewise",
    title="Framewise labelling",
    source="after Graves & Schmidhuber 2005, on a generated set",
    task=(
        "A label for each of 80 noisy frames, which depends on the sound itself and on the one"
        " before or after it."
    ),
    criterion=(
        "Fewer than 30 % of the frames of 500 test sequences wrong, which nothing that sees the"
        " past alone reaches on average; each net trains on 2,000,000 frames. The paper's finding,"
        " on speech: bidirectional nets beat unidirectional ones, with a delay too, and LSTM beats"
        " RNN."
    ),
    nets={
        "RNN": Net(lambda: RNN(SOUNDS, 64)),
        "LSTM": Net(lambda: LSTM(SOUNDS, 32)),
        "LSTM, 5 frames later": Net(lambda: LSTM(SOUNDS, 32), delay=5),
        "BRNN": Net(lambda: RNN(SOUNDS, 43, bidirectional=True)),
        "BLSTM": Net(lambda: LSTM(SOUNDS, 21, bidirectional=True)),
    },
    outputs=2 * SOUNDS,
    answer=CLASSES,
    bound=0.5,
    batches=endless(sample, 32),
    test=test,
    budget=2_000_000,
    halving=600_000,
    window=50_000,
    allowed=None,
    per_step=True,
)
