"""The network of a classifier: tokens and n-grams, recurrent layers, pooling, a linear head."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from gatewise.tasks.classification.pooling import Pool
from gatewise.tasks.text.encoder import EncoderShape, TokenEncoder


@dataclass(frozen=True)
class ClassifierShape:
    """Sizes of a classifier.

    Args:
        encoder: Of embedding and recurrent layers.
        classes: C.
        pooling: How states become one vector; at least one name.
        ngrams: Rows of the embedding of bigrams, of trigrams and so on.
    """

    encoder: EncoderShape
    classes: int
    pooling: tuple[str, ...]
    ngrams: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClassifierShape:
        """Return the shape that ``to_dict`` described."""
        return cls(
            EncoderShape(**values["encoder"]),
            int(values["classes"]),
            tuple(values["pooling"]),
            tuple(values["ngrams"]),
        )


class ClassifierNetwork(nn.Module):
    """Tokens to logits.

    The vectors of the n-grams that begin at a token are added to its own. Row 0 of an embedding of
    n-grams is that of unknown ones: it adds nothing.

    Args:
        shape: Its sizes.
    """

    def __init__(self, shape: ClassifierShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = TokenEncoder(shape.encoder)
        features = shape.encoder.embedding_size
        self.ngrams = nn.ModuleList(
            nn.Embedding(rows, features, padding_idx=0) for rows in shape.ngrams
        )
        self.pool = Pool(
            shape.pooling, shape.encoder.width, bidirectional=shape.encoder.bidirectional
        )
        self.head = nn.Linear(self.pool.width, shape.classes)

    def forward(
        self,
        tokens: Int64[Tensor, "T B"],
        lengths: Int64[Tensor, "B"],
        ngrams: Int64[Tensor, "K T B"] | None = None,
        shift: Float[Tensor, "T B E"] | None = None,
    ) -> Float[Tensor, "B C"]:
        """Return logits.

        Args:
            tokens: Numbers of the tokens.
            lengths: Tokens of each text, each ≥ 1.
            ngrams: Numbers of the n-grams that begin at each token; None where there are none.
            shift: Is added to the vectors of the tokens.
        """
        vectors = self.vectors(tokens, ngrams)
        if shift is not None:
            vectors = vectors + shift
        return self.head(self.pool(self.encoder.read(vectors, None, lengths).output, lengths))

    def vectors(
        self, tokens: Int64[Tensor, "T B"], ngrams: Int64[Tensor, "K T B"] | None
    ) -> Float[Tensor, "T B E"]:
        """Return the sum of the vectors of tokens and of the n-grams that begin there."""
        vectors = self.encoder.embed(tokens)
        if ngrams is not None:
            for numbers, table in zip(ngrams, self.ngrams, strict=True):
                weight = cast("nn.Embedding", table).weight
                found = F.embedding(numbers, weight, padding_idx=0)
                vectors = vectors + self.encoder.word_dropout(found, numbers, len(weight))
        return vectors
