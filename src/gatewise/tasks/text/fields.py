"""Where texts stand in files, and how they become tokens: fields that estimators of texts share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from gatewise.data.text import Subwords, Text, Tokenizer, as_texts, read_texts, tokenizer
from gatewise.errors import GatewiseError, InvalidTypeError, InvalidValueError
from gatewise.tasks.settings import setting

_data = partial(setting, group="data")
_tokens = partial(setting, group="tokens")

SUBWORDS: Final = "subwords"
LABELLED_LINES: Final = ("label-first", "label-last")


@dataclass(kw_only=True, eq=False, repr=False)
class SourceFields:
    """Where texts stand in a file or frame."""

    layout: Literal["auto", "lines", "label-first", "label-last", "table", "jsonl"] = _data(
        "auto", help="Layout of files; auto: by their ending, else a text a line"
    )
    text_column: str | None = _data(
        None, help="Column or field of the texts; none: text, or the only one"
    )
    quotes: bool = _data(default=True, help='Whether " quotes the cells of a table in a file')
    encoding: str = _data("utf-8", help="Encoding of files")

    def read(self, where: str, source: Any, *, keep_blank: bool = False) -> Iterator[Text]:
        """Read texts without labels.

        Args:
            where: Who asks, for messages.
            source: A file, a frame, or a list of texts.
            keep_blank: Whether texts of nothing but white space are kept.

        Raises:
            GatewiseError: See `gatewise.data.text.read_texts`.
        """
        if is_list(where, source):
            return as_texts(list(source))
        return read_texts(
            source,
            layout=self.layout,
            text=self.text_column,
            keep_blank=keep_blank,
            quotes=self.quotes,
            encoding=self.encoding,
        )


@dataclass(kw_only=True, eq=False, repr=False)
class LabelFields(SourceFields):
    """Where texts and their labels stand in a file or frame."""

    label_column: str | None = _data(
        None, help="Column or field of the labels in a table or JSON Lines; none: label"
    )
    separator: str | None = _data(None, help="Between label and text in a line; none: white space")
    label_separator: str | None = _data(
        None, help="Between several labels of a text; none: a text has one"
    )
    cut_label: str | None = _data(None, help="Keep of each label what stands before this")

    def read(self, where: str, source: Any, *, keep_blank: bool = False) -> Iterator[Text]:
        """Read texts; the labels before or after them in a line are parted off and left.

        Args:
            where: Who asks, for messages.
            source: A file, a frame, or a list of texts.
            keep_blank: Whether texts of nothing but white space are kept.

        Raises:
            GatewiseError: See `gatewise.data.text.read_texts`.
        """
        if self.layout not in LABELLED_LINES or is_list(where, source):
            return super().read(where, source, keep_blank=keep_blank)
        return read_texts(
            source, layout=self.layout, separator=self.separator, encoding=self.encoding
        )

    def read_labelled(self, where: str, source: Any, labels: Any = None) -> Iterator[Text]:
        """Read texts with their labels.

        Args:
            where: Who asks, for messages.
            source: A file or a frame that holds both; or a list of texts.
            labels: With a list of texts the label of each, or a list of labels.

        Raises:
            GatewiseError: See `gatewise.data.text.read_texts`; or labels are missing, or given
                twice.
        """
        if is_list(where, source):
            if labels is None:
                raise InvalidTypeError(f"{where}: y", "a label for each text", "None")
            return as_texts(list(source), list(labels))
        if labels is not None:
            raise InvalidTypeError(
                f"{where}: y", "nothing beside a file or a table", type(labels).__name__,
                "Name the column of the labels, label_column.",
            )  # fmt: skip
        lines = self.layout in LABELLED_LINES
        return read_texts(
            source,
            layout=self.layout,
            text=self.text_column,
            label=None if lines else self.label_column or "label",
            separator=self.separator,
            label_separator=self.label_separator,
            cut_label=self.cut_label,
            quotes=self.quotes,
            encoding=self.encoding,
        )


@dataclass(kw_only=True, eq=False, repr=False)
class TokenFields:
    """How texts become tokens, and which of them are known."""

    tokens: str = _tokens(
        "words", help="words, spaces, characters, subwords, spacy:LANGUAGE or nltk:NAME"
    )
    lowercase: bool = _tokens(default=False, help="Lower-case texts first")
    minimum_count: int = _tokens(1, help="How often a token must occur to be known", ge=1)
    vocabulary_size: int | None = _tokens(
        None, help="Tokens known at most; of subwords, how many are learned (none: 8000)", ge=2
    )

    def token_faults(self) -> list[GatewiseError]:
        """Return what is wrong with these fields together."""
        if self.tokens != SUBWORDS:
            try:
                tokenizer(self.tokens, lowercase=self.lowercase)
            except InvalidValueError:
                expected = "words, spaces, characters, subwords, spacy:LANGUAGE or nltk:NAME"
                return [InvalidValueError("tokens", expected, repr(self.tokens))]
            except GatewiseError as error:  # a library that is not installed
                return [error]
        elif self.vocabulary_size is not None and self.vocabulary_size < 257:
            wanted = "at least 257 with tokens='subwords', the bytes and a pair"
            return [InvalidValueError("vocabulary_size", wanted, str(self.vocabulary_size))]
        return []

    def fit_tokenizer(self, texts: Iterable[str]) -> Tokenizer:
        """Return the tokenizer; one of subwords learns from the texts, the others leave them."""
        if self.tokens != SUBWORDS:
            return tokenizer(self.tokens, lowercase=self.lowercase)
        return Subwords.train(
            texts,
            self.vocabulary_size or 8000,
            minimum_count=max(self.minimum_count, 2),
            lowercase=self.lowercase,
        )


def is_list(where: str, source: Any) -> bool:
    """Return whether texts are given as a list, not as a file or a frame.

    Raises:
        InvalidTypeError: Nothing is given.
    """
    if source is None:
        raise InvalidTypeError(
            f"{where}: X", "a path, a table or a list of texts", "None", "Pass the texts."
        )
    if isinstance(source, str | Path):
        return False
    one_dimensional = getattr(source, "ndim", 1) == 1 and not hasattr(source, "columns")
    return isinstance(source, Sequence) or (hasattr(source, "__len__") and one_dimensional)
