"""Sentences as numbers, ready for batches; those that are too long in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from gatewise.data.text import Tagged, ngrams, pad, split_long
from gatewise.tasks.tagging.features import TokenFeatures, casing
from gatewise.tasks.tagging.tags import TagSet

_ENDS: Final = frozenset(".!?…;。！？；")  # noqa: RUF001
"""Tokens after which a sentence that is too long is best parted."""


class Piece(NamedTuple):
    """The tokens [start, stop) of a sentence: all, unless it is too long."""

    sentence: int
    start: int
    stop: int


class SentenceSet:
    """N pieces of sentences.

    Each distinct token is looked up once; a sentence is a list of their numbers.

    Args:
        sentences: The sentences.
        features: How tokens become numbers.
        tags: How settled tags do; None: they are not wanted.
        longest: Tokens of a piece at most. A longer sentence is parted, with a warning: outside of
            spans where tags are wanted, else after a full stop or its like, else at ``longest``.
    """

    def __init__(
        self,
        sentences: Sequence[Tagged],
        features: TokenFeatures,
        tags: TagSet | None,
        longest: int,
    ) -> None:
        self.sentences, self.features = list(sentences), features
        self.pieces = [
            Piece(number, *piece)
            for number, one in enumerate(self.sentences)
            for piece in _pieces(one, tags, longest)
        ]
        self.lengths = np.array([one.stop - one.start for one in self.pieces], dtype=np.int64)
        self.tags: list[Int[np.ndarray, "_"]] = []
        if tags is not None:
            self.tags = [
                tags.encode(self.sentences[k].tags[start:stop]) for k, start, stop in self.pieces
            ]
        self._look_up_forms()
        self._ngrams = [self._ngrams_of(one.tokens) for one in self.sentences]

    def __len__(self) -> int:
        return len(self.pieces)

    def place_of(self, number: int) -> str:
        """Return where a piece begins."""
        piece = self.pieces[number]
        return self.sentences[piece.sentence].place_of(piece.start)

    def batch(self, numbers: Sequence[int], *, replaced: float = 0.0) -> dict[str, Tensor]:
        """Return some pieces as arguments of the network.

        Args:
            numbers: Which.
            replaced: Probability by which a word that occurs once in the training text is unknown;
                drawn from torch's default generator.

        Returns:
            ``words`` T×B and ``lengths`` B; where they are read, ``casing`` T×B, ``ngrams`` N×T×B,
            and the characters of the C distinct tokens, ``characters`` W×C and
            ``character_lengths`` C, with ``spelled`` T×B, the column of each token.
        """
        chosen = [self.pieces[k] for k in numbers]
        padding = len(self._word_of) - 1
        forms, lengths = pad([self._forms[k][a:b] for k, a, b in chosen], padding)
        words = self._word_of[forms]
        if replaced:
            gone = self._single[forms] & (torch.rand(forms.shape) < replaced)
            words = words.masked_fill(gone, self.features.words.number(_unknown(self.features)))
        inputs = {"words": words, "lengths": lengths}
        if self.features.casing:
            inputs["casing"] = self._casing_of[forms]
        if self.features.ngrams:
            each = [
                pad([self._ngrams[k][n][a:b] for k, a, b in chosen], 0)[0]
                for n in range(len(self.features.ngrams))
            ]
            inputs["ngrams"] = torch.stack(each)
        if self.features.characters is not None:
            distinct, spelled = torch.unique(forms, return_inverse=True)
            character_lengths = self._character_counts[distinct]
            characters = self._characters[distinct, : int(character_lengths.max())].t().long()
            inputs |= {
                "characters": characters,
                "character_lengths": character_lengths,
                "spelled": spelled,
            }
        return inputs

    def truth(self, numbers: Sequence[int]) -> Int64[Tensor, "T B"]:
        """Return the tags of some pieces, 0 beyond their ends."""
        return pad([self.tags[k] for k in numbers], 0)[0]

    def joined(self, said: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return for each sentence what was said of its pieces, given in order."""
        whole: list[list[str]] = [[] for _ in self.sentences]
        for piece, tags in zip(self.pieces, said, strict=True):
            whole[piece.sentence] += tags
        return whole

    def _look_up_forms(self) -> None:
        """Number the distinct tokens, and what is known of each; the last is the padding."""
        features = self.features
        number: dict[str, int] = {}
        self._forms = [
            np.array([number.setdefault(token, len(number)) for token in one.tokens])
            for one in self.sentences
        ]
        words = features.words.encode([features.word(token) for token in number])
        padding = features.words.number(features.words.padding or "")
        self._word_of = torch.from_numpy(np.append(words, padding)).long()
        self._single = torch.tensor(features.words.counts)[self._word_of] == 1
        if features.casing:
            self._casing_of = torch.tensor([*map(casing, number), 0])
        if features.characters is not None:
            spellings = [*map(features.spelling, number), ""]
            # The padding is one character long: no sequence is empty.
            self._character_counts = torch.tensor([max(len(one), 1) for one in spellings])
            self._characters = torch.zeros(
                len(spellings), int(self._character_counts.max()), dtype=torch.int32
            )
            for row, one in zip(self._characters, spellings, strict=True):
                row[: len(one)] = torch.from_numpy(features.characters.encode(one))

    def _ngrams_of(self, tokens: Sequence[str]) -> list[Int[np.ndarray, "_"]]:
        if not self.features.ngrams:
            return []
        words = [self.features.word(token) for token in tokens]
        return [
            known.encode(ngrams(words, n)) for n, known in enumerate(self.features.ngrams, start=2)
        ]


def _unknown(features: TokenFeatures) -> str:
    return features.words.unknown or ""


def _pieces(sentence: Tagged, tags: TagSet | None, longest: int) -> list[tuple[int, int]]:
    """The stretches of a sentence that are read at once."""
    length = len(sentence.tokens)
    if length <= longest:
        return [(0, length)]
    if tags is None:
        breaks = [k + 1 for k, token in enumerate(sentence.tokens) if token in _ENDS]
    else:
        inside = np.zeros(length + 1, dtype=bool)
        for span in tags.read_spans(sentence.tags):
            inside[span.start + 1 : span.stop] = True
        breaks = np.flatnonzero(~inside[:length]).tolist()
    return split_long(length, longest, where=sentence.place, breaks=breaks)
