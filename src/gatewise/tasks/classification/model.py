"""A fitted classifier: the network, and what it knows of tokens, labels and baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from gatewise.data.text import Buckets, Text, Vocabulary, label_matrix, label_numbers
from gatewise.tasks.classification.baselines import Baselines
from gatewise.tasks.classification.network import ClassifierNetwork
from gatewise.tasks.classification.reading import NumberedTexts, TextReader

BATCH_TOKENS: Final = 16_384
"""Tokens that are classified at once, padding included."""


@dataclass
class ClassifierModel:
    """A network and the texts it belongs to.

    Args:
        network: Trained, in eval mode.
        reader: From texts to numbers.
        labels: The C labels of the training set.
        multi_label: Whether a text may have several.
        baselines: Fitted to the same texts.
    """

    network: ClassifierNetwork
    reader: TextReader
    labels: Vocabulary
    multi_label: bool
    baselines: Baselines

    def probabilities(self, texts: Sequence[Text]) -> Float[np.ndarray, "N C"]:
        """Return the probability of each label for N texts."""
        with torch.inference_mode():
            return self.to_probabilities(logits(self.network, self.reader.numbers(texts)))

    def to_probabilities(self, outputs: Float[Tensor, "N C"]) -> Float[np.ndarray, "N C"]:
        """Return the probabilities that logits stand for, in float64."""
        return to_probabilities(outputs, multi_label=self.multi_label)

    def truth(self, texts: Sequence[Text]) -> Bool[np.ndarray, "N C"]:
        """Return which labels N texts have.

        Raises:
            InvalidValueError: One has a label that the training set had not, or not one alone;
                names the place.
        """
        return truth(texts, self.labels, multi_label=self.multi_label).numpy()


def truth(texts: Sequence[Text], labels: Vocabulary, *, multi_label: bool) -> Bool[Tensor, "N C"]:
    """Return which of C labels N texts have; see ``ClassifierModel.truth``."""
    if multi_label:
        return label_matrix(texts, labels)
    return label_numbers(texts, labels)[:, None] == torch.arange(len(labels))


def to_probabilities(
    outputs: Float[Tensor, "N C"], *, multi_label: bool
) -> Float[np.ndarray, "N C"]:
    """Return the probabilities that logits stand for, in float64."""
    exact = outputs.detach().cpu().double()
    return (exact.sigmoid() if multi_label else exact.softmax(1)).numpy()


def logits(network: nn.Module, numbers: NumberedTexts) -> Float[Tensor, "N C"]:
    """Return what a network says of N texts, in their order, on the CPU.

    Args:
        network: A ``ClassifierNetwork``, or what the loop has wrapped around one.
        numbers: The texts.
    """
    device = next(network.parameters()).device
    batches = Buckets(numbers.lengths, tokens=max(BATCH_TOKENS, numbers.lengths.max())).in_order()
    outputs = [network(**numbers.batch(indices, device)).float().cpu() for indices in batches]
    order = torch.from_numpy(np.concatenate(batches))
    return torch.cat(outputs)[order.argsort()]
