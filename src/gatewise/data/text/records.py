"""One text or one tagged sentence, and the place where it stands, so that later faults name it.

Readers make these from files; ``as_texts`` and ``as_tagged`` make them from lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gatewise.errors import InvalidTypeError, InvalidValueError

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands.

    Args:
        source: The file, or what else was given.
        unit: ``line`` (counted from 1), ``row`` or ``number`` (counted from 0).
        number: Which one.
    """

    source: str
    unit: str
    number: int

    def __str__(self) -> str:
        return f"{self.source}, {self.unit} {self.number}"


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and what it is labelled with.

    Args:
        text: What is written.
        labels: Its labels, in the user's own words; empty where none were asked for.
        place: Where it begins.
    """

    text: str
    labels: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Tagged:
    """A sentence of tokens with a tag each.

    Args:
        tokens: The tokens, at least one.
        tags: As many tags; empty where none were asked for.
        place: Where the sentence begins.
        lines: Line of each token; empty where they have none of their own.
    """

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    place: Place
    lines: tuple[int, ...] = ()

    def place_of(self, position: int) -> str:
        """Return how a person finds a token again.

        Args:
            position: The token, counted from 0.

        Returns:
            ``train.conll, line 19``, or ``the sentences, number 3, token 2 'Berlin'``.
        """
        if self.lines:
            return str(Place(self.place.source, "line", self.lines[position]))
        return f"{self.place}, token {position} {self.tokens[position]!r}"


def as_texts(texts: Sequence[Any], labels: Sequence[Any] | None = None) -> Iterator[Text]:
    """Give texts from memory the form of those from files.

    Args:
        texts: The texts.
        labels: For each text its label, or a list of labels; None: they have none.

    Yields:
        Each text.

    Raises:
        InvalidTypeError: ``texts`` is one text, or holds something else.
        InvalidValueError: Texts and labels differ in number, or a text cannot be encoded.
    """
    _require_list("the texts", texts, "one text")
    if labels is not None and len(labels) != len(texts):
        raise InvalidValueError("the labels", f"{len(texts)}, one a text", str(len(labels)))
    for number, text in enumerate(texts):
        place = Place("the texts", "number", number)
        checked = require_text(text, place)
        yield Text(checked, () if labels is None else label_names(labels[number], place), place)


def as_tagged(
    sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]] | None = None
) -> Iterator[Tagged]:
    """Give sentences from memory the form of those from files.

    Args:
        sentences: For each sentence its tokens, at least one.
        tags: For each sentence as many tags; None: they have none.

    Yields:
        Each sentence.

    Raises:
        InvalidTypeError: A sentence is a text instead of a list of tokens.
        InvalidValueError: Numbers differ, or a sentence is empty.
    """
    _require_list("the sentences", sentences, "one text")
    if tags is not None and len(tags) != len(sentences):
        raise InvalidValueError(
            "the tags", f"{len(sentences)} lists, one a sentence", f"{len(tags)}"
        )
    for number, tokens in enumerate(sentences):
        place = Place("the sentences", "number", number)
        yield tagged(tokens, None if tags is None else tags[number], place)


def tagged(tokens: Any, tags: Any | None, place: Place) -> Tagged:
    """Return a sentence after a check of its parts.

    Args:
        tokens: Should be a list of texts, none of them empty.
        tags: Should be as many texts; None: it has none.
        place: Where it stands.

    Raises:
        InvalidTypeError: They are no lists of texts.
        InvalidValueError: There are none, or not as many tags as tokens.
    """
    _require_list(str(place), tokens, "a text: part it into tokens first")
    words = tuple(require_text(token, place) for token in tokens)
    if not words or "" in words:
        got = "an empty one" if words else "none"
        raise InvalidValueError(str(place), "at least one token, and none without a letter", got)
    if tags is None:
        return Tagged(words, (), place)
    _require_list(str(place), tags, "a text: give a list of tags")
    names = tuple(require_text(tag, place) for tag in tags)
    if len(names) != len(words):
        raise InvalidValueError(
            str(place), f"{len(words)} tags, one a token", str(len(names)), "Correct the sentence."
        )
    return Tagged(words, names, place)


def label_names(cell: Any, place: Place, separator: str | None = None) -> tuple[str, ...]:
    """Return the labels that a cell holds.

    Args:
        cell: A text, a number, or a list of them.
        place: Where it stands.
        separator: What stands between several labels in one text; None: a text is one label.

    Returns:
        The labels as texts, white space around them removed.

    Raises:
        InvalidValueError: There is none, or an empty one.
    """
    if isinstance(cell, str) and separator is not None:
        cell = cell.split(separator)
    if isinstance(cell, np.ndarray | np.generic):
        cell = cell.tolist()
    cells = list(cell) if isinstance(cell, list | tuple) else [cell]
    names = [] if any(one is None or one != one for one in cells) else [str(one) for one in cells]
    labels = tuple(require_text(name, place).strip() for name in names)
    if not labels or "" in labels:
        raise InvalidValueError(
            str(place), "a label", "none", "Label the text, or leave it out of the training set."
        )
    return labels


def require_text(cell: Any, place: Place) -> str:
    """Return ``cell`` after a check that it is a text that can be encoded.

    Raises:
        InvalidTypeError: It is something else.
        InvalidValueError: It holds half of a surrogate pair, which no encoding can express.
    """
    if not isinstance(cell, str):
        got = "nothing" if cell is None or cell != cell else f"{cell!r:.60}"
        raise InvalidTypeError(str(place), "a text", got)
    if not cell.isascii() and (half := _SURROGATE.search(cell)):
        raise InvalidValueError(
            str(place), "characters", f"half of one, U+{ord(half[0]):04X}",
            "The text was cut inside a character, or decoded with errors='surrogateescape'.",
        )  # fmt: skip
    return cell


def _require_list(where: str, values: Any, got: str) -> None:
    if isinstance(values, str):
        raise InvalidTypeError(where, "a list of texts", got)
    if not hasattr(values, "__len__") or not hasattr(values, "__getitem__"):
        raise InvalidTypeError(where, "a list of texts", type(values).__name__)
