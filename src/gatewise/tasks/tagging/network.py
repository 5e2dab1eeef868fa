"""The network of a tagger: from tokens to scores of tags, and to likelihoods of sentences."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from gatewise.nn import CRF, TagConstraints
from gatewise.tasks.recurrent_cells import Cell
from gatewise.tasks.tagging.characters import CharacterEncoder, Characters
from gatewise.tasks.tagging.features import CASINGS
from gatewise.tasks.tagging.softmax import SoftmaxTags
from gatewise.tasks.text.encoder import EncoderShape, TokenEncoder

Head = Literal["crf", "softmax"]
"""What makes tags of scores: of the whole sentence together, or of each token by itself."""


@dataclass(frozen=True)
class TaggerShape:
    """Sizes of a tagger's network.

    Args:
        words: Words that are known, V.
        tags: Tags, K.
        embedding_size: Numbers of a word's vector, E.
        ngrams: How many n-grams are known, of two words, of three …; empty: none is read.
        ngram_size: Numbers of an n-gram's vector.
        character_encoder: What reads the characters of words.
        characters: Characters that are known.
        character_size: Numbers of a character's vector.
        character_hidden_size: Units of each direction that reads characters; filters are twice
            as many.
        casing_size: Numbers of a casing's vector; 0: casing is not read.
        cell: Kind of the recurrent layers.
        hidden_size: Units of each recurrent layer and direction, H.
        num_layers: Recurrent layers, L.
        bidirectional: Whether they read in both directions.
        head: What makes tags of scores.
        word_dropout: Words that are dropped.
        input_dropout: Features of tokens that are dropped.
        hidden_dropout: Features between layers that are dropped.
        output_dropout: Features of the last layer that are dropped.
        weight_dropout: Recurrent weights that are dropped.
    """

    words: int
    tags: int
    embedding_size: int
    ngrams: tuple[int, ...]
    ngram_size: int
    character_encoder: Characters
    characters: int
    character_size: int
    character_hidden_size: int
    casing_size: int
    cell: Cell
    hidden_size: int
    num_layers: int
    bidirectional: bool
    head: Head
    word_dropout: float
    input_dropout: float
    hidden_dropout: float
    output_dropout: float
    weight_dropout: float

    @property
    def extra_size(self) -> int:
        """Features of a token beside the vector of its word."""
        characters = 2 * self.character_hidden_size if self.character_encoder != "none" else 0
        return characters + self.casing_size + len(self.ngrams) * self.ngram_size

    def encoder(self) -> EncoderShape:
        """Return the sizes of the part that reads tokens."""
        names = {field.name for field in dataclasses.fields(EncoderShape)}
        shared = {name: value for name, value in self.to_dict().items() if name in names}
        return EncoderShape(**shared, last_size=self.hidden_size, extra_size=self.extra_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TaggerShape:
        """Return what ``to_dict`` described."""
        return cls(**{**values, "ngrams": tuple(values["ngrams"])})


class TaggerNetwork(nn.Module):
    """Features of tokens, recurrent layers, and a score for each tag (Huang, Xu & Yu 2015).

    Args:
        shape: Its sizes.
        constraints: Which of the K tags may follow each other, for the CRF; None: any.
    """

    def __init__(self, shape: TaggerShape, constraints: TagConstraints | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = TokenEncoder(shape.encoder())
        self.characters = None
        if shape.character_encoder != "none":
            self.characters = CharacterEncoder(
                shape.character_encoder,
                shape.characters,
                shape.character_size,
                shape.character_hidden_size,
            )
        self.casing = nn.Embedding(len(CASINGS), shape.casing_size) if shape.casing_size else None
        self.ngrams = nn.ModuleList(nn.Embedding(n, shape.ngram_size) for n in shape.ngrams)
        self.output = nn.Linear(self.encoder.shape.width, shape.tags)
        self.head: CRF | SoftmaxTags = SoftmaxTags()
        if shape.head == "crf":
            self.head = CRF(shape.tags, constraints=constraints)
        self.reset_embeddings()

    def reset_embeddings(self) -> None:
        """Draw every vector so that its numbers have deviation 1/√E, whatever its size E is."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                reach = math.sqrt(3 / module.embedding_dim)
                nn.init.uniform_(module.weight, -reach, reach)

    def forward(
        self,
        words: Int64[Tensor, "T B"],
        lengths: Int64[Tensor, "B"],
        *,
        casing: Int64[Tensor, "T B"] | None = None,
        ngrams: Int64[Tensor, "N T B"] | None = None,
        characters: Int64[Tensor, "W C"] | None = None,
        character_lengths: Int64[Tensor, "C"] | None = None,
        spelled: Int64[Tensor, "T B"] | None = None,
        tags: Int64[Tensor, "T B"] | None = None,
    ) -> Float[Tensor, "T B K"] | Float[Tensor, "B"]:
        """Return a score for each tag of each token, or the log-likelihood of tags.

        Args:
            words: Their numbers.
            lengths: Tokens of each sentence.
            casing: Of each token, where the network reads it; likewise all below.
            ngrams: That begin at each token, of two words, of three …
            characters: Of the C distinct tokens.
            character_lengths: How many characters each of these has.
            spelled: Which of these each token is.
            tags: Of each token: what is asked is their log-likelihood. None: the scores.
        """
        features = [self.encoder.embed(words)]
        features += [
            embedding(numbers)
            for embedding, numbers in zip(
                self.ngrams, () if ngrams is None else ngrams, strict=True
            )
        ]
        if self.characters is not None and characters is not None and character_lengths is not None:
            features.append(self.characters(characters, character_lengths)[spelled])
        if self.casing is not None and casing is not None:
            features.append(self.casing(casing))
        read = self.encoder.read(torch.cat(features, dim=2), lengths=lengths)
        emissions = self.output(read.output)
        return emissions if tags is None else self.head(emissions, tags, lengths)
