"""What needs no network: the most frequent tag, and the most frequent tag of each word."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatewise.data.text import Tagged


@dataclass(frozen=True)
class TagBaselines:
    """What a training set tells by counting; of tags that occur equally often the first by name.

    Args:
        tag: The most frequent tag.
        of_word: The most frequent tag of each word, as it is written.
    """

    tag: str
    of_word: dict[str, str]

    @classmethod
    def learn(cls, sentences: Sequence[Tagged]) -> TagBaselines:
        """Count the tags of sentences."""
        by_word: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for one in sentences:
            for token, tag in zip(one.tokens, one.tags, strict=True):
                by_word[token][tag] += 1
        everywhere: Counter[str] = sum(by_word.values(), Counter())
        return cls(_first(everywhere), {word: _first(tags) for word, tags in by_word.items()})

    def predict(self, tokens: Sequence[str]) -> dict[str, list[str]]:
        """Return the tags that each baseline gives to tokens, by its name."""
        return {
            "most_frequent_tag": [self.tag] * len(tokens),
            "most_frequent_tag_of_word": [self.of_word.get(one, self.tag) for one in tokens],
        }

    def to_dict(self) -> dict[str, Any]:
        """Return all there is to it, as values that JSON can hold."""
        return {"tag": self.tag, "of_word": self.of_word}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TagBaselines:
        """Return what ``to_dict`` described."""
        return cls(values["tag"], dict(values["of_word"]))


def _first(tags: Counter[str]) -> str:
    return min(tags, key=lambda tag: (-tags[tag], tag))
