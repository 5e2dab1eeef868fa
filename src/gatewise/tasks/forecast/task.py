"""What a fit works on: which steps train and which validate, the loss, and the intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gatewise.data import Panel
from gatewise.errors import InvalidValueError
from gatewise.tasks.forecast.heads import AbstractHead, PointHead
from gatewise.tasks.forecast.model import ForecastModel, ModelWindows, Part
from gatewise.tasks.forecast.normalise import moments
from gatewise.training import StepLoss

SAMPLE = 8192
"""Training windows from which the typical deviation inside a window is measured."""

LEAST_SPREAD = 1e-4
"""Smallest typical deviation inside a window, in deviations of the whole series."""


@dataclass(frozen=True)
class Sizes:
    """Sizes that follow from the data where the user gave none.

    Args:
        lookback: L steps that are read.
        segment_length: Steps of a segment.
        validation: For each series the steps kept for validation.
    """

    lookback: int
    segment_length: int
    validation: tuple[int, ...]


def choose_sizes(
    panel: Panel,
    horizon: int,
    lookback: int | None,
    segment_length: int | None,
    validation: float | Sequence[int],
) -> Sizes:
    """Return all sizes.

    Unless given, the look-back is two seasons or twice the horizon, whichever is longer, at least
    24 steps and at most half of what the longest series trains on; a segment is the largest part of
    a season that divides it and an eighth of the look-back, or about the square root of the
    look-back where that part would be under 4 steps.

    Args:
        panel: The series.
        horizon: h steps ahead.
        lookback: L, or None.
        segment_length: Steps of a segment, or None.
        validation: Steps kept of each series: their share if below 1, else their number, and at
            least one horizon; or the number for each series.

    Raises:
        InvalidValueError: No series is long enough for training and validation windows.
    """
    lengths, season = panel.lengths, panel.schema.season_length
    by_size = isinstance(validation, float | int)
    if by_size:
        wanted = lengths * validation if validation < 1 else np.full(len(lengths), validation)
        least = horizon if validation > 0 else 0
        kept = np.maximum(np.round(wanted), least).astype(np.int64)
    else:
        kept = np.asarray(validation, dtype=np.int64)
    trained = lengths - kept
    if lookback is None:
        room = int(trained.max()) - horizon
        lookback = max(1, min(max(2 * season, 2 * horizon, 24), (room + 1) // 2))
    if by_size:
        # A series too short to give up its end trains with all of it.
        short = trained < lookback + horizon
        if validation > 0 and short.all():
            _refuse_short(panel, lookback, horizon, int(kept[lengths.argmax()]))
        kept = np.where(short, 0, kept)
    if segment_length is None:
        # Equal parts of a season: the same phase stands at the same place of every n-th segment.
        divisors = [n for n in range(4, lookback // 8 + 1) if season % n == 0]
        segment_length = max(divisors, default=max(1, round(lookback**0.5)))
    return Sizes(lookback, segment_length, tuple(int(steps) for steps in kept))


def parts(panel: Panel, validation: Sequence[int]) -> tuple[Part, Part]:
    """Return which steps of each series training and validation windows may forecast."""
    ends = [(len(one), len(one) - kept) for one, kept in zip(panel.series, validation, strict=True)]
    return [(0, border) for _, border in ends], [(border, n) for n, border in ends]


def choose_batch_size(windows: int) -> int:
    """Return a power of two between 16 and 512 that makes about fifty batches or more."""
    return int(min(512, max(16, 2 ** int(np.log2(max(windows, 50) / 50)))))


class ForecastTask:
    """What the training loop asks for.

    Args:
        train: Windows to train on.
        validation: Windows that decide when to stop.
        head: Of the network, for its loss.
        unit: In which losses are measured.
        batch_size: Windows of a batch.
        windows_per_epoch: Windows of an epoch at most; with more, each epoch draws anew.
    """

    def __init__(
        self,
        train: ModelWindows,
        validation: ModelWindows,
        head: AbstractHead,
        unit: Tensor,
        batch_size: int,
        windows_per_epoch: int,
    ) -> None:
        self.train, self.validation, self.head, self.unit = train, validation, head, unit
        self.batch_size, self.windows_per_epoch = batch_size, windows_per_epoch

    def batches(self, epoch: int, generator: torch.Generator) -> Sequence[Tensor]:  # noqa: ARG002
        """Return all windows in random order, or as many as an epoch may have."""
        count = len(self.train)
        if count <= self.windows_per_epoch:
            order = torch.randperm(count, generator=generator)
        else:
            # With repetition: a permutation of a huge panel would cost more than the epoch.
            order = torch.randint(count, (self.windows_per_epoch,), generator=generator)
        return order.split(self.batch_size)

    def loss(self, network: nn.Module, indices: Tensor) -> StepLoss:
        """Return the sum of the loss over the observed values, and their number."""
        batch = self.train.batch(indices, _device(network))
        outputs = network(**batch.inputs)
        loss = self.head.loss(outputs, batch.truth, self.unit.to(outputs.device))
        return StepLoss((loss * batch.mask).sum(), batch.mask.sum().to(loss.dtype))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the loss on the validation windows."""
        device = _device(network)
        total, count = torch.zeros((), dtype=torch.float64), 0
        for indices in self.validation.indices(self.windows_per_epoch):
            batch = self.validation.batch(indices, device)
            outputs = network(**batch.inputs)
            loss = self.head.loss(outputs, batch.truth, self.unit.to(outputs.device))
            total += (loss * batch.mask).sum().double().cpu()
            count += int(batch.mask.sum())
        return {"loss": float(total) / count}


def measure_spread(model: ForecastModel, windows: ModelWindows) -> None:
    """Set the normaliser's typical deviation inside a window, from training windows."""
    square, count = 0.0, 0
    for indices in windows.indices(SAMPLE):
        inputs = windows.batch(indices, torch.device("cpu")).inputs
        deviation = moments(inputs["past_y"], inputs["past_mask"])[1]
        square += float(deviation.double().square().sum())
        count += len(indices)
    # Not 0 for series that never move: windows are divided by it.
    model.network.normaliser.spread.fill_(max((square / count) ** 0.5, LEAST_SPREAD))


def calibrate(model: ForecastModel, windows: ModelWindows, limit: int) -> None:
    """Set the intervals of a point head from its residuals on held-out windows."""
    head = model.network.head
    if not isinstance(head, PointHead):
        return
    residuals, masks = [], []
    with torch.inference_mode():
        for indices in windows.indices(limit):
            batch = windows.batch(indices, torch.device("cpu"))
            outputs = model.network(**batch.inputs)
            scale = model.network.normaliser(batch.inputs["past_y"], batch.inputs["past_mask"])[1]
            residuals.append((batch.truth - outputs[..., 0]) / scale)
            masks.append(batch.mask)
    head.calibrate(torch.cat(residuals), torch.cat(masks))


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _refuse_short(panel: Panel, lookback: int, horizon: int, kept: int) -> None:
    longest = max(panel.series, key=len)
    raise InvalidValueError(
        f"series '{longest.unique_id}', the longest",
        f"at least {lookback + horizon + kept} steps (look-back {lookback}, horizon {horizon},"
        f" validation {kept})",
        f"{len(longest)}",
        "Give longer series, shorten lookback or horizon, or set validation_size to 0.",
    )
