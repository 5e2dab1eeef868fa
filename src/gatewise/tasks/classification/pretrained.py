"""What a classifier may begin with: the encoder of a saved model, or word vectors from a file.

Any saved model will do whose network has a ``TokenEncoder`` of the name ``encoder``: a language
model (Dai & Le 2015; Howard & Ruder 2018), or another classifier.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import torch
from torch import Tensor, nn

from gatewise.data.text import (
    Tokenizer,
    Vocabulary,
    WordVectors,
    read_vectors,
    tokenizer_from_dict,
)
from gatewise.errors import InvalidFileError, InvalidValueError
from gatewise.tasks import saving
from gatewise.tasks.classification.fields import EMBEDDING_SIZE, TextClassifierFields
from gatewise.tasks.classification.network import ClassifierNetwork
from gatewise.tasks.recurrent_cells import WITH_WEIGHT_DROPOUT
from gatewise.tasks.text.encoder import EncoderShape, TokenEncoder
from gatewise.training import storage

PREFIX: Final = "encoder."
"""Of the names of the encoder's weights in a saved model."""

EMBEDDING_SPREAD: Final = 0.1
"""Deviation of embeddings at the beginning. With torch's own, 1, rare words stay noise: on SST-2 it
takes twice the epochs, to a lower accuracy."""

_DROPOUTS: Final = (
    *("word_dropout", "input_dropout", "hidden_dropout", "output_dropout", "weight_dropout"),
)


@dataclass(frozen=True)
class Pretrained:
    """The encoder of a saved model, and what it reads.

    Args:
        tokenizer: Parts texts.
        vocabulary: Of its tokens.
        shape: Sizes of the encoder, and the dropouts that it was trained with.
        weights: Of the encoder, by name.
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    shape: EncoderShape
    weights: dict[str, Tensor]

    @classmethod
    def read(cls, directory: Path) -> Pretrained:
        """Return the encoder of a saved model; nothing in it is executed.

        Raises:
            InvalidFileError: There is no model, it is damaged, or it has no encoder of tokens.
            InvalidStateError: Its vocabulary is not that of its weights.
        """
        task = saving.read_task(directory)
        known = storage.read_json(directory / saving.SCHEMA)
        shape = known.get("network", {}).get("encoder") if isinstance(known, dict) else None
        if shape is None or not {"tokenizer", "vocabulary"} <= set(known):
            raise InvalidFileError(
                f"pretrained: '{directory}'", "a model that reads tokens", f"a {task}",
                "Name the directory of a language model or a text classifier.",
            )  # fmt: skip
        tensors, _ = storage.read_tensors(directory / saving.WEIGHTS)
        weights = {
            name.removeprefix(PREFIX): tensor
            for name, tensor in tensors.items()
            if name.startswith(PREFIX)
        }
        with saving.damage_named(directory):
            vocabulary = Vocabulary.from_dict(known["vocabulary"])
            vocabulary.require_rows(len(weights["embedding.weight"]), f"pretrained: '{directory}'")
            start = cls(
                tokenizer_from_dict(known["tokenizer"]), vocabulary, EncoderShape(**shape), weights
            )
            with torch.device("meta"):
                TokenEncoder(start.shape).load_state_dict(weights, assign=True)
        return start


def encoder_shape(
    fields: TextClassifierFields,
    words: int,
    vectors: WordVectors | None,
    pretrained: Pretrained | None,
) -> EncoderShape:
    """Return the sizes of a classifier's encoder.

    Args:
        fields: Valid settings, which always say the dropouts.
        words: Tokens of the vocabulary.
        vectors: To start from.
        pretrained: To start from; it says the sizes then.

    Raises:
        InvalidValueError: ``embedding_size`` is not that of the vectors, or the cell has no weight
            dropout.
    """
    dropouts = {name: getattr(fields, name) for name in _DROPOUTS}
    if pretrained is not None:
        shape = dataclasses.replace(pretrained.shape, **dropouts)
        if shape.weight_dropout and shape.cell not in WITH_WEIGHT_DROPOUT:
            wanted = f"0, since the pretrained model has the cell {shape.cell!r}"
            raise InvalidValueError("weight_dropout", wanted, str(shape.weight_dropout))
        return shape
    size = fields.embedding_size
    if vectors is not None:
        own = vectors.matrix.shape[1]
        if size not in (None, own):
            raise InvalidValueError(
                "embedding_size", f"{own}, the numbers of a vector, or None", str(size),
                "Leave it out.",
            )  # fmt: skip
        size = own
    return EncoderShape(
        words=words,
        embedding_size=size or EMBEDDING_SIZE,
        hidden_size=fields.hidden_size,
        last_size=fields.hidden_size,
        num_layers=fields.num_layers,
        cell=fields.cell,
        bidirectional=fields.bidirectional,
        **dropouts,
    )


def read_word_vectors(path: str | None, vocabulary: Vocabulary) -> WordVectors | None:
    """Return the vectors of the words of a vocabulary, in any case; None without a file."""
    if path is None:
        return None
    return read_vectors(path, {*vocabulary.tokens, *(one.lower() for one in vocabulary.tokens)})


def initialise(
    network: ClassifierNetwork,
    vocabulary: Vocabulary,
    vectors: WordVectors | None,
    pretrained: Pretrained | None,
    *,
    freeze: bool,
) -> None:
    """Give embeddings and encoder their first weights.

    Words without a vector are drawn at random, as large as those with one. What is unknown or
    fills up is zero: it adds nothing, as a dropped word does.

    Args:
        network: Drawn at random.
        vocabulary: Of its tokens.
        vectors: To start from, as ``read_word_vectors`` gives them.
        pretrained: To start from.
        freeze: Whether the embedding is not to be trained.
    """
    weight = network.encoder.embedding.weight
    with torch.no_grad():
        spread = EMBEDDING_SPREAD
        if pretrained is not None:
            network.encoder.load_state_dict(pretrained.weights)
            spread = float(weight.std(correction=0))
        elif vectors is not None:
            rows, report = vectors.rows_for(vocabulary)
            found = torch.from_numpy(report.found)
            given = torch.from_numpy(rows)[found]
            spread = float(given.std(correction=0))
            weight.mul_(spread)
            weight[found] = given
        else:
            weight.mul_(spread)
        for table in (*network.ngrams, network.parts):
            if table is not None:
                cast("nn.Embedding", table).weight.mul_(spread)
        for token in (vocabulary.unknown, vocabulary.padding):
            if token is not None and pretrained is None:
                weight[vocabulary.number(token)] = 0
    weight.requires_grad_(not freeze)
