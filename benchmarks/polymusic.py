"""Polyphonic music: which of 88 notes sound in the next frame, beside published scores.

    python benchmarks/polymusic.py --data DIR
    python benchmarks/polymusic.py --data DIR --search
    python benchmarks/polymusic.py --data DIR --sets JSB_Chorales --seeds 1

The piano rolls and splits of N. Boulanger-Lewandowski, Y. Bengio, P. Vincent, "Modeling temporal
dependencies in high-dimensional sequences", ICML 2012, as the .mat files of Bai, Kolter & Koltun
(2018) hold them. The score is the negative log-likelihood of a frame in nats: the cross-entropy of
each note, summed over the 88, averaged over the frames of all pieces of a split. Bai et al. begin
with the second frame of a piece, which is the score that published numbers are compared with; the
average over all frames, the first predicted from silence, stands beside it.

After each epoch the validation pieces are scored; the weights of the best epoch are kept, and only
they see the test pieces. The settings were chosen on the validation pieces, too: `--search` trains
with those of `SEARCH`, does not see the test pieces at all, and writes
`results/polymusic_search.md`; the outcome of the test is in `results/polymusic.md`.

Published scores: S. Bai, J. Z. Kolter, V. Koltun, "An empirical evaluation of generic convolutional
and recurrent networks for sequence modeling", arXiv:1803.01271, table 1.
"""

from __future__ import annotations

import copy
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from machine import RESULTS, machine
from options import fit_options
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from table import judged, markdown
from torch import Tensor, nn

from gatewise.nn import LSTM, Stack

NOTES = 88
SPLITS = ("train", "valid", "test")
UNREADABLE = (
    *(AttributeError, IndexError, KeyError, MemoryError, NotImplementedError, OSError),
    *(OverflowError, TypeError, ValueError, MatReadError, zlib.error),
)
"""What loadmat and the cast raise for files that are cut short, damaged, or of another kind."""
TARGETS = {"Nottingham": 3.25, "JSB_Chorales": 8.4}
PUBLISHED = {
    "Nottingham": {"RNN": 4.05, "GRU": 3.46, "LSTM": 3.29, "TCN": 3.07},
    "JSB_Chorales": {"RNN": 8.91, "GRU": 8.43, "LSTM": 8.45, "TCN": 8.10},
}


@dataclass(frozen=True)
class Recipe:
    """Settings of one set of pieces.

    Args:
        hidden_size: H.
        num_layers: L.
        dropout: Of the outputs of every layer.
        input_dropout: Of notes, the same in all frames of a piece.
        recurrent_dropout: Of h on its way into the recurrent product.
        transpose: Each piece is moved by up to so many semitones, drawn anew in each epoch.
        batch_size: Pieces.
        epochs: How many; the learning rate falls to zero over them, as half a cosine.
        learning_rate: Of Adam at the beginning.
        clip: Norm that gradients are clipped to.
    """

    hidden_size: int
    num_layers: int
    dropout: float
    input_dropout: float
    recurrent_dropout: float
    transpose: int
    batch_size: int
    epochs: int
    learning_rate: float
    clip: float = 1.0


RECIPES = {
    "JSB_Chorales": Recipe(320, 1, 0.6, 0.1, 0.5, 0, 4, 100, 2e-3),
    "Nottingham": Recipe(384, 1, 0.25, 0.0, 0.1, 0, 2, 40, 5e-3),
}

SEARCH: list[tuple[str, Recipe]] = [
    ("JSB_Chorales", Recipe(256, 1, 0.5, 0.0, 0.25, 5, 16, 80, 3e-3)),
    ("JSB_Chorales", Recipe(256, 1, 0.3, 0.0, 0.1, 5, 8, 80, 3e-3)),
    ("JSB_Chorales", Recipe(256, 1, 0.5, 0.0, 0.3, 0, 8, 40, 3e-3)),
    ("JSB_Chorales", Recipe(256, 1, 0.45, 0.0, 0.2, 5, 4, 80, 2e-3)),
    ("JSB_Chorales", Recipe(256, 1, 0.6, 0.0, 0.4, 0, 4, 60, 2e-3)),
    ("JSB_Chorales", RECIPES["JSB_Chorales"]),
    ("Nottingham", Recipe(256, 1, 0.2, 0.0, 0.1, 0, 2, 30, 2e-3)),
    ("Nottingham", Recipe(320, 1, 0.1, 0.0, 0.0, 0, 2, 40, 4e-3)),
    ("Nottingham", Recipe(320, 1, 0.3, 0.05, 0.25, 0, 2, 30, 4e-3)),
    ("Nottingham", Recipe(320, 1, 0.2, 0.0, 0.1, 0, 2, 24, 5e-3)),
    ("Nottingham", RECIPES["Nottingham"]),
]
"""What was tried, with seed 0. The best validation score decides."""


