"""A fitted forecast model: the network, what it knows of its data, and its runs over windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gatewise.data import Panel, PanelScale, PanelSchema, WindowSet
from gatewise.tasks.forecast.network import ForecastNetwork

BATCH = 512
"""Windows that are forecast at once."""

Part = Sequence[tuple[int, int]]
"""For each series the stretch (start, stop) of steps that may be forecast."""


@dataclass
class ForecastModel:
    """A network and the data it belongs to.

    Args:
        network: Trained, in eval mode.
        schema: What the columns mean.
        scale: Centre and scale of series and covariates, from the training rows.
        series: Names of the series that were trained on, in the order of their numbers.
        seasonal_errors: For each of them the unit of MASE; NaN where there is none.
    """

    network: ForecastNetwork
    schema: PanelSchema
    scale: PanelScale
    series: tuple[str, ...]
    seasonal_errors: tuple[float, ...]

    def windows(
        self, panel: Panel, part: Part | None, stride: int = 1, *, allow_short: bool = False
    ) -> ModelWindows:
        """Return windows of a panel whose truth is known.

        Args:
            panel: Any series, in the schema of the model.
            part: Which steps may be forecast; None for all.
            stride: Steps from one window to the next.
            allow_short: Keep windows whose look-back begins before the series.
        """
        shape = self.network.shape
        windows = WindowSet(
            panel,
            shape.lookback,
            shape.horizon,
            origins=part,
            stride=stride,
            allow_short=allow_short,
            scale=self.scale,
        )
        return ModelWindows(panel, windows, self.series)

    def ahead(self, panel: Panel) -> ModelWindows:
        """Return one window for each series, to forecast after its last step."""
        shape = self.network.shape
        windows = WindowSet.ahead(panel, shape.lookback, shape.horizon, scale=self.scale)
        return ModelWindows(panel, windows, self.series)

    def outputs(
        self, windows: ModelWindows, indices: Int[Tensor, "N"]
    ) -> Float[np.ndarray, "N h P"]:
        """Return the network's outputs for some windows, in the units of y.

        Args:
            windows: From ``windows`` or ``ahead``.
            indices: Which of them.
        """
        device = next(self.network.parameters()).device
        batch = windows.batch(indices, device)
        with torch.inference_mode():
            outputs = self.network(**batch.inputs)
        return self.decoded(outputs, batch.center, batch.scale)

    def decoded(
        self,
        outputs: Float[Tensor, "N h P"],
        center: Float[np.ndarray, "N"],
        scale: Float[np.ndarray, "N"],
    ) -> Float[np.ndarray, "N h P"]:
        """Return outputs of the network in the units of y and in double precision."""
        return self.network.head.rescaled(outputs.double().cpu().numpy(), center, scale)


@dataclass(frozen=True)
class ModelBatch:
    """N windows.

    Args:
        inputs: The arguments of the network by name.
        truth: On the scale of the series, 0 where it is unknown, N×h.
        mask: Where it is known, N×h.
        series: Number of each series in the panel, N.
        origin: First step to forecast in it, N.
        center: Centre of each series, N.
        scale: Scale of each series, N.
    """

    inputs: dict[str, Tensor]
    truth: Float[Tensor, "N h"]
    mask: Bool[Tensor, "N h"]
    series: Int[np.ndarray, "N"]
    origin: Int[np.ndarray, "N"]
    center: Float[np.ndarray, "N"]
    scale: Float[np.ndarray, "N"]


class ModelWindows:
    """Windows of a panel, with series numbered as the model numbers them.

    Args:
        panel: The series.
        windows: Their windows.
        known: Names of the model's series.
    """

    def __init__(self, panel: Panel, windows: WindowSet, known: Sequence[str]) -> None:
        self.panel, self.set = panel, windows
        number = {name: k for k, name in enumerate(known)}
        numbers = [number.get(series.unique_id, -1) for series in panel.series]
        self._numbers = torch.tensor(numbers, dtype=torch.int64)
        lengths = np.array([len(series.y) for series in panel.series], dtype=np.int64)
        self._lengths, self._starts = lengths, np.cumsum(lengths) - lengths
        self._y = np.concatenate([series.y for series in panel.series])

    def __len__(self) -> int:
        return len(self.set)

    def indices(self, limit: int | None = None) -> Iterator[Int[Tensor, "N"]]:
        """Yield all windows in order, or ``limit`` of them evenly spread, in batches."""
        count = len(self)
        if limit is None or limit >= count:
            chosen = torch.arange(count)
        else:
            chosen = torch.linspace(0, count - 1, limit, dtype=torch.float64).round().long()
        yield from chosen.split(BATCH)

    def batch(self, indices: Int[Tensor, "N"], device: torch.device) -> ModelBatch:
        """Return some windows.

        Args:
            indices: Which of them.
            device: Where the network is.
        """
        batch = self.set.gather(indices)
        inputs = {
            "past_y": batch.past_y,
            "past_mask": batch.past_mask,
            "past_x": batch.past_x,
            "future_x": batch.future_x,
            "static_x": batch.static_x,
            "series": self._numbers[batch.series],
        }
        return ModelBatch(
            {name: tensor.to(device) for name, tensor in inputs.items()},
            batch.future_y.to(device),
            batch.future_mask.to(device),
            batch.series.numpy(),
            batch.origin.numpy(),
            batch.center.numpy(),
            batch.scale.numpy(),
        )

    def places(
        self, indices: Int[Tensor, "N"]
    ) -> tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"]]:
        """Return the number of the series in the panel and the origin of some windows."""
        return self.set.series[indices].numpy(), self.set.origin[indices].numpy()

    def truth(self, indices: Int[Tensor, "N"]) -> Float[np.ndarray, "N h"]:
        """Return the values to forecast as the user gave them; NaN where they are unknown."""
        series, origin = self.places(indices)
        step = origin[:, None] + np.arange(self.set.horizon)
        inside = step < self._lengths[series][:, None]
        place = self._starts[series][:, None] + np.where(inside, step, 0)
        return np.where(inside, self._y[place], np.nan)
