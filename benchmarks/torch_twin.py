"""An estimator's network on torch.nn.LSTM with packed sequences, and the speed of both."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

from timing import alternate
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatewise import to_torch
from gatewise.nn import LSTM
from gatewise.tasks import SequenceTagger, TextClassifier

Estimator = TypeVar("Estimator", SequenceTagger, TextClassifier)

TURNS = 5


def packed_twin(model: Estimator) -> Estimator:
    """Return the same estimator, its encoder's layers torch's with the same weights."""
    twin = copy.deepcopy(model)
    layers = twin.network_.encoder.layers
    for place, layer in enumerate(layers):
        layers[place] = PackedLSTM(layer)
    return twin


class PackedLSTM(nn.Module):
    """torch's LSTM, called as ours is."""

    def __init__(self, layer: LSTM) -> None:
        super().__init__()
        self.layer = to_torch(layer)

    def forward(
        self, x: Tensor, state: object = None, *, lengths: Tensor, reset: object = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if state is not None or reset is not None:
            raise NotImplementedError("a text begins anew")
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        output, after = self.layer(packed)
        return pad_packed_sequence(output, total_length=len(x))[0], after


def predict_speeds(
    model: Estimator, twin: Estimator, data: Sequence[Any], tokens: int
) -> tuple[float, float]:
    """Return tokens a second of ``predict``, of a model and of its twin.

    Args:
        model: An estimator.
        twin: The same in plain torch; that it predicts the same is checked.
        data: What both read.
        tokens: In all of it.
    """
    if list(twin.predict(data)) != list(model.predict(data)):
        raise AssertionError("plain torch predicts something else")
    turns = {"ours": lambda: model.predict(data), "torch": lambda: twin.predict(data)}
    took = alternate(turns, TURNS)
    return tokens / took["ours"], tokens / took["torch"]
