"""What is known of a token before anything is learned: its word, its casing, its characters.

Words are numbered by the training text, lower-cased and with one digit for all if so asked. What
that loses comes back as features: the casing of the word as written, and its characters one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gatewise.data.text import Vocabulary, ngrams

CASINGS: Final = ("padding", "lower", "upper", "title", "mixed", "digits", "with digits", "other")
"""The casings of words, in the order of their numbers."""

CHARACTERS_AT_EACH_END: Final = 20
"""Of a longer word the characters between its ends are not read: a single address of a web page
would make every other word of its batch as long."""

_DIGIT: Final = re.compile(r"\d")


@dataclass(frozen=True)
class TokenFeatures:
    """How tokens become numbers.

    Args:
        words: The words that are known.
        characters: The characters that are known; None: characters are not read.
        ngrams: The n-grams of words that are known: of two, of three …
        lowercase: Whether words and n-grams are lower-cased first.
        replace_digits: Whether each digit is read as 0.
        casing: Whether the casing of words is read.
    """

    words: Vocabulary
    characters: Vocabulary | None = None
    ngrams: tuple[Vocabulary, ...] = ()
    lowercase: bool = False
    replace_digits: bool = False
    casing: bool = False

    @classmethod
    def learn(
        cls,
        sentences: Sequence[Sequence[str]],
        *,
        lowercase: bool = False,
        replace_digits: bool = False,
        minimum_count: int = 1,
        further_words: Iterable[str] = (),
        characters: bool = False,
        casing: bool = False,
        longest_ngram: int = 1,
        ngram_minimum_count: int = 1,
    ) -> TokenFeatures:
        """Return what a training set has.

        Args:
            sentences: The tokens of each.
            lowercase: Whether words and n-grams are lower-cased.
            replace_digits: Whether each digit is read as 0.
            minimum_count: How often a word must occur to be known, ≥ 1.
            further_words: Words that are known however rare, such as those that have a vector.
            characters: Whether characters are read. One that occurs once is unknown, so that the
                unknown one is learned.
            casing: Whether the casing of words is read.
            longest_ngram: Words of the longest n-gram that is read, ≥ 1; 1: none is.
            ngram_minimum_count: How often an n-gram must occur to be known, ≥ 1.
        """

        def normal(tokens: Iterable[str]) -> list[str]:
            return [
                normal_word(one, lowercase=lowercase, replace_digits=replace_digits)
                for one in tokens
            ]

        words = Vocabulary.build(
            map(normal, sentences), minimum_count=minimum_count, include=normal(further_words)
        )
        known = [
            Vocabulary.build(
                (ngrams(normal(one), n) for one in sentences), minimum_count=ngram_minimum_count
            )
            for n in range(2, longest_ngram + 1)
        ]
        spelled = (
            spelling(one, replace_digits=replace_digits) for each in sentences for one in each
        )
        characters_known = Vocabulary.build(spelled, minimum_count=2) if characters else None
        return cls(words, characters_known, tuple(known), lowercase, replace_digits, casing)

    def word(self, token: str) -> str:
        """Return a token as the vocabulary of words has it."""
        return normal_word(token, lowercase=self.lowercase, replace_digits=self.replace_digits)

    def spelling(self, token: str) -> str:
        """Return the characters of a token that are read."""
        return spelling(token, replace_digits=self.replace_digits)

    def to_dict(self) -> dict[str, Any]:
        """Return all there is to it, as values that JSON can hold."""
        return {
            "words": self.words.to_dict(),
            "characters": None if self.characters is None else self.characters.to_dict(),
            "ngrams": [one.to_dict() for one in self.ngrams],
            "lowercase": self.lowercase,
            "replace_digits": self.replace_digits,
            "casing": self.casing,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TokenFeatures:
        """Return what ``to_dict`` described."""
        characters = values["characters"]
        return cls(
            Vocabulary.from_dict(values["words"]),
            None if characters is None else Vocabulary.from_dict(characters),
            tuple(Vocabulary.from_dict(one) for one in values["ngrams"]),
            bool(values["lowercase"]),
            bool(values["replace_digits"]),
            bool(values["casing"]),
        )


def normal_word(token: str, *, lowercase: bool, replace_digits: bool) -> str:
    """Return a token in lower case and with 0 for each digit, as asked."""
    token = _DIGIT.sub("0", token) if replace_digits else token
    return token.lower() if lowercase else token


def spelling(token: str, *, replace_digits: bool) -> str:
    """Return the characters of a token, in its own case; of a long one those at its ends."""
    token = _DIGIT.sub("0", token) if replace_digits else token
    end = CHARACTERS_AT_EACH_END
    return token if len(token) <= 2 * end else token[:end] + token[-end:]


def casing(token: str) -> int:
    """Return the number of a token's casing in ``CASINGS``."""
    if token.isdigit():
        kind = "digits"
    elif any(one.isdigit() for one in token):
        kind = "with digits"
    elif token.islower():
        kind = "lower"
    elif token.isupper():
        kind = "upper"
    elif token.istitle():
        kind = "title"
    else:
        kind = "mixed" if token.lower() != token else "other"
    return CASINGS.index(kind)
