"""The network of a classifier: tokens and n-grams, recurrent layers, pooling, a linear head."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
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
        parts: Rows of the embedding of the parts of tokens; 0: parts are not read.
        pool_vectors: Whether the vectors of tokens are pooled beside the states, so that the head
            reads single words as a linear model does (S. Lai et al., "Recurrent convolutional
            neural networks for text classification", AAAI 2015, joins them before the pooling).
    """

    encoder: EncoderShape
    classes: int
    pooling: tuple[str, ...]
    ngrams: tuple[int, ...] = ()
    parts: int = 0
    pool_vectors: bool = False

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
            int(values["parts"]),
            bool(values["pool_vectors"]),
        )


class ClassifierNetwork(nn.Module):
    """Tokens to logits.

    The vectors of the n-grams that begin at a token are added to its own, and so is the mean of the
    vectors of its parts. Row 0 of these embeddings is that of unknown ones: it adds nothing.

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
        self.parts = nn.Embedding(shape.parts, features, padding_idx=0) if shape.parts else None
        self.pool = Pool(
            shape.pooling, shape.encoder.width, bidirectional=shape.encoder.bidirectional
        )
        self.vector_pool = None
        width = self.pool.width
        if shape.pool_vectors:
            # A vector has read nothing but itself, so that none is the last one of a text.
            names = tuple(name for name in shape.pooling if name != "last")
            self.vector_pool = Pool(names, features, bidirectional=False)
            width += self.vector_pool.width
        self.head = nn.Linear(width, shape.classes)

    def forward(
        self,
        tokens: Int64[Tensor, "T B"],
        lengths: Int64[Tensor, "B"],
        ngrams: Int64[Tensor, "K T B"] | None = None,
        parts: Int64[Tensor, "N T B"] | None = None,
        shift: Float[Tensor, "T B E"] | None = None,
    ) -> Float[Tensor, "B C"]:
        """Return logits.

        Args:
            tokens: Numbers of the tokens.
            lengths: Tokens of each text, each ≥ 1.
            ngrams: Numbers of the n-grams that begin at each token; None where there are none.
            parts: Numbers of the parts of each token, 0 behind the last; None where none are read.
            shift: Is added to the vectors of the tokens.
        """
        vectors = self.vectors(tokens, ngrams, parts)
        if shift is not None:
            vectors = vectors + shift
        pooled = self.pool(self.encoder.read(vectors, None, lengths).output, lengths)
        if self.vector_pool is not None:
            dropped = self.encoder.output_dropout(vectors)
            pooled = torch.cat([pooled, self.vector_pool(dropped, lengths)], dim=1)
        return self.head(pooled)

    def vectors(
        self,
        tokens: Int64[Tensor, "T B"],
        ngrams: Int64[Tensor, "K T B"] | None,
        parts: Int64[Tensor, "N T B"] | None = None,
    ) -> Float[Tensor, "T B E"]:
        """Return the sum of the vectors of tokens, of the n-grams there, and of their parts."""
        vectors = self.encoder.embed(tokens)
        if ngrams is not None:
            for numbers, table in zip(ngrams, self.ngrams, strict=True):
                weight = cast("nn.Embedding", table).weight
                found = F.embedding(numbers, weight, padding_idx=0)
                vectors = vectors + self.encoder.word_dropout(found, numbers, len(weight))
        if parts is not None:
            vectors = vectors + self._mean_of_parts(parts)
        return vectors

    def _mean_of_parts(self, parts: Int64[Tensor, "N T B"]) -> Float[Tensor, "T B E"]:
        """The mean vector of those parts of each token that are known and not dropped."""
        weight = cast("nn.Embedding", self.parts).weight
        share = self.encoder.word_dropout.p if self.training else 0.0
        if share:
            kept = torch.rand(len(weight), device=parts.device) >= share
            parts = parts * kept[parts]
        columns = parts.flatten(1).t()
        return F.embedding_bag(columns, weight, mode="mean", padding_idx=0).unflatten(
            0, parts.shape[1:]
        )
