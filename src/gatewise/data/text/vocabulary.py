"""Vocabularies: tokens and their numbers, made from a training text, saved as JSON.

Of words, characters, subwords, n-grams, labels and tags alike: what must be known beforehand has no
unknown, and a token outside of it is refused by its place.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int, Int32

from gatewise.data.places import listed
from gatewise.errors import InvalidFileError, InvalidStateError, InvalidValueError

PADDING = "<pad>"
UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Vocabulary:
    """V tokens with their numbers 0 … V-1.

    Args:
        tokens: The tokens, each once.
        counts: How often each stood in the training text, or stood for others there.
        unknown: The one that stands for all others; None: there are no others.
        padding: The one that fills up what is short; None: nothing is filled up.
    """

    tokens: tuple[str, ...]
    counts: tuple[int, ...]
    unknown: str | None = UNKNOWN
    padding: str | None = PADDING
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        numbers = {token: number for number, token in enumerate(self.tokens)}
        object.__setattr__(self, "_numbers", numbers)
        special = [one for one in (self.unknown, self.padding) if one is not None]
        if len(numbers) < len(self.tokens) or len(self.counts) != len(self.tokens):
            got = f"{len(self.tokens)} tokens, {len(numbers)} distinct, {len(self.counts)} counts"
            raise InvalidValueError("Vocabulary", "each token once, with a count", got)
        if missing := [token for token in special if token not in numbers]:
            raise InvalidValueError("Vocabulary", "its special tokens in it", f"no {missing[0]!r}")

    @classmethod
    def build(
        cls,
        sequences: Iterable[Iterable[str]],
        *,
        minimum_count: int = 1,
        maximum_size: int | None = None,
        unknown: str | None = UNKNOWN,
        padding: str | None = PADDING,
        include: Sequence[str] = (),
    ) -> Vocabulary:
        """Count tokens, and number them: padding, unknown, ``include``, then the frequent first.

        Tokens that occur equally often are in the order of their code points, so that the same
        text always gives the same numbers.

        Args:
            sequences: The tokens of each text; they are read once, one at a time.
            minimum_count: How often a token must occur, ≥ 1.
            maximum_size: Tokens at most, special ones included; None: any number.
            unknown: The token that stands for all others. It may occur in the text, as in corpora
                that had their rare words replaced.
            padding: The token that fills up what is short.
            include: Tokens that are in it however rare: ends of sentences, the subwords that a
                tokenizer has learned.

        Returns:
            The vocabulary.

        Raises:
            InvalidValueError: There is no token, or the numbers make no sense.
        """
        if minimum_count < 1:
            raise InvalidValueError("minimum_count", "at least 1", str(minimum_count))
        counted: Counter[str] = Counter()
        for sequence in sequences:
            counted.update(sequence)
        if not counted:
            raise InvalidValueError(
                "Vocabulary", "a text with at least one token", "none", "Give a training text."
            )
        special = [one for one in (padding, unknown) if one is not None]
        first = list(dict.fromkeys([*special, *include]))
        rare = len(first)
        if maximum_size is not None and maximum_size < rare + 1:
            raise InvalidValueError("maximum_size", f"at least {rare + 1}", str(maximum_size))
        known = set(first)
        often = (token for token, count in counted.items() if count >= minimum_count)
        rest = sorted(
            (token for token in often if token not in known), key=lambda one: (-counted[one], one)
        )
        tokens = (first + rest)[:maximum_size]
        if unknown is not None:
            counted[unknown] += counted.total() - sum(counted[one] for one in tokens)
        return cls(tuple(tokens), tuple(counted[one] for one in tokens), unknown, padding)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._numbers

    def number(self, token: str) -> int:
        """Return the number of a token, the unknown one's if it is not in the vocabulary.

        Raises:
            InvalidValueError: It is not, and there is no unknown one.
        """
        return int(self.encode([token])[0])

    def encode(
        self, tokens: Sequence[str], place_of: Callable[[int], object] | None = None
    ) -> Int32[np.ndarray, "N"]:
        """Return the numbers of N tokens.

        Args:
            tokens: The tokens.
            place_of: Names the place of a token, counted from 0, in a message.

        Returns:
            Their numbers; that of ``unknown`` for those that are not in the vocabulary.

        Raises:
            InvalidValueError: One is not in it, and there is no unknown one; names the place.
        """
        numbers = self._numbers
        if self.unknown is not None:
            other = numbers[self.unknown]
            found = [numbers.get(token, other) for token in tokens]
        else:
            try:
                found = [numbers[token] for token in tokens]
            except KeyError:
                raise self._unseen(tokens, place_of) from None
        return np.array(found, dtype=np.int32)

    def decode(self, numbers: Int[np.ndarray, "N"] | Sequence[int]) -> list[str]:
        """Return the tokens of N numbers.

        Raises:
            InvalidValueError: A number is not in 0 … V-1.
        """
        wanted = np.asarray(numbers, dtype=np.int64)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            bad = wanted[(wanted < 0) | (wanted >= len(self))][0]
            raise InvalidValueError(
                "Vocabulary", f"numbers of its tokens, 0 to {len(self) - 1}", str(bad),
                "The numbers are those of another vocabulary.",
            )  # fmt: skip
        return [self.tokens[number] for number in wanted.tolist()]

    @property
    def fingerprint(self) -> str:
        """A hash of tokens and order: equal for vocabularies that give the same numbers."""
        content = json.dumps([self.tokens, self.unknown, self.padding])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def require_rows(self, rows: int, where: str) -> None:
        """Raise InvalidStateError unless weights with ``rows`` rows are those of its tokens.

        Args:
            rows: Rows of an embedding, or outputs of a layer.
            where: Whose rows, for the message.
        """
        if rows != len(self):
            raise InvalidStateError(
                where, f"a row for each of the {len(self):,} tokens of its vocabulary",
                f"{rows:,} rows", "Restore vocabulary and weights from the same saved model.",
            )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the vocabulary as values that JSON can hold."""
        return {
            "tokens": list(self.tokens),
            "counts": list(self.counts),
            "unknown": self.unknown,
            "padding": self.padding,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Vocabulary:
        """Return the vocabulary that ``to_dict`` described.

        Args:
            values: The dictionary, as read back from JSON.

        Raises:
            InvalidFileError: It is none, or was changed since.
        """
        fields = {"tokens", "counts", "unknown", "padding", "fingerprint"}
        remedy = "The file is damaged, was edited, or is of another version of gatewise."
        if set(values) != fields:
            got = listed([str(key) for key in values])
            raise InvalidFileError("Vocabulary", listed(sorted(fields)), got, remedy)
        tokens = tuple(str(token) for token in values["tokens"])
        counts = tuple(int(count) for count in values["counts"])
        vocabulary = cls(tokens, counts, values["unknown"], values["padding"])
        if vocabulary.fingerprint != values["fingerprint"]:
            raise InvalidFileError(
                "Vocabulary", f"tokens with the fingerprint {values['fingerprint']}",
                vocabulary.fingerprint, remedy,
            )  # fmt: skip
        return vocabulary

    def _unseen(
        self, tokens: Sequence[str], place_of: Callable[[int], object] | None
    ) -> InvalidValueError:
        position = next(k for k, token in enumerate(tokens) if token not in self._numbers)
        token = tokens[position]
        near = difflib.get_close_matches(token, self.tokens, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        return InvalidValueError(
            f"{token!r}" if place_of is None else str(place_of(position)),
            f"one of {listed(self.tokens)}", repr(token),
            f"{hint}Only what the training set holds is known.",
        )  # fmt: skip
