"""How good tags are where they are no spans: accuracy, and precision, recall and F1 of each tag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gatewise.errors import InvalidValueError
from gatewise.tasks.tagging.span_scores import SpanScores, precision_recall_f1


class TagScores:
    """Counts of tokens by tag, added to sentence by sentence."""

    def __init__(self) -> None:
        self._there: Counter[str] = Counter()
        self._said: Counter[str] = Counter()
        self._found: Counter[str] = Counter()

    def add(self, truth: Sequence[str], said: Sequence[str]) -> None:
        """Add a sentence.

        Args:
            truth: The true tag of each token.
            said: The tag that was predicted for each.

        Raises:
            InvalidValueError: They differ in number.
        """
        if len(truth) != len(said):
            raise InvalidValueError("tags", f"{len(truth)}, one a token", str(len(said)))
        self._there.update(truth)
        self._said.update(said)
        self._found.update(a for a, b in zip(truth, said, strict=True) if a == b)

    def scores(self) -> dict[str, float]:
        """Return the accuracy, and the mean F1 over the tags that occur in truth."""
        by_tag = [row["f1"] for row in self.by_label().values() if row["support"]]
        tokens = self._there.total()
        return {
            "accuracy": self._found.total() / tokens if tokens else 0.0,
            "macro_f1": sum(by_tag) / len(by_tag) if by_tag else 0.0,
        }

    def by_label(self) -> dict[str, dict[str, float]]:
        """Return precision, recall and F1 of each tag, and its ``support``: tokens in truth."""
        return {
            tag: {
                **precision_recall_f1(self._there[tag], self._said[tag], self._found[tag]),
                "support": float(self._there[tag]),
            }
            for tag in sorted(self._there.keys() | self._said.keys())
        }


def new_scores(*, spans: bool) -> SpanScores | TagScores:
    """Return what counts spans, or single tags."""
    return SpanScores() if spans else TagScores()
