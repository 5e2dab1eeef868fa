"""Small tables and quick settings that the tests of tasks share."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

QUICK: dict[str, Any] = {
    "horizon": 6,
    "lookback": 24,
    "segment_length": 6,
    "hidden_size": 8,
    "season_length": 12,
    "max_epochs": 2,
    "batch_size": 64,
}
"""Settings of a forecaster that learns next to nothing in a moment."""


def waves(rows: int = 150, series: tuple[str, ...] = ("a", "b"), seed: int = 0) -> pd.DataFrame:
    """A long table of hourly sines of period 12 with noise, one level for each series."""
    rng = np.random.default_rng(seed)
    tables = []
    for k, name in enumerate(series):
        t = np.arange(rows)
        y = 10 * k + np.sin(2 * np.pi * (t + k) / 12) + 0.05 * rng.normal(size=rows)
        ds = pd.date_range("2024-01-01", periods=rows, freq="h")
        tables.append(pd.DataFrame({"unique_id": name, "ds": ds, "y": y}))
    return pd.concat(tables, ignore_index=True)


QUICK_LANGUAGE: dict[str, Any] = {
    "embedding_size": 8,
    "hidden_size": 8,
    "streams": 4,
    "steps": 8,
    "max_epochs": 2,
}
"""Settings of a language model that learns next to nothing in a moment."""


def sentences(count: int = 60, seed: int = 0) -> list[str]:
    """Short sentences of a grammar that a model can learn something of."""
    rng = np.random.default_rng(seed)
    nouns, verbs = ["the cat", "a dog", "Ada"], ["sees", "hears", "likes"]
    return [f"{rng.choice(nouns)} {rng.choice(verbs)} {rng.choice(nouns)} ." for _ in range(count)]


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
    from gatewise.data.text import Span, write_tags

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
