"""How long an epoch of a language model takes, beside the same network in plain torch.

    python benchmarks/language_speed.py --data DIR             ten minutes
    python benchmarks/language_speed.py --data DIR --write     also into results/language_speed_*.md

The small model of W. Zaremba, I. Sutskever, O. Vinyals, "Recurrent neural network regularization"
(2014) on the Penn Treebank: two LSTMs of 200 units, 10,000 words, 20 streams, 20 steps, stochastic
gradient descent, gradients clipped. Ours is a whole fit of `gatewise.LanguageModel`; torch's is the
plain script that one writes: embedding, nn.LSTM, nn.Linear, cross_entropy, backward, clipping and
step. Both learn the same lines, without validation; the lines are a part of the corpus, and an
epoch is what the whole would take by its tokens. Turn by turn, in float32 and in bfloat16: ours
with `precision="bf16-mixed"`, torch's with products in bfloat16 (`set_float32_matmul_precision`)
and with autocast, of which the faster counts.
"""

from __future__ import annotations

import argparse
import gzip
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from machine import machine, page
from table import judged, markdown
from torch import Tensor, nn

from gatewise.data.text import Vocabulary
from gatewise.tasks import LanguageModel

EPOCH = 929_589
TARGETS = {"float32": 2.5, "bfloat16": 1.5}
STREAMS, STEPS, UNITS = 20, 20, 200
RECIPE = {
    "tokens": "spaces",
    "embedding_size": UNITS,
    "hidden_size": UNITS,
    "tied": False,
    "init_range": 0.1,
    "input_dropout": 0.0,
    "hidden_dropout": 0.0,
    "output_dropout": 0.0,
    "streams": STREAMS,
    "steps": STEPS,
    "optimizer": "sgd",
    "momentum": 0.0,
    "learning_rate": 20.0,
    "gradient_clip": 0.25,
    "schedule": "constant",
    "max_epochs": 1,
}


class Plain(nn.Module):
    """The network as it is written in torch."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, UNITS)
        self.lstm = nn.LSTM(UNITS, UNITS, 2)
        self.output = nn.Linear(UNITS, words)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def forward(
        self, tokens: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return logits, and the state after the last step."""
        y, state = self.lstm(self.embedding(tokens), state)
        return self.output(y), state


def plain_epoch(tokens: Tensor, words: int, *, autocast: bool) -> float:
    """Return the seconds of an epoch of the plain script."""
    torch.manual_seed(0)
    network = Plain(words)
    optimizer = torch.optim.SGD(network.parameters(), lr=20.0)
    usable = (len(tokens) - 1) // STREAMS * STREAMS
    inputs = tokens[:usable].view(STREAMS, -1).t().contiguous()
    targets = tokens[1 : usable + 1].view(STREAMS, -1).t().contiguous()
    state = None
    begun = time.perf_counter()
    for start in range(0, len(inputs), STEPS):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits, state = network(inputs[start : start + STEPS], state)
            loss = F.cross_entropy(logits.flatten(0, 1), targets[start : start + STEPS].flatten())
        state = (state[0].detach(), state[1].detach())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.25)
        optimizer.step()
    return time.perf_counter() - begun


def our_epoch(lines: list[str], extra: list[str], precision: str) -> float:
    """Return the seconds of an epoch of a fit; ``extra`` adds the words of the whole corpus."""
    model = LanguageModel(**RECIPE, precision=precision)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(lines + extra, validation=lines[:2], progress=False)
    return model.history_[0].seconds


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of ptb.train.txt.gz")
    parser.add_argument("--lines", type=int, default=3000, help="of the corpus that are learned")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with gzip.open(options.data / "ptb.train.txt.gz", "rt", encoding="utf-8") as file:
        corpus = [line.strip() for line in file]
    lines = corpus[: options.lines]
    words = sorted({word for line in corpus for word in line.split()})
    known = {word for line in lines for word in line.split()}
    extra = [" ".join(word for word in words if word not in known)]
    learned = lines + extra
    vocabulary = Vocabulary.build(
        [[*line.split(), "<eos>"] for line in learned], padding=None, include=["<eos>"]
    )
    rows = [vocabulary.encode([*line.split(), "<eos>"]) for line in learned]
    tokens = torch.cat([torch.from_numpy(row).long() for row in rows])

    def by_products() -> float:
        torch.set_float32_matmul_precision("medium")
        try:
            return plain_epoch(tokens, len(vocabulary), autocast=False)
        finally:
            torch.set_float32_matmul_precision("highest")

    turns: dict[str, Callable[[], float]] = {
        "torch": lambda: plain_epoch(tokens, len(vocabulary), autocast=False),
        "gatewise": lambda: our_epoch(lines, extra, "32-true"),
        "torch, bfloat16 products": by_products,
        "torch, autocast": lambda: plain_epoch(tokens, len(vocabulary), autocast=True),
        "gatewise, bf16-mixed": lambda: our_epoch(lines, extra, "bf16-mixed"),
    }
    samples: dict[str, list[float]] = {name: [] for name in turns}
    for turn in range(options.rounds + 1):
        for name in sorted(turns, reverse=turn % 2 == 1):
            seconds = turns[name]()
            if turn:  # the first warms up
                samples[name].append(seconds)
    scale = EPOCH / len(tokens)
    epoch = {name: scale * median(values) for name, values in samples.items()}
    best = min(epoch["torch, bfloat16 products"], epoch["torch, autocast"])
    times = {name: f"{epoch['torch'] / seconds:.2f}" for name, seconds in epoch.items()}
    times["gatewise"] = judged(epoch["torch"] / epoch["gatewise"], TARGETS["float32"])
    mixed = judged(best / epoch["gatewise, bf16-mixed"], TARGETS["bfloat16"])
    table = markdown(
        ["", "seconds an epoch", "times torch's defaults", "times its best in bfloat16"],
        [
            [name, f"{epoch[name]:.1f}", times[name], mixed if name.endswith("mixed") else ""]
            for name in turns
        ],
    )
    text = (
        "# A language model's epoch\n\nTraining of Zaremba's small model (2 x 200 units, 10,000 "
        f"words) on {len(tokens):,} tokens of the Penn Treebank, scaled to all {EPOCH:,}; medians "
        f"of {options.rounds} turns, `benchmarks/language_speed.py`. "
        f"{machine(options.threads)}.\n\n{table}\n"
    )
    print(text)
    if options.write:
        page("language_speed", options.threads).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
