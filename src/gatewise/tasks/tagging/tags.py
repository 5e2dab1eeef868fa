"""The tags of a tagger: as the user writes them, and as the network knows them.

Spans may be written in one scheme and learned in another: BIOES tells the network where a span
ends, which often helps (Ratinov & Roth 2009). Predictions come back in the user's scheme.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from gatewise.data.places import listed
from gatewise.data.text import (
    Scheme,
    Span,
    Tagged,
    Vocabulary,
    check_sentences,
    convert_tags,
    parse_tag,
    parse_tags,
    read_spans,
    tag_vocabulary,
    write_tags,
)
from gatewise.errors import InvalidValueError
from gatewise.nn import TagConstraints, tag_constraints


@dataclass(frozen=True)
class TagSet:
    """K tags.

    Args:
        known: The tags that the network tells apart, closed.
        given: The scheme of the user's tags; None: they are no spans.
        trained: The scheme of ``known``; None with ``given`` None.
    """

    known: Vocabulary
    given: Scheme | None = None
    trained: Scheme | None = None

    @classmethod
    def learn(
        cls, sentences: Sequence[Tagged], given: Scheme | None, trained: Scheme | None
    ) -> TagSet:
        """Return the tags of a training set.

        Args:
            sentences: With tags that keep to ``given``.
            given: Their scheme; None: they are no spans.
            trained: The scheme to learn; None: the given one.

        Raises:
            InvalidValueError: A sentence has no tags, or all tokens have the same one.
        """
        counted = tag_vocabulary(sentences)
        if given is None:
            return cls(counted)
        labels = sorted({parse_tag(tag)[1] for tag in counted.tokens if tag != "O"})
        # Every part of every span, however rare: what is learned must be able to say it.
        scheme = trained or given
        spans = [
            [Span(one, 0, 1), Span(one, 1, 2), Span(one, 2, 5)] for one in labels
        ]  # one token, one token that touches it, and one of three tokens
        names = {tag for each in spans for tag in write_tags(each, 5, scheme)}
        ordered = ("O", *sorted(names))
        return cls(Vocabulary(ordered, (0,) * len(ordered), None, None), given, scheme)

    @property
    def spans(self) -> bool:
        """Whether they are the tags of spans."""
        return self.given is not None

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the spans; of tags that are no spans, the tags."""
        if not self.spans:
            return self.known.tokens
        return tuple(sorted({parse_tag(tag)[1] for tag in self.known.tokens if tag != "O"}))

    @property
    def constraints(self) -> TagConstraints | None:
        """Which tags may follow each other; None where any may."""
        return None if self.trained is None else tag_constraints(self.known.tokens, self.trained)

    def settled(self, sentences: Sequence[Tagged], *, repair: bool) -> list[Tagged]:
        """Return sentences whose tags keep to the scheme and are all known.

        Args:
            sentences: With tags.
            repair: Whether tags that break the scheme are read as conlleval would, with a warning.

        Raises:
            InvalidValueError: A tag breaks the scheme, or the training set has not had its like;
                names the line.
        """
        for sentence in sentences:
            self._check_known(sentence)
        if self.given is None:
            return list(sentences)
        check_sentences(sentences, self.given, repair=repair)
        return repaired(sentences, self.given) if repair else list(sentences)

    def encode(self, tags: Sequence[str]) -> Int[np.ndarray, "T"]:
        """Return the numbers of a settled sentence's tags, or of a piece of it.

        A piece may begin or end inside a span, which then begins or ends there.
        """
        if self.trained is not None:
            tags = convert_tags(tags, None, self.trained)
        return self.known.encode(tags)

    def decode(self, numbers: Sequence[int]) -> list[str]:
        """Return the user's tags of what the network said."""
        tags = self.known.decode(numbers)
        return tags if self.given is None else convert_tags(tags, None, self.given)

    def read_spans(self, tags: Sequence[str]) -> list[Span]:
        """Return the spans of the user's tags; of tags that are no spans, one for each token."""
        if self.spans:
            return read_spans(tags)
        return [Span(tag, place, place + 1) for place, tag in enumerate(tags)]

    def to_dict(self) -> dict[str, Any]:
        """Return all there is to it, as values that JSON can hold."""
        return {"known": self.known.to_dict(), "given": self.given, "trained": self.trained}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TagSet:
        """Return what ``to_dict`` described."""
        return cls(Vocabulary.from_dict(values["known"]), values["given"], values["trained"])

    def _check_known(self, sentence: Tagged) -> None:
        if self.given is None:
            self.known.encode(sentence.tags, sentence.place_of)
            return
        labels = set(self.labels)
        for place, (_, label) in enumerate(parse_tags(sentence.tags, sentence.place_of)):
            tag = sentence.tags[place]
            if tag != "O" and label not in labels:
                raise InvalidValueError(
                    sentence.place_of(place), f"a span of {listed(self.labels)}", repr(tag),
                    "Only what the training set holds is known.",
                )  # fmt: skip


def repaired(sentences: Iterable[Tagged], scheme: Scheme) -> list[Tagged]:
    """Return sentences with the tags of the spans that conlleval would read in them."""
    return [
        dataclasses.replace(one, tags=tuple(convert_tags(one.tags, None, scheme)))
        for one in sentences
    ]
