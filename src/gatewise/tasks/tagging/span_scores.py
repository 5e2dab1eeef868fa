"""How good tagged spans are: precision, recall and F1 as conlleval counts them, and accuracy.

A span counts as found if its label and both its ends are those of the truth: Tjong Kim Sang &
Buchholz, CoNLL-2000. ``precision`` is found / said, ``recall`` found / there, ``f1`` their harmonic
mean, each 0 where it has nothing to divide by; ``accuracy`` is the share of tokens with the true
tag. Scores are 0 to 1, where conlleval prints per cent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gatewise.data.text import read_spans
from gatewise.errors import InvalidValueError


class SpanScores:
    """Counts of spans and tokens, added to sentence by sentence."""

    def __init__(self) -> None:
        self._there: Counter[str] = Counter()
        self._said: Counter[str] = Counter()
        self._found: Counter[str] = Counter()
        self.tokens = 0
        self.right_tokens = 0

    def add(self, truth: Sequence[str], said: Sequence[str]) -> None:
        """Add a sentence.

        Args:
            truth: The true tag of each token, in any scheme.
            said: The tag that was predicted for each; it may break the scheme, and is then read
                as conlleval reads it.

        Raises:
            InvalidValueError: They differ in number, or a tag is none of a span.
        """
        if len(truth) != len(said):
            raise InvalidValueError("tags", f"{len(truth)}, one a token", str(len(said)))
        there, guessed = set(read_spans(truth)), set(read_spans(said))
        self._there.update(span.label for span in there)
        self._said.update(span.label for span in guessed)
        self._found.update(span.label for span in there & guessed)
        self.tokens += len(truth)
        self.right_tokens += sum(a == b for a, b in zip(truth, said, strict=True))

    def scores(self) -> dict[str, float]:
        """Return precision, recall and F1 over all spans, and accuracy over all tokens."""
        there, said, found = (
            sum(counts.values()) for counts in (self._there, self._said, self._found)
        )
        accuracy = self.right_tokens / self.tokens if self.tokens else 0.0
        return {**precision_recall_f1(there, said, found), "accuracy": accuracy}

    def by_label(self) -> dict[str, dict[str, float]]:
        """Return precision, recall and F1 of each label, and its ``support``: spans in truth."""
        labels = sorted(self._there.keys() | self._said.keys())
        return {
            label: {
                **precision_recall_f1(self._there[label], self._said[label], self._found[label]),
                "support": float(self._there[label]),
            }
            for label in labels
        }


def precision_recall_f1(there: int, said: int, found: int) -> dict[str, float]:
    """Return the three scores; each is 0 where it has nothing to divide by.

    Args:
        there: How many there are in truth.
        said: How many were predicted.
        found: How many of both are the same.
    """
    precision = found / said if said else 0.0
    recall = found / there if there else 0.0
    both = precision + recall
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / both if both else 0.0,
    }
