"""Tokens by their parts: the n-grams of their characters, a start and an end marked.

A token that the training set has not is read from what it shares with those that it has: a stem,
an ending, digits, a capital at the beginning.

Source:
    P. Bojanowski et al., "Enriching word vectors with subword information", TACL 2017,
    arXiv:1607.04606. Here parts are listed instead of hashed: two never share a vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Int32

from gatewise.data.text import Vocabulary

START: Final = "\N{START OF TEXT}"
END: Final = "\N{END OF TEXT}"
"""Before and behind a token. What stands in a text is none of them."""

CHARACTERS_AT_EACH_END: Final = 20
"""Of a longer token the characters between its ends are not read: a single address of a web page
would make every other token of its batch as wide."""


@dataclass(frozen=True)
class TokenParts:
    """The parts that are known.

    Args:
        lengths: Of the n-grams, in characters, marks included.
        vocabulary: Of the n-grams of all these lengths; unknown ones have the number 0.
    """

    lengths: tuple[int, ...]
    vocabulary: Vocabulary

    @classmethod
    def fit(
        cls,
        lengths: Sequence[int],
        tokens: Iterable[str],
        minimum_count: int,
        maximum_size: int | None,
    ) -> TokenParts:
        """Learn the parts of the tokens of a training set.

        Args:
            lengths: Of the n-grams.
            tokens: Each as often as it occurs.
            minimum_count: How often a part must occur to be known.
            maximum_size: Parts known at most; None: any number.
        """
        parted = (parts(token, lengths) for token in tokens)
        return cls(
            tuple(lengths),
            Vocabulary.build(
                parted, minimum_count=minimum_count, maximum_size=maximum_size, padding=None
            ),
        )

    def numbers(self, texts: Sequence[Sequence[str]]) -> list[Int32[np.ndarray, "N T"]]:
        """Return the numbers of the parts of each of T tokens of each text.

        Args:
            texts: The tokens of each, at least one.

        Returns:
            For each text those that are known, and 0 behind the last.
        """
        found = {}
        for token in set().union(*texts):
            own = self.vocabulary.encode(parts(token, self.lengths))
            found[token] = own[own > 0]
        return [_side_by_side([found[token] for token in tokens]) for tokens in texts]

    def to_dict(self) -> dict[str, Any]:
        """Return all there is to it, as values that JSON can hold."""
        return {"lengths": list(self.lengths), "vocabulary": self.vocabulary.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TokenParts:
        """Return what ``to_dict`` described."""
        return cls(tuple(values["lengths"]), Vocabulary.from_dict(values["vocabulary"]))


def parts(token: str, lengths: Iterable[int]) -> list[str]:
    """Return the n-grams of a token's characters between a mark before and one behind it.

    Args:
        token: Of a long one, the characters at its ends are read.
        lengths: Of the n-grams.

    Example:
        >>> [part.strip(START + END) for part in parts("where", [3])]
        ['wh', 'whe', 'her', 'ere', 're']
    """
    end = CHARACTERS_AT_EACH_END
    read = token if len(token) <= 2 * end else token[:end] + token[-end:]
    marked = f"{START}{read}{END}"
    return [marked[k : k + n] for n in lengths for k in range(len(marked) - n + 1)]


def _side_by_side(columns: Sequence[Int32[np.ndarray, "_"]]) -> Int32[np.ndarray, "N T"]:
    numbers = np.zeros((max(map(len, columns)), len(columns)), dtype=np.int32)
    for place, column in enumerate(columns):
        numbers[: len(column), place] = column
    return numbers
