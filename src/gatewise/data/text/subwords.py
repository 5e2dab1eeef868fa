"""Subwords learned from the user's own text, by the library ``tokenizers``.

Byte-pair encoding: frequent pairs are merged (Sennrich et al. 2016), beginning with bytes (Radford
et al. 2019), so that every text there is can be parted and comes back to the letter. The library's
other methods are not offered: the unigram model learns something else at each run.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatewise.data.text.tokenizing import Form, normal
from gatewise.errors import InvalidFileError, InvalidValueError


@dataclass(frozen=True)
class Subwords:
    """A trained tokenizer of subwords.

    Args:
        model: What was learned, in the JSON of ``tokenizers``.
        lowercase: Whether texts are lower-cased first.
        form: The normal form that texts are brought into first.
    """

    model: str
    lowercase: bool = False
    form: Form = "none"

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        size: int = 8000,
        *,
        minimum_count: int = 2,
        lowercase: bool = False,
        form: Form = "none",
    ) -> Subwords:
        """Learn subwords from texts.

        Args:
            texts: The texts; they are read once, one at a time.
            size: Subwords at most, ≥ 257: the 256 bytes are always among them.
            minimum_count: How often a pair must occur to be merged.
            lowercase: Whether texts are lower-cased first.
            form: The normal form that texts are brought into first.

        Returns:
            The tokenizer.

        Raises:
            InvalidValueError: There is no text, or ``size`` is too small.
        """
        if size < 257:
            raise InvalidValueError("size", "at least 257, the bytes and a pair", str(size))
        counted = _Counted(normal(text, form, lowercase=lowercase) for text in texts)
        learned = _train(counted, size, minimum_count)
        if not counted.characters:
            raise InvalidValueError("texts", "at least one character to learn from", "none")
        return cls(_canonical(json.loads(learned.to_str())), lowercase, form)

    @property
    def name(self) -> str:
        """``bpe``."""
        return "bpe"

    @property
    def glue(self) -> str:
        """A space, which no subword holds."""
        return " "

    @property
    def tokens(self) -> list[str]:
        """All subwords, in the order of their learning."""
        numbers = _load(self.model).get_vocab()
        return sorted(numbers, key=numbers.__getitem__)

    def split(self, text: str) -> list[str]:
        """Return the subwords of a text."""
        text = normal(text, self.form, lowercase=self.lowercase)
        return _load(self.model).encode(text, add_special_tokens=False).tokens

    def join(self, tokens: Sequence[str]) -> str:
        """Return the text of these subwords."""
        decoder = _load(self.model).decoder
        return "" if decoder is None else decoder.decode(list(tokens))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, the model as the object that its JSON describes."""
        return {
            "name": self.name,
            "lowercase": self.lowercase,
            "form": self.form,
            "model": json.loads(self.model),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Subwords:
        """Return the tokenizer that ``to_dict`` described.

        Raises:
            InvalidFileError: It is none that this version wrote.
        """
        try:
            model = _canonical(values["model"])
            _load(model)
            return cls(model, bool(values["lowercase"]), values["form"])
        # The library raises bare Exceptions; what they say is all there is to know.
        except Exception as error:
            raise InvalidFileError(
                "tokenizer", "a model of subwords", f"another thing ({error})",
                "The file is damaged, or was written by another version of gatewise.",
            ) from error  # fmt: skip


class _Counted:
    """The texts, with a count of their characters: an empty set of them must be told."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = iter(texts)
        self.characters = 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> str:
        text = next(self._texts)
        self.characters += len(text)
        return text


def _train(texts: Iterable[str], size: int, minimum_count: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=minimum_count, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    learned.train_from_iterator(texts, trainer)
    return learned


def _canonical(model: Any) -> str:
    """Return one text for one model, however its JSON was laid out."""
    return json.dumps(model, ensure_ascii=False, separators=(",", ":"))


@functools.lru_cache(maxsize=16)
def _load(model: str) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(model)
