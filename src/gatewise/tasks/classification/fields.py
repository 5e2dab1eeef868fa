"""What a text classifier may be told: every field with its default, help, unit and range."""
# ruff: noqa: RUF009 - setting() returns a dataclass field

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from gatewise.errors import GatewiseError, InvalidValueError
from gatewise.tasks.classification.pooling import POOLINGS
from gatewise.tasks.recurrent_cells import WITH_WEIGHT_DROPOUT, Cell
from gatewise.tasks.settings import setting
from gatewise.tasks.text.adversarial import Adversarial
from gatewise.tasks.text.fields import LabelFields, TokenFields
from gatewise.tasks.training_fields import TrainingFields

_data = partial(setting, group="data")
_tokens = partial(setting, group="tokens")
_network = partial(setting, group="network")
_training = partial(setting, group="training")

Monitor = Literal["accuracy", "f1_macro", "loss"]

FROM_PRETRAINED: Final = (
    *("tokens", "lowercase", "minimum_count", "vocabulary_size", "vectors", "embedding_size"),
    *("hidden_size", "num_layers", "cell", "bidirectional"),
)
"""Fields that the saved model decides from which a classifier starts."""

EMBEDDING_SIZE: Final = 128
"""Features of a token where nothing says how many."""


@dataclass(kw_only=True, eq=False, repr=False)
class TextClassifierFields(LabelFields, TokenFields, TrainingFields):
    """The fields of ``TextClassifier``; each is described where it is declared."""

    multi_label: bool = _data(default=False, help="Whether a text may have several labels")
    validation_size: float = _data(
        0.1,
        help="Texts kept for early stopping, of each class alike: a share below 1, else their "
        "number; 0: none",
        ge=0,
    )
    longest: int | None = _data(
        1024, help="Tokens that are read of a text, its first; none: all", unit="tokens", ge=1
    )

    ngrams: int = _tokens(
        1, help="Read the n-grams up to this beside the tokens; 1: tokens alone", ge=1
    )
    token_parts: tuple[int, ...] = _tokens(
        (),
        help="Read the n-grams of these lengths of the characters of a token, for unknown words",
        unit="characters",
        ge=1,
    )
    ngram_count: int = _tokens(2, help="How often an n-gram must occur to be known", ge=1)
    ngram_size: int | None = _tokens(
        200_000, help="N-grams known at most of each length; none: any number", ge=2
    )

    pretrained: str | None = _network(
        None, help="Directory of a saved language model or text classifier to start from"
    )
    vectors: str | None = _network(
        None, help="File of word vectors to start from: word2vec, GloVe or fastText's .vec"
    )
    freeze_vectors: bool = _network(default=False, help="Do not train the embedding of tokens")
    embedding_size: int | None = _network(
        None, help="Features of a token; none: 128, or those of vectors", unit="features", ge=1
    )
    hidden_size: int = _network(
        128, help="Units of each recurrent layer and direction", unit="units", ge=1
    )
    num_layers: int = _network(1, help="Recurrent layers", unit="layers", ge=1)
    cell: Cell = _network("lstm", help="Kind of the recurrent layers")
    bidirectional: bool = _network(default=True, help="Read in both directions")
    pooling: tuple[str, ...] = _network(
        ("max", "mean"), help="From states to one vector: last, mean, max, attention, or several"
    )
    pool_vectors: bool = _network(
        default=False, help="Pool the vectors of tokens too, beside the states; not by last"
    )
    word_dropout: float = _network(0.1, help="Words dropped wherever they occur", ge=0, lt=1)
    input_dropout: float = _network(0.3, help="Features of the embedding dropped", ge=0, lt=1)
    hidden_dropout: float = _network(0.3, help="Features between layers dropped", ge=0, lt=1)
    output_dropout: float = _network(0.5, help="Features of the last layer dropped", ge=0, lt=1)
    weight_dropout: float = _network(0.0, help="Recurrent weights dropped; lstm, gru", ge=0, lt=1)

    class_weight: Literal["none", "balanced"] = _training(
        "none", help="balanced: each class weighs the same in the loss, however rare"
    )
    label_smoothing: float = _training(
        0.0, help="Share of the target that is spread over all classes", ge=0, lt=1
    )
    adversarial: Adversarial = _training(
        "none", help="Train against shifts of the embeddings: of the loss (fgm), of outputs (vat)"
    )
    adversarial_radius: float = _training(
        1.0, help="Length of that shift, in deviations of the embedding's features", gt=0
    )
    monitor: Monitor = _training(
        "accuracy", help="Validation score that decides which epoch is best"
    )
    batch_size: int = _training(32, help="Texts of a batch at most", unit="texts", ge=1)
    batch_tokens: int = _training(
        8192, help="Tokens of a batch at most, padding included", unit="tokens", ge=1
    )
    max_epochs: int = _training(30, help="Epochs at most", unit="epochs", ge=1)
    patience: int | None = _training(
        5, help="Epochs without a better score before stopping; none: never", unit="epochs", ge=1
    )

    def setting_faults(self) -> list[GatewiseError]:
        """Return contradictions between fields that are each valid alone."""
        faults = self.token_faults()
        unknown = [name for name in self.pooling if name not in POOLINGS]
        if unknown or not self.pooling or len(set(self.pooling)) < len(self.pooling):
            wanted = f"one or more of {', '.join(POOLINGS)}, each once"
            faults.append(InvalidValueError("pooling", wanted, repr(self.pooling)))
        if self.pool_vectors and set(self.pooling) == {"last"}:
            wanted = f"False with pooling={self.pooling!r}"
            faults.append(InvalidValueError("pool_vectors", wanted, "True"))
        if len(set(self.token_parts)) < len(self.token_parts):
            faults.append(InvalidValueError("token_parts", "each once", repr(self.token_parts)))
        # A saved model says itself which cell it has.
        if self.pretrained is not None:
            faults += self._given_twice()
        elif self.weight_dropout and self.cell not in WITH_WEIGHT_DROPOUT:
            wanted = f"0 with cell={self.cell!r}"
            faults.append(InvalidValueError("weight_dropout", wanted, str(self.weight_dropout)))
        if self.freeze_vectors and self.vectors is None and self.pretrained is None:
            wanted = "False without vectors or pretrained"
            faults.append(InvalidValueError("freeze_vectors", wanted, "True"))
        return faults

    def _given_twice(self) -> list[GatewiseError]:
        """Fields that were set though the saved model decides them."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return [
            InvalidValueError(
                name, f"its default, {defaults[name]!r}, with pretrained",
                repr(getattr(self, name)), "The saved model decides it.",
            )
            for name in FROM_PRETRAINED
            if getattr(self, name) != defaults[name]
        ]  # fmt: skip
