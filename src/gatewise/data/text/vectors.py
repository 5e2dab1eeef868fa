"""Word vectors: whose they are, which tokens of a vocabulary they know, and how to train them.

``vector_files`` reads those that others have trained. gensim, which trains, is an extra.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from gatewise.data.places import listed
from gatewise.data.text.vocabulary import Vocabulary
from gatewise.errors import InvalidStateError, InvalidTypeError, InvalidValueError


@dataclass(frozen=True, eq=False)
class WordVectors:
    """N words with a vector each.

    Args:
        words: The words, each once.
        matrix: Their vectors, N x E.
    """

    words: tuple[str, ...]
    matrix: Float32[np.ndarray, "N E"]

    def rows_for(
        self, vocabulary: Vocabulary, *, lowercase: bool = True
    ) -> tuple[Float32[np.ndarray, "V E"], VectorReport]:
        """Return a row for each token of a vocabulary, and which were found.

        Args:
            vocabulary: Of V tokens.
            lowercase: Whether a token without a vector gets that of its lower case.

        Returns:
            The rows, zeros for tokens without a vector; what was found.
        """
        at = {word: number for number, word in enumerate(self.words)}
        exact = np.array([at.get(token, -1) for token in vocabulary.tokens], dtype=np.int64)
        lower = [at.get(token.lower(), -1) if lowercase else -1 for token in vocabulary.tokens]
        chosen = np.where(exact >= 0, exact, lower)
        found = chosen >= 0
        rows = np.zeros((len(vocabulary), self.matrix.shape[1]), dtype=np.float32)
        rows[found] = self.matrix[chosen[found]]
        return rows, VectorReport(vocabulary, found, int((found & (exact < 0)).sum()))


@dataclass(frozen=True, eq=False)
class VectorReport:
    """Which tokens of a vocabulary have a vector; ``str`` of it is a sentence.

    Args:
        vocabulary: Of V tokens.
        found: Which have one, V.
        by_lowercase: How many of them only by their lower case.
    """

    vocabulary: Vocabulary
    found: Bool[np.ndarray, "V"]
    by_lowercase: int

    @property
    def missing(self) -> tuple[str, ...]:
        """The tokens without a vector, special ones left out, in the vocabulary's order."""
        special = (self.vocabulary.unknown, self.vocabulary.padding)
        pairs = zip(self.vocabulary.tokens, self.found.tolist(), strict=True)
        return tuple(token for token, found in pairs if not found and token not in special)

    @property
    def covered(self) -> float:
        """Share of the training text whose tokens have a vector, 0 to 1."""
        counts = np.array(self.vocabulary.counts)
        return float(counts[self.found].sum() / max(counts.sum(), 1))

    def __str__(self) -> str:
        text = f"{int(self.found.sum()):,} of {len(self.found):,} tokens have a vector"
        text += f", {self.by_lowercase:,} of them by their lower case" if self.by_lowercase else ""
        text += f"; they are {self.covered:.1%} of the training text."
        missing = self.missing
        return f"{text} Without: {listed(missing)}." if missing else text


def train_vectors(
    sentences: Iterable[Sequence[str]],
    size: int = 100,
    *,
    window: int = 5,
    minimum_count: int = 2,
    epochs: int = 5,
    skip_gram: bool = True,
    seed: int = 0,
) -> WordVectors:
    """Train word2vec (Mikolov et al. 2013) on sentences of one's own, with gensim.

    Args:
        sentences: The tokens of each; read ``epochs`` + 1 times, one at a time.
        size: Numbers of a vector, E ≥ 1.
        window: Words to either side that are predicted, ≥ 1.
        minimum_count: How often a word must occur, ≥ 1.
        epochs: Passes over the text, ≥ 1.
        skip_gram: Predict the neighbours by the word; else the word by its neighbours.
        seed: Of the initial vectors and all draws; one thread, so that it repeats.

    Returns:
        The words and vectors, the frequent first.

    Raises:
        InvalidTypeError: ``sentences`` can be read only once.
        InvalidValueError: No word occurs often enough, or a number is less than 1.
        InvalidStateError: gensim is not installed.
    """
    for name, value in (
        ("size", size), ("window", window), ("minimum_count", minimum_count), ("epochs", epochs),
    ):  # fmt: skip
        if value < 1:
            raise InvalidValueError(name, "at least 1", str(value))
    if iter(sentences) is sentences:
        raise InvalidTypeError(
            "sentences", "a list, or what can be read several times", "an iterator"
        )
    models = require_gensim("train_vectors")
    model = models.Word2Vec(
        vector_size=size, window=window, min_count=minimum_count, sg=int(skip_gram),
        seed=seed, workers=1, epochs=epochs,
    )  # fmt: skip
    model.build_vocab(sentences)
    if not len(model.wv):
        raise InvalidValueError(
            "sentences", f"a word that occurs {minimum_count} times", "none",
            "Give more text, or lower minimum_count.",
        )  # fmt: skip
    model.train(sentences, total_examples=model.corpus_count, epochs=epochs)
    return WordVectors(tuple(model.wv.index_to_key), model.wv.vectors.astype(np.float32))


def require_gensim(where: str) -> Any:
    """Return gensim's models, or raise InvalidStateError if it is not installed."""
    try:
        from gensim import models
    except ImportError as error:
        raise InvalidStateError(
            where, "the package gensim", "none", "Run pip install 'gatewise[vectors]'."
        ) from error
    return models
