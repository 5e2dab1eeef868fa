"""Tagged sentences and quick settings that the tests of taggers share."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.data.text import Span, write_tags

QUICK_TAGGER: dict[str, Any] = {
    "embedding_size": 8,
    "characters": "cnn",
    "character_size": 4,
    "character_hidden_size": 4,
    "hidden_size": 8,
    "max_epochs": 2,
    "batch_size": 32,
}
"""Settings of a tagger that learns next to nothing in a moment."""

LEARNS: dict[str, Any] = {
    **QUICK_TAGGER,
    "hidden_size": 16,
    "learning_rate": 0.02,
    "max_epochs": 4,
    "batch_size": 8,
    "input_dropout": 0.1,
    "output_dropout": 0.1,
}
"""Settings of a tagger that learns ``tagged_names``."""

Tagging = tuple[list[list[str]], list[list[str]]]


def tagged_names(count: int = 150, seed: int = 0, scheme: str = "BIO") -> Tagging:
    """Sentences with persons behind a title and places behind a preposition, some side by side.

    The names are the same, so that words alone do not tell which is which; every tenth is new.
    """
    rng = np.random.default_rng(seed)
    names = ["Alva", "Brin", "Cole", "Dara", "Egon", "Faro"]
    X, y = [], []
    for _ in range(count):
        tokens: list[str] = []
        spans: list[Span] = []
        for _ in range(int(rng.integers(1, 5))):
            kind = ["", "PER", "LOC"][int(rng.integers(3))]
            if kind == "":
                tokens += [str(rng.choice(["went", "saw", "and", "the", "3", "was"]))]
                continue
            tokens.append({"PER": "Mr", "LOC": "in"}[kind])
            size = int(rng.integers(1, 4))
            spans.append(Span(kind, len(tokens), len(tokens) + size))
            drawn = [str(rng.choice(names)) for _ in range(size)]
            if rng.random() < 0.1:
                drawn[0] = "X" + "".join(rng.choice(list("aeiou"), 4))
            tokens += drawn
        X.append(tokens)
        y.append(write_tags(spans, len(tokens), scheme))
    return X, y


def conll(X: list[list[str]], y: list[list[str]]) -> str:
    """The same as a file of two columns."""
    return "\n".join(
        "".join(f"{token}\t{tag}\n" for token, tag in zip(*each, strict=True))
        for each in zip(X, y, strict=True)
    )


def tagged_file() -> str:
    """A file of ``tagged_names``."""
    place = Path(tempfile.mkdtemp(prefix="gatewise-tests-")) / "names.conll"
    place.write_text(conll(*tagged_names()), encoding="utf-8")
    return str(place)
