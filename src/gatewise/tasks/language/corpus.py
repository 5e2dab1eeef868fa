"""From texts to one long row of token numbers on disk, in two passes and little memory.

The first pass counts tokens of the training part for the vocabulary, the second writes the numbers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from gatewise.data.text import (
    UNKNOWN,
    Rules,
    Subwords,
    Text,
    Tokenizer,
    Vocabulary,
    open_tokens,
    token_numbers,
    tokenizer_from_dict,
    write_tokens,
)
from gatewise.errors import InvalidValueError
from gatewise.tasks.language.fields import LanguageFields

END = "<eos>"
"""The token at the end of a text where the tokenizer drops white space, as in published corpora."""

Reader = Callable[[], Iterator[Text]]
"""Reads the texts once, from the first."""


@dataclass(frozen=True)
class Language:
    """How texts become numbers and back.

    Args:
        tokenizer: Parts texts.
        vocabulary: Numbers the parts.
        end: The token at the end of each text; None: none.
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    end: str | None

    @property
    def is_exact(self) -> bool:
        """Whether tokens give back their text to the letter."""
        return keeps_space(self.tokenizer)

    def encode(self, text: str) -> Int32[np.ndarray, "N"]:
        """Return the numbers of a text, without its end."""
        return self.vocabulary.encode(self.tokenizer.split(text))

    @property
    def end_number(self) -> int | None:
        """The number of the end; None where there is none."""
        return None if self.end is None else self.vocabulary.number(self.end)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as values that JSON can hold."""
        return {
            "tokenizer": self.tokenizer.to_dict(),
            "vocabulary": self.vocabulary.to_dict(),
            "end": self.end,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Language:
        """Return what ``to_dict`` described.

        Raises:
            InvalidFileError: It is damaged.
        """
        vocabulary = Vocabulary.from_dict(values["vocabulary"])
        return cls(tokenizer_from_dict(values["tokenizer"]), vocabulary, values["end"])


class TokenFile:
    """Token numbers in a file that are mapped when they are first asked for.

    It travels to another process as its path.

    Args:
        path: What ``write_tokens`` wrote.
        vocabulary: The vocabulary that it was written with.
    """

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        self._path, self._vocabulary = path, vocabulary
        self._tokens: np.ndarray | None = None

    @property
    def tokens(self) -> Int32[np.ndarray, "N"]:
        """The numbers, to read only."""
        if self._tokens is None:
            self._tokens = open_tokens(self._path, self._vocabulary)
        return self._tokens

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tokens": None}


def learn_language(settings: LanguageFields, read: Reader) -> Language:
    """Return tokenizer and vocabulary of the texts of a training part."""
    tokenizer = settings.fit_tokenizer(text.text for text in read())
    end = end_of(tokenizer) if settings.mark_ends else None
    first = [] if end is None else [end]
    parts = ([*tokenizer.split(text.text), *first] for text in read())
    closed = isinstance(tokenizer, Subwords)
    vocabulary = Vocabulary.build(
        parts,
        minimum_count=1 if closed else settings.minimum_count,
        maximum_size=None if closed else settings.vocabulary_size,
        unknown=None if closed else UNKNOWN,
        padding=None,
        include=tokenizer.tokens if isinstance(tokenizer, Subwords) else first,
    )
    return Language(tokenizer, vocabulary, end)


def write_corpus(language: Language, read: Reader, path: Path) -> TokenFile:
    """Write the numbers of texts into a file and map it."""
    rows = token_numbers(read(), language.tokenizer, language.vocabulary, language.end)
    write_tokens(path, rows)
    return TokenFile(path, language.vocabulary)


def split_reader(read: Reader, share: float) -> tuple[Reader, Reader]:
    """Part texts into the first and the last of their characters.

    The text that the border falls into is parted at its last space before that.

    Args:
        read: Reads all of them.
        share: Of the characters that go into the second part, 0 < share < 1.

    Raises:
        InvalidValueError: There is too little to part.
    """
    total = sum(len(text.text) + 1 for text in read())
    border = round(total * (1 - share))

    def first() -> Iterator[Text]:
        left = border
        for text in read():
            if left <= 0:
                return
            whole = len(text.text) <= left
            kept = text.text if whole else text.text[: _cut(text.text, left)]
            left -= len(text.text) + 1
            if whole or kept:
                yield Text(kept, (), text.place)

    def second() -> Iterator[Text]:
        left = border
        for text in read():
            cut = 0 if left <= 0 else min(_cut(text.text, left), len(text.text))
            rest = text.text[cut:] if len(text.text) > left else ""
            over = left <= 0
            left -= len(text.text) + 1
            if over or rest:
                yield Text(rest, (), text.place)

    if next(first(), None) is None or next(second(), None) is None:
        raise InvalidValueError(
            "validation_size", "a share that leaves texts to train and to validate on", f"{share}",
            "Give more text, another share, or a validation text of its own.",
        )  # fmt: skip
    return first, second


def keeps_space(tokenizer: Tokenizer) -> bool:
    """Return whether a tokenizer's tokens give back their text to the letter, white space too."""
    return isinstance(tokenizer, Subwords) or (
        isinstance(tokenizer, Rules) and tokenizer.name == "characters"
    )


def end_of(tokenizer: Tokenizer) -> str:
    r"""Return the token for the end of a text: that of ``\n`` where white space is kept."""
    return tokenizer.split("\n")[0] if keeps_space(tokenizer) else END


def work_directory() -> tempfile.TemporaryDirectory[str]:
    """Return a directory for token files that goes when it is no longer needed."""
    return tempfile.TemporaryDirectory(prefix="gatewise-")


def _cut(text: str, left: int) -> int:
    """Return where to part a text that has ``left`` characters of room: after a space if it can."""
    if left >= len(text):
        return len(text)
    return text.rfind(" ", 0, left) + 1 or left