class Fitted(NamedTuple):
    """A net with the weights of its best epoch."""

    net: Stack
    epoch: int
    valid: float
    minutes: float


class Outcome(NamedTuple):
    """Scores of one seed; ``all_frames`` counts the first frame of each piece too."""

    seed: int
    valid: float
    test: float
    all_frames: float
    epoch: int
    minutes: float


def main() -> None:
    _, arguments = fit_options(
        __doc__,
        list(RECIPES),
        data="directory that holds polymusic/",
        search="try settings on validation pieces",
    )
    sets = {name: pieces(arguments.data / "polymusic" / f"{name}.mat") for name in arguments.sets}
    if arguments.search:
        search(sets, arguments.threads)
        return
    outcomes: dict[str, list[Outcome]] = {name: [] for name in sets}
    for name, splits in sets.items():
        for seed in range(arguments.seeds):
            outcomes[name].append(measured(splits, RECIPES[name], seed))
            print(f"{name}: {outcomes[name][-1]}", flush=True)
            # After each seed: a run that is stopped keeps what it has measured.
            done = {key: runs for key, runs in outcomes.items() if runs}
            (RESULTS / "polymusic.md").write_text(page(done, arguments.threads))


def pieces(source: Path) -> dict[str, list[Tensor]]:
    """Read the splits of a set, each a list of T×88 rolls."""
    if not source.exists():
        raise SystemExit(
            f"{source}: expected a set of pieces, got no such file."
            " Pass the directory that holds polymusic/."
        )
    try:
        held = loadmat(source)
        rolls = {
            split: [torch.from_numpy(roll.astype(np.float32)) for roll in held[f"{split}data"][0]]
            for split in SPLITS
        }
    except UNREADABLE as fault:
        raise SystemExit(
            f"{source}: expected a MATLAB file with the cells {', '.join(SPLITS)} + data, got one"
            f" that cannot be read ({type(fault).__name__}: {fault}). Fetch it again."
        ) from None
    for split, found in rolls.items():
        if not found or not all(map(is_roll, found)):
            raise SystemExit(
                f"{source}: expected pieces of at least two frames of {NOTES} notes, each 0 or 1,"
                f" got others or none in {split}data. Fetch the file again."
            )
    return rolls


def is_roll(roll: Tensor) -> bool:
    """Whether a roll has frames to score, and all notes are on or off."""
    shaped = roll.ndim == 2 and roll.shape[1] == NOTES and len(roll) > 1
    return shaped and bool(((roll == 0) | (roll == 1)).all())


