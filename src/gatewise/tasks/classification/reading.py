"""From texts to the numbers that a classifier reads: tokens, and the n-grams that begin there."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from gatewise.data.text import (
    Subwords,
    Text,
    Tokenizer,
    Vocabulary,
    ngrams,
    pad,
    tokenizer_from_dict,
)
from gatewise.errors import InvalidValueError
from gatewise.tasks.classification.fields import TextClassifierFields
from gatewise.tasks.classification.parts import TokenParts


@dataclass(frozen=True)
class TextReader:
    """How texts become numbers.

    Args:
        tokenizer: Parts them.
        vocabulary: Of the tokens, V.
        ngrams: Vocabularies of bigrams, of trigrams and so on; unknown ones have the number 0.
        longest: Tokens of a text that are read, its first; None for all.
        parts: Of tokens, as n-grams of their characters; None where they are not read.
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    ngrams: tuple[Vocabulary, ...]
    longest: int | None
    parts: TokenParts | None = None

    @classmethod
    def fit(
        cls,
        fields: TextClassifierFields,
        texts: Sequence[Text],
        known: tuple[Tokenizer, Vocabulary] | None = None,
    ) -> TextReader:
        """Return a reader that knows the tokens and n-grams of a training set.

        Args:
            fields: How texts are parted, and what is known.
            texts: The training set.
            known: Tokenizer and vocabulary of a saved model to start from; then only the n-grams
                are learned.
        """
        if known is None:
            tokenizer = fields.fit_tokenizer(text.text for text in texts)
            learned = tokenizer.tokens if isinstance(tokenizer, Subwords) else ()
            vocabulary = Vocabulary.build(
                (tokenizer.split(text.text) for text in texts),
                minimum_count=fields.minimum_count,
                maximum_size=None if learned else fields.vocabulary_size,
                include=learned,
            )
        else:
            tokenizer, vocabulary = known
        if fields.ngrams == 1 and not fields.token_parts:
            return cls(tokenizer, vocabulary, (), fields.longest)
        parted = [tokens[: fields.longest] for tokens in map(tokenizer.split, _words(texts))]
        grams = tuple(
            Vocabulary.build(
                (ngrams(tokens, n, tokenizer.glue) for tokens in parted),
                minimum_count=fields.ngram_count,
                maximum_size=fields.ngram_size,
                padding=None,
            )
            for n in range(2, fields.ngrams + 1)
        )
        parts = None
        if fields.token_parts:
            every = (token for tokens in parted for token in tokens)
            parts = TokenParts.fit(fields.token_parts, every, fields.ngram_count, fields.ngram_size)
        return cls(tokenizer, vocabulary, grams, fields.longest, parts)

    def split(self, texts: Sequence[Text]) -> list[list[str]]:
        """Return the tokens of each text, no more than ``longest``, with a warning if it has more.

        Texts without a token are warned of, too.
        """
        parted = [self.tokenizer.split(text.text) for text in texts]
        if self.longest is not None:
            long = [k for k, tokens in enumerate(parted) if len(tokens) > self.longest]
            if long:
                warnings.warn(
                    f"{len(long)} text(s) longer than {self.longest:,} tokens; of each only these"
                    f" are read. The first: {texts[long[0]].place}, {len(parted[long[0]]):,}"
                    " tokens. Raise longest to read more.",
                    stacklevel=2,
                )
            parted = [tokens[: self.longest] for tokens in parted]
        empty = [k for k, tokens in enumerate(parted) if not tokens]
        if empty:
            warnings.warn(
                f"{len(empty)} text(s) without a token; the classifier can only guess. The first:"
                f" {texts[empty[0]].place}.",
                stacklevel=2,
            )
        return parted

    def numbers(self, texts: Sequence[Text]) -> NumberedTexts:
        """Return the numbers of texts.

        Raises:
            InvalidValueError: A token is unknown, and the vocabulary has none for unknown ones.
        """
        rows, split = [], self.split(texts)
        for text, tokens in zip(texts, split, strict=True):
            grams = [
                vocabulary.encode(ngrams(tokens, n, self.tokenizer.glue))
                for n, vocabulary in enumerate(self.ngrams, start=2)
            ]
            if tokens:
                own = self.vocabulary.encode(tokens, lambda _, at=text.place: at)
                rows.append(np.stack([own, *grams]))
            else:
                rows.append(self._nothing())
        parts = None
        if self.parts is not None:
            # A text without a token has one empty one.
            parts = self.parts.numbers([tokens or [""] for tokens in split])
        return NumberedTexts(tuple(texts), rows, parts)

    def _nothing(self) -> Int32[np.ndarray, "K 1"]:
        """What stands for a text without a token, since a network must read something."""
        special = self.vocabulary.unknown or self.vocabulary.padding or self.vocabulary.tokens[0]
        first = self.vocabulary.number(special)
        return np.array([[first], *([0] for _ in self.ngrams)], dtype=np.int32)

    def to_dict(self) -> dict[str, Any]:
        """Return all there is to it, as values that JSON can hold."""
        return {
            "tokenizer": self.tokenizer.to_dict(),
            "vocabulary": self.vocabulary.to_dict(),
            "ngrams": [vocabulary.to_dict() for vocabulary in self.ngrams],
            "longest": self.longest,
            "parts": None if self.parts is None else self.parts.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TextReader:
        """Return the reader that ``to_dict`` described.

        Raises:
            InvalidFileError: It is none that this version wrote, or was changed since.
        """
        return cls(
            tokenizer_from_dict(values["tokenizer"]),
            Vocabulary.from_dict(values["vocabulary"]),
            tuple(Vocabulary.from_dict(one) for one in values["ngrams"]),
            values["longest"],
            None if values["parts"] is None else TokenParts.from_dict(values["parts"]),
        )


@dataclass(frozen=True)
class NumberedTexts:
    """N texts as numbers.

    Args:
        texts: The texts.
        rows: For each its tokens, and in rows below the n-grams that begin there; at least one
            token.
        parts: For each the parts of its tokens, N×T, 0 behind the last; None where none are read.
    """

    texts: tuple[Text, ...]
    rows: list[Int32[np.ndarray, "_ _"]]
    parts: list[Int32[np.ndarray, "_ _"]] | None = None

    @property
    def lengths(self) -> Int64[np.ndarray, "N"]:
        """Tokens of each text."""
        return np.array([row.shape[1] for row in self.rows], dtype=np.int64)

    def batch(self, indices: Int64[np.ndarray, "n"], device: torch.device) -> dict[str, Tensor]:
        """Return the arguments of a network for some texts."""
        chosen = [self.rows[k] for k in indices]
        layers = [pad([row[k] for row in chosen], 0) for k in range(len(chosen[0]))]
        inputs = {"tokens": layers[0][0], "lengths": layers[0][1]}
        if len(layers) > 1:
            inputs["ngrams"] = torch.stack([numbers for numbers, _ in layers[1:]])
        if self.parts is not None:
            inputs["parts"] = _side_by_side([self.parts[k] for k in indices])
        return {name: tensor.to(device) for name, tensor in inputs.items()}


def require_words(texts: Iterable[Text]) -> None:
    """Raise InvalidValueError at the first text of nothing but white space: none to learn from."""
    for text in texts:
        if not text.text.strip():
            raise InvalidValueError(
                str(text.place), "a text", "a blank", "Leave it out of the training set."
            )


def _side_by_side(parts: Sequence[Int32[np.ndarray, "_ _"]]) -> Int64[Tensor, "N T B"]:
    """The parts of the tokens of B texts, filled up with 0; N ≥ 1."""
    most, steps = np.max([own.shape for own in parts], axis=0)
    numbers = torch.zeros(max(most, 1), steps, len(parts), dtype=torch.int64)
    for column, own in enumerate(parts):
        numbers[: own.shape[0], : own.shape[1], column] = torch.from_numpy(own)
    return numbers


def _words(texts: Iterable[Text]) -> Iterable[str]:
    return (text.text for text in texts)
