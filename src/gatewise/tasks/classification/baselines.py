"""What a classifier must beat: the frequency of the classes, and naive Bayes on words and bigrams.

The naive Bayes is multinomial, with the n-grams of a text counted once however often they stand in
it, which is the better one for sentiment (Wang & Manning 2012). N-grams are numbered by a hash, so
that a saved model need not hold them; what is kept is how many texts of each class have which.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from gatewise.data.text import ngrams

_MOST_BUCKETS: Final = 2**18
_MOST_COUNTS: Final = 2**24
"""Of buckets times classes: with many classes there are fewer buckets."""

SMOOTHING: Final = 1.0
"""Texts that each class is taken to have with each n-gram beside those counted (Laplace)."""


@dataclass(frozen=True)
class Baselines:
    """Classifiers that need no training but counting.

    Args:
        counts: Texts of each class that have an n-gram of each bucket; the last row: of all texts.
        texts: Texts of each class.
        total: Texts in all.
        multi_label: Whether a text may have several labels.
    """

    counts: Int64[np.ndarray, "C1 K"]
    texts: Int64[np.ndarray, "C"]
    total: int
    multi_label: bool

    @classmethod
    def fit(
        cls, tokens: Sequence[Sequence[str]], truth: Bool[np.ndarray, "N C"], *, multi_label: bool
    ) -> Baselines:
        """Count.

        Args:
            tokens: Of each of N texts of the training set.
            truth: Which classes it has.
            multi_label: Whether a text may have several labels.
        """
        classes = truth.shape[1]
        buckets = _MOST_BUCKETS
        while buckets * (classes + 1) > _MOST_COUNTS and buckets > 1024:
            buckets //= 2
        counts = np.zeros((classes + 1, buckets), dtype=np.int64)
        for row, words in zip(truth, tokens, strict=True):
            found = _found(words, buckets)
            counts[np.ix_(np.append(np.flatnonzero(row), classes), found)] += 1
        return cls(counts, truth.sum(0), len(truth), multi_label)

    def predictions(self, tokens: Sequence[Sequence[str]]) -> dict[str, Float[np.ndarray, "N C"]]:
        """Return the probabilities of each baseline for N texts."""
        frequency = np.tile(self.texts / self.total, (len(tokens), 1))
        return {"majority": frequency, "naive_bayes": self._naive_bayes(tokens)}

    def _naive_bayes(self, tokens: Sequence[Sequence[str]]) -> Float[np.ndarray, "N C"]:
        has, every = self.counts[:-1], self.counts[-1:]
        with_label, prior = _log_shares(has), np.log(self.texts / self.total)
        if self.multi_label:
            # Each label by itself: texts that have it against those that do not.
            with_label -= _log_shares(every - has)
            prior = np.log((self.texts + SMOOTHING) / (self.total - self.texts + SMOOTHING))
        buckets = has.shape[1]
        odds = np.stack([prior + with_label[:, _found(words, buckets)].sum(1) for words in tokens])
        logits = torch.from_numpy(odds)
        return (logits.sigmoid() if self.multi_label else logits.softmax(1)).numpy()

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the counts as tensors, those that are not zero with their places."""
        places = np.flatnonzero(self.counts)
        return {
            "places": torch.from_numpy(places.astype(np.int32)),
            "counts": torch.from_numpy(self.counts.ravel()[places].astype(np.int32)),
            "texts": torch.from_numpy(self.texts),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the rest, as values that JSON can hold."""
        return {
            "buckets": self.counts.shape[1],
            "total": self.total,
            "multi_label": self.multi_label,
        }

    @classmethod
    def from_saved(cls, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Baselines:
        """Return what ``to_dict`` and ``to_tensors`` described."""
        texts = tensors["texts"].numpy()
        counts = np.zeros((len(texts) + 1) * int(values["buckets"]), dtype=np.int64)
        counts[tensors["places"].numpy()] = tensors["counts"].numpy()
        table = counts.reshape(len(texts) + 1, -1)
        return cls(table, texts, int(values["total"]), bool(values["multi_label"]))


def _log_shares(counts: Int64[np.ndarray, "C K"]) -> Float[np.ndarray, "C K"]:
    smoothed = counts + SMOOTHING
    return np.log(smoothed / smoothed.sum(1, keepdims=True))


def _found(tokens: Sequence[str], buckets: int) -> Int64[np.ndarray, "n"]:
    """The buckets of the words and bigrams of a text, each once."""
    words = {*tokens, *ngrams(tokens, 2, "\n")}
    return np.array(sorted({zlib.crc32(one.encode()) % buckets for one in words}), dtype=np.int64)
