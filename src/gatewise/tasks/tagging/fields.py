"""What a tagger may be told: every field with its default, help, unit and range."""
# ruff: noqa: RUF009 - setting() returns a dataclass field

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from gatewise.data.text import Scheme, Tagged, as_tagged, check_sentences, infer_scheme, read_tagged
from gatewise.errors import GatewiseError, InvalidTypeError, InvalidValueError
from gatewise.tasks.recurrent_cells import WITH_WEIGHT_DROPOUT, Cell
from gatewise.tasks.settings import setting
from gatewise.tasks.tagging.characters import Characters
from gatewise.tasks.tagging.network import Head
from gatewise.tasks.text.fields import is_list
from gatewise.tasks.training_fields import TrainingFields

_data = partial(setting, group="data")
_words = partial(setting, group="words")
_characters = partial(setting, group="characters")
_network = partial(setting, group="network")
_dropout = partial(setting, group="dropout", ge=0, lt=1)
_training = partial(setting, group="training")


@dataclass(kw_only=True, eq=False, repr=False)
class TaggingFields(TrainingFields):
    """The fields of ``SequenceTagger``; each is described where it is declared."""

    layout: Literal["auto", "conll", "conllu", "jsonl"] = _data(
        "auto", help="Layout of files; auto: by their ending, else columns as in CoNLL"
    )
    token_column: int | str | None = _data(
        None, help="Column of tokens: number from 0, or name; none: the first, form, tokens"
    )
    tag_column: int | str | None = _data(
        None,
        help="Column of tags: number from 0 or from the end, -1, or name; none: last, upos, tags",
    )
    encoding: str = _data("utf-8", help="Encoding of files")
    scheme: Literal["auto", "none", "IOB1", "BIO", "BIOES", "BMES"] = _data(
        "auto", help="How tags write spans; none: they are no spans; auto: found out"
    )
    repair: bool = _data(
        default=False, help="Read tags that break their scheme as conlleval does, with a warning"
    )
    longest: int = _data(
        512, help="Tokens that are read at once; longer sentences are parted", unit="tokens", ge=1
    )
    validation_size: float = _data(
        0.1,
        help="Sentences kept for early stopping, drawn at random: a share below 1, else how many",
        ge=0,
    )

    lowercase: bool = _words(
        default=True, help="Lower-case words; their characters keep their case"
    )
    replace_digits: bool = _words(default=True, help="Read each digit as 0")
    minimum_count: int = _words(1, help="How often a word must occur to be known", ge=1)
    embedding_size: int = _words(
        100, help="Numbers of a word's vector; with vectors, as many as those have", ge=1
    )
    vectors: str | None = _words(
        None, help="File of word vectors to begin with: word2vec, GloVe or fastText's .vec"
    )
    vector_words: int = _words(
        0, help="Words at the beginning of that file that are known beside the training set's", ge=0
    )
    ngrams: int = _words(1, help="Words of the longest n-grams that are read too; 1: none", ge=1)
    ngram_size: int = _words(50, help="Numbers of an n-gram's vector", ge=1)
    ngram_minimum_count: int = _words(2, help="How often an n-gram must occur to be known", ge=1)
    casing_size: int = _words(
        0, help="Numbers of the vector of a word's casing; 0: it is not read", ge=0
    )
    unknown_share: float = _words(
        0.5,
        help="How often a word that occurs once is unknown in training, so that the unknown learns",
        ge=0,
        le=1,
    )

    characters: Characters = _characters(
        "lstm", help="What reads the characters of words: a bidirectional LSTM, a convolution"
    )
    character_size: int = _characters(30, help="Numbers of a character's vector", ge=1)
    character_hidden_size: int = _characters(
        25, help="Units of each direction of the LSTM; filters are twice as many", ge=1
    )

    cell: Cell = _network("lstm", help="Kind of the recurrent layers")
    hidden_size: int = _network(
        200, help="Units of each recurrent layer and direction", unit="units", ge=1
    )
    num_layers: int = _network(1, help="Recurrent layers", unit="layers", ge=1)
    bidirectional: bool = _network(default=True, help="Read sentences in both directions")
    head: Head = _network(
        "crf", help="Choose the tags of a sentence together (crf) or one by one (softmax)"
    )
    trained_scheme: Literal["same", "IOB1", "BIO", "BIOES", "BMES"] = _network(
        "BIOES", help="Scheme in which spans are learned; predictions are in the data's own"
    )
    constraints: bool = _network(
        default=True, help="Tags that break the scheme are impossible to the crf"
    )

    word_dropout: float = _dropout(0.0, help="Dropped words")
    input_dropout: float = _dropout(0.5, help="Dropped features of tokens")
    hidden_dropout: float = _dropout(0.5, help="Dropped features between recurrent layers")
    output_dropout: float = _dropout(0.5, help="Dropped features of the last recurrent layer")
    weight_dropout: float = _dropout(0.0, help="Dropped recurrent weights")

    batch_size: int = _training(16, help="Sentences of a batch at most", unit="sentences", ge=1)
    batch_tokens: int = _training(
        4096, help="Tokens of a batch at most, padding included", unit="tokens", ge=1
    )

    def read(self, where: str, source: Any, tags: Any = None, *, tagged: bool) -> list[Tagged]:
        """Return sentences.

        Args:
            where: Who asks, for messages.
            source: A file, or a list of lists of tokens.
            tags: With lists, a list of tags for each.
            tagged: Whether tags are wanted.

        Raises:
            GatewiseError: See `gatewise.data.text.read_tagged`; or tags are missing, or twice.
        """
        if is_list(where, source):
            if tagged and tags is None:
                raise InvalidTypeError(f"{where}: y", "a list of tags for each sentence", "None")
            return _some(where, list(as_tagged(source, tags if tagged else None)))
        if tags is not None:
            raise InvalidTypeError(
                f"{where}: y", "nothing beside a file", type(tags).__name__,
                "Name the column of the tags, tag_column.",
            )  # fmt: skip
        return list(
            read_tagged(
                _path(where, source),
                layout=self.layout,
                token=self.token_column,
                tag=self.tag_column,
                tags=tagged,
                encoding=self.encoding,
            )
        )

    def scheme_of(self, sentences: Sequence[Tagged]) -> Scheme | None:
        """Return the scheme of tags: the one that the fields name, or the one they are in.

        Raises:
            InvalidValueError: They do not keep to it, or to any; names the line.
        """
        if self.scheme == "none":
            return None
        if self.scheme == "auto":
            return infer_scheme(sentences, repair=self.repair)
        check_sentences(sentences, self.scheme, repair=self.repair)
        return self.scheme

    def setting_faults(self) -> list[GatewiseError]:
        """Return contradictions between fields that are each valid alone."""
        faults: list[GatewiseError] = []
        if self.weight_dropout and self.cell not in WITH_WEIGHT_DROPOUT:
            wanted = (
                f"0 with cell={self.cell!r}; cells that have it: {', '.join(WITH_WEIGHT_DROPOUT)}"
            )
            faults.append(InvalidValueError("weight_dropout", wanted, str(self.weight_dropout)))
        if self.vector_words and self.vectors is None:
            faults.append(
                InvalidValueError("vector_words", "0 without vectors", str(self.vector_words))
            )
        return faults


def _some(where: str, sentences: list[Tagged]) -> list[Tagged]:
    if not sentences:
        raise InvalidValueError(f"{where}: X", "at least one sentence", "none")
    return sentences


def _path(where: str, source: Any) -> str | Path:
    if not isinstance(source, str | Path):
        raise InvalidTypeError(
            f"{where}: X", "a path or a list of lists of tokens", type(source).__name__
        )
    return source
