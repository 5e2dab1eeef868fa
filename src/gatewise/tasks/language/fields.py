"""What a language model may be told: every field with its default, help, unit and range."""
# ruff: noqa: RUF009 - setting() returns a dataclass field

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from gatewise.data.text import Text
from gatewise.errors import GatewiseError, InvalidValueError
from gatewise.tasks.language.output import DIVISOR
from gatewise.tasks.recurrent_cells import WITH_WEIGHT_DROPOUT, Cell
from gatewise.tasks.settings import setting
from gatewise.tasks.text.adversarial import Adversarial
from gatewise.tasks.text.fields import SUBWORDS, SourceFields, TokenFields, is_list
from gatewise.tasks.training_fields import TrainingFields

_data = partial(setting, group="data")
_network = partial(setting, group="network")
_dropout = partial(setting, group="regularisation", ge=0, lt=1)
_penalty = partial(setting, group="regularisation", ge=0)
_training = partial(setting, group="training")


@dataclass(kw_only=True, eq=False, repr=False)
class LanguageFields(SourceFields, TokenFields, TrainingFields):
    """The fields of ``LanguageModel``; each is described where it is declared."""

    mark_ends: bool = _data(
        default=True, help="Whether the end of each text, or line, is a token of its own"
    )
    carry_over: bool = _data(
        default=True,
        help="Whether a text is read from the state after the one before; else it begins anew",
    )
    validation_size: float = _data(
        0.1, help="End of the texts kept for validation; 0: none", unit="a share", ge=0, lt=1
    )

    cell: Cell = _network("lstm", help="Kind of the recurrent layers")
    embedding_size: int = _network(256, help="Features of a token", unit="features", ge=1)
    hidden_size: int = _network(
        512, help="Units of each layer; the last has embedding_size if tied", unit="units", ge=1
    )
    num_layers: int = _network(2, help="Recurrent layers", unit="layers", ge=1)
    tied: bool = _network(default=True, help="Use the embedding as the output's weights too")
    output: Literal["softmax", "adaptive"] = _network(
        "softmax", help="All tokens alike, or rare ones in small clusters, for large vocabularies"
    )
    cutoffs: tuple[int, ...] = _network(
        (2000, 10_000),
        help="Tokens by frequency where the clusters of the adaptive output begin",
        ge=1,
    )
    init_range: float | None = _network(
        None, help="Draw all weights from ± this; none: each layer as torch does", gt=0
    )

    word_dropout: float = _dropout(0.0, help="Words dropped from the embedding")
    input_dropout: float = _dropout(0.1, help="Features of the embedding dropped")
    hidden_dropout: float = _dropout(0.1, help="Features between layers dropped")
    output_dropout: float = _dropout(0.2, help="Features before the output dropped")
    weight_dropout: float = _dropout(0.0, help="Recurrent weights dropped (lstm and gru)")
    activation_penalty: float = _penalty(
        0.0, help="Weight of AR, the mean square of the last layer's outputs after dropout"
    )
    slowness_penalty: float = _penalty(
        0.0, help="Weight of TAR, the mean square of their changes from step to step"
    )

    adversarial: Adversarial = _training(
        "none", help="Train against shifts of the embeddings: of the loss (fgm), of outputs (vat)"
    )
    adversarial_radius: float = _training(
        1.0, help="Length of that shift, in deviations of the embedding's features", gt=0
    )
    streams: int = _training(
        20, help="Parts of the text read side by side: the batch", unit="streams", ge=1
    )
    steps: int = _training(35, help="Steps through which gradients go back", unit="steps", ge=1)
    variable_steps: bool = _training(
        default=False, help="Draw the steps of each window anew around that number"
    )
    max_epochs: int = _training(20, help="Epochs at most", unit="epochs", ge=1)
    patience: int | None = _training(
        3,
        help="Epochs without a better validation loss before stopping; none: never",
        unit="epochs",
        ge=1,
    )
    learning_rate: float = _training(2e-3, help="Learning rate", gt=0)
    schedule: Literal["constant", "exponential", "cosine", "one_cycle", "plateau"] = _training(
        "cosine", help="Course of the learning rate"
    )

    def reader(self, method: str, source: Any) -> Callable[[], Iterator[Text]]:
        """Return what reads the texts of a source from the first, each time it is called.

        White space is kept where tokens give it back.
        """
        where = f"LanguageModel.{method}"
        blank = self.tokens in ("characters", SUBWORDS)
        if is_list(where, source):
            source = list(source)
        return lambda: self.read(where, source, keep_blank=blank)

    def setting_faults(self) -> list[GatewiseError]:
        """Return contradictions between fields that are each valid alone."""
        faults = self.token_faults()
        if not self.carry_over and not self.mark_ends:
            wanted = "True with mark_ends=False: without ends nobody knows where a text begins"
            faults.append(InvalidValueError("carry_over", wanted, "False"))
        if self.weight_dropout and self.cell not in WITH_WEIGHT_DROPOUT:
            wanted = f"0 with cell={self.cell!r}; it is for {' and '.join(WITH_WEIGHT_DROPOUT)}"
            faults.append(InvalidValueError("weight_dropout", wanted, str(self.weight_dropout)))
        if self.output == "adaptive" and self.tied:
            wanted = "False with output='adaptive', whose clusters have sizes of their own"
            faults.append(InvalidValueError("tied", wanted, "True"))
        least = DIVISOR ** len(self.cutoffs)
        if self.output == "adaptive" and self.hidden_size < least:
            wanted = f"at least {least}, so that the rarest cluster has a feature"
            faults.append(InvalidValueError("hidden_size", wanted, str(self.hidden_size)))
        if list(self.cutoffs) != sorted(set(self.cutoffs)) or not self.cutoffs:
            faults.append(InvalidValueError("cutoffs", "ascending numbers", repr(self.cutoffs)))
        return faults