def padded(rolls: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs and targets, T×B×88, and lengths: each frame from all before it."""
    target = nn.utils.rnn.pad_sequence(list(rolls))
    x = F.pad(target[:-1], (0, 0, 0, 0, 1, 0))  # the first from silence
    return x, target, torch.tensor([len(roll) for roll in rolls])


def frame_losses(net: Stack, rolls: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the loss of each frame, T×B, and where there is one."""
    x, target, lengths = padded(rolls)
    output, _ = net(x, lengths=lengths)
    losses = F.binary_cross_entropy_with_logits(output, target, reduction="none").sum(2)
    return losses, torch.arange(len(x))[:, None] < lengths


def score(net: Stack, rolls: Sequence[Tensor]) -> tuple[float, float]:
    """Return the mean loss of a frame: from the second frame of each piece on, and of all."""
    net.eval()
    later = first = 0.0
    frames = 0
    for start in range(0, len(rolls), 32):
        with torch.no_grad():
            losses, there = frame_losses(net, rolls[start : start + 32])
        first += float(losses[0].sum())
        later += float(losses[1:][there[1:]].double().sum())
        frames += int(there.sum())
    return later / (frames - len(rolls)), (first + later) / frames


def batches(
    rolls: Sequence[Tensor], recipe: Recipe, rng: np.random.Generator
) -> Iterator[list[Tensor]]:
    """Draw an epoch: pieces moved to other keys, those of like length together."""
    moved = [transposed(roll, recipe.transpose, rng) for roll in rolls]
    lengths = np.array([len(roll) for roll in rolls])
    order = np.argsort(lengths * rng.uniform(0.9, 1.1, len(rolls)))
    starts = np.arange(0, len(rolls), recipe.batch_size)
    for start in rng.permutation(starts):
        yield [moved[place] for place in order[start : start + recipe.batch_size]]


def transposed(roll: Tensor, reach: int, rng: np.random.Generator) -> Tensor:
    """Move a piece by up to ``reach`` semitones, less where notes would leave the keyboard."""
    used = roll.any(0).nonzero()
    if reach == 0 or not len(used):
        return roll
    low = max(-reach, -int(used.min()))
    high = min(reach, NOTES - 1 - int(used.max()))
    return roll.roll(int(rng.integers(low, high + 1)), 1)


def fitted(splits: dict[str, list[Tensor]], recipe: Recipe, seed: int) -> Fitted:
    """Train on the training pieces, and keep the weights that do best on the validation pieces."""
    began = time.perf_counter()
    rng = np.random.default_rng(seed)
    best = Fitted(Stack(), 0, float("inf"), 0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = built(recipe)
        optimizer = torch.optim.Adam(net.parameters(), recipe.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs)
        for epoch in range(1, recipe.epochs + 1):
            net.train()
            for rolls in batches(splits["train"], recipe, rng):
                losses, there = frame_losses(net, rolls)
                optimizer.zero_grad()
                losses[there].mean().backward()
                nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
                optimizer.step()
            schedule.step()
            valid, _ = score(net, splits["valid"])
            if valid < best.valid:
                best = Fitted(copy.deepcopy(net), epoch, valid, 0.0)
    return best._replace(minutes=(time.perf_counter() - began) / 60)


def built(recipe: Recipe) -> Stack:
    """Return the net of a recipe."""
    lstm = LSTM(
        NOTES,
        recipe.hidden_size,
        num_layers=recipe.num_layers,
        dropout=recipe.dropout if recipe.num_layers > 1 else 0.0,
        forget_bias=1.0,
        input_dropout=recipe.input_dropout,
        recurrent_dropout=recipe.recurrent_dropout,
    )
    return Stack(lstm, nn.Dropout(recipe.dropout), nn.Linear(recipe.hidden_size, NOTES))


def measured(splits: dict[str, list[Tensor]], recipe: Recipe, seed: int) -> Outcome:
    """Fit and test with one seed."""
    best = fitted(splits, recipe, seed)
    test, all_frames = score(best.net, splits["test"])
    return Outcome(seed, best.valid, test, all_frames, best.epoch, best.minutes)


def search(sets: dict[str, dict[str, list[Tensor]]], threads: int) -> None:
    """Try every line of SEARCH; the test pieces are not looked at."""
    settings = [field.name for field in fields(Recipe)]
    rows: list[list[str]] = []
    for name, recipe in SEARCH:
        if name in sets:
            best = fitted(sets[name], recipe, 0)
            told = [f"{value}" for value in asdict(recipe).values()]
            rows.append([name, *told, f"{best.valid:.3f}", f"{best.epoch}", f"{best.minutes:.1f}"])
            print(*rows[-1], sep="  ", flush=True)
            columns = ["set", *settings, "validation", "best epoch", "minutes"]
            lines = [
                "# Settings for polyphonic music, tried on the validation pieces",
                "",
                f"{machine(threads)}. Seed 0; nats a frame.",
                "",
                markdown(columns, rows),
                "",
            ]
            (RESULTS / "polymusic_search.md").write_text("\n".join(lines))


def page(outcomes: dict[str, list[Outcome]], threads: int) -> str:
    """Return the scores beside published ones, as Markdown."""
    lines = [
        "# Polyphonic music",
        "",
        f"{machine(threads)}.",
        "",
        "Negative log-likelihood of a frame in nats, lower is better; from the second frame of each"
        " piece on, as published scores are, and of all frames. The weights are those of the epoch"
        " that is best on the validation pieces.",
    ]
    for name, runs in outcomes.items():
        rows = [
            [
                f"LSTM, seed {run.seed}",
                f"{run.valid:.3f}",
                judged(run.test, TARGETS[name], at_most=True),
                f"{run.all_frames:.3f}",
                f"{run.epoch}",
                f"{run.minutes:.1f}",
            ]
            for run in runs
        ]
        average = mean(run.test for run in runs)
        rows.append(
            [
                f"mean of {len(runs)}",
                f"{mean(run.valid for run in runs):.3f}",
                judged(average, TARGETS[name], at_most=True),
                f"{mean(run.all_frames for run in runs):.3f}",
                "",
                f"{sum(run.minutes for run in runs):.1f} in all",
            ]
        )
        rows += [
            [f"{net}, published", "", f"{value:.2f}", "", "", ""]
            for net, value in PUBLISHED[name].items()
        ]
        columns = ["net", "validation", "test", "test, all frames", "best epoch", "minutes"]
        settings = ", ".join(f"{key} = {value}" for key, value in asdict(RECIPES[name]).items())
        lines += ["", f"## {name}", "", markdown(columns, rows), "", f"Settings: {settings}."]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
