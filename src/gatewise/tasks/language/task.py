"""What the fit loop asks of a language model: windows of streams, with the state carried over."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from gatewise.data.text import IGNORED, Streams
from gatewise.tasks.language.corpus import TokenFile
from gatewise.tasks.language.evaluation import mean_loss
from gatewise.tasks.language.fields import LanguageFields
from gatewise.tasks.language.network import LanguageNetwork, Reading
from gatewise.tasks.text.adversarial import (
    categorical_divergence,
    embedding_spread,
    fgm_loss,
    vat_loss,
)
from gatewise.tasks.text.encoder import Encoded, State, detached, from_tensors, to_tensors
from gatewise.training import StepLoss


class LanguageTask:
    """Truncated back-propagation through time over streams of one text.

    An index is a window's number times the streams plus that of a stream, so that processes share
    the streams among them, each always the same ones.

    Args:
        train: The text to learn.
        validation: The text that decides when to stop.
        counts: How often each token stands in the text to learn.
        settings: Valid fields.
    """

    def __init__(
        self,
        train: TokenFile,
        validation: TokenFile,
        counts: Sequence[int],
        settings: LanguageFields,
    ) -> None:
        self._train, self._validation = train, validation
        self._counts = torch.tensor(counts)
        self._adversarial, self._radius = settings.adversarial, settings.adversarial_radius
        self._activation, self._slowness = settings.activation_penalty, settings.slowness_penalty
        self._streams, self._steps = settings.streams, settings.steps
        self._variable, self._seed = settings.variable_steps, settings.seed
        self._states: list[State] | None = None
        self._windows: list[tuple[int, int]] = []

    def batches(self, epoch: int, generator: torch.Generator) -> Sequence[Tensor]:  # noqa: ARG002
        """Return the windows in the order of the text; variable lengths are drawn by epoch."""
        lengths = self._read(self._train).window_lengths(epoch)
        starts = itertools.accumulate(lengths[:-1], initial=0)
        self._windows = list(zip(starts, lengths, strict=True))
        rows = torch.arange(self._streams)
        return [rows + self._streams * window for window in range(len(lengths))]

    def loss(self, network: nn.Module, indices: Tensor) -> StepLoss:
        """Return the loss of some streams of a window; the state goes on to the next."""
        device = next(network.parameters()).device
        window, rows = int(indices[0]) // self._streams, indices % self._streams
        start, length = self._windows[window]
        read = self._read(self._train).window(start, length)
        targets = read.targets[:, rows]
        inputs = (read.inputs[:, rows].to(device), targets.to(device), self._states)
        reading, against = self._readings(network, *inputs)
        self._states = detached(reading.encoded.states)
        weight = (targets != IGNORED).sum().to(reading.loss)
        share = length / self._steps if self._variable else 1.0
        objective = (reading.loss + against + self._penalties(reading.encoded)) * share
        return StepLoss(reading.loss.detach() * weight, weight, objective * weight)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean loss of a token of the validation text, and its perplexity."""
        loss = mean_loss(network, self._validation.tokens)
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}

    def carried(self) -> dict[str, Tensor]:
        """Return the states after the last window."""
        return {} if self._states is None else to_tensors(self._states)

    def carry(self, state: dict[str, Tensor]) -> None:
        """Go on from the states of a checkpoint, or from the beginning of the text."""
        self._states = from_tensors(state) if state else None

    def _read(self, file: TokenFile) -> Streams:
        return Streams(
            file.tokens, self._streams, self._steps, variable=self._variable, seed=self._seed
        )

    def _readings(
        self, network: nn.Module, tokens: Tensor, targets: Tensor, states: list[State] | None
    ) -> tuple[Reading, Tensor | float]:
        """Read a window, and say what an adversary's shift of its embedding costs a token."""
        if self._adversarial == "none":
            return network(tokens, targets, states), 0.0
        readings: list[Reading] = []
        several = self._adversarial == "vat"

        def read(shift: Tensor) -> Reading:
            readings.append(network(tokens, targets, states, shift=shift, with_logits=several))
            return readings[-1]

        bare = cast("LanguageNetwork", getattr(network, "module", network))
        weight = bare.encoder.embedding.weight
        spread = embedding_spread(weight.detach(), self._counts.to(weight.device))
        if not several:
            size = (tokens.shape[0], tokens.shape[1])
            _, against = fgm_loss(lambda shift: read(shift).loss, size, spread, self._radius)
            return readings[0], against
        counts = targets != IGNORED
        _, moved = vat_loss(
            lambda shift: cast("Tensor", read(shift).logits)[counts],
            counts,
            spread,
            self._radius,
            categorical_divergence,
        )
        return readings[0], moved / counts.sum()

    def _penalties(self, encoded: Encoded) -> Tensor | float:
        """AR and TAR of Merity et al. (2018)."""
        penalty: Tensor | float = 0.0
        if self._activation:
            penalty = penalty + self._activation * encoded.output.square().mean()
        if self._slowness and len(encoded.raw) > 1:
            penalty = penalty + self._slowness * encoded.raw.diff(dim=0).square().mean()
        return penalty
