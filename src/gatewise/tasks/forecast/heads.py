"""What a forecast is: one value, quantiles, or a Student-t distribution, for each step ahead.

A head turns the last linear map's values into parameters, gives the training loss, and reads
forecasts, intervals and scores from the parameters. What the intervals of the point head need
beyond the window (its residuals) lies in buffers, so that the network is complete.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from typing_extensions import override

from gatewise.tasks.forecast import student_t

Head = Literal["point", "quantiles", "student_t"]
Loss = Literal["mse", "mae", "huber"]

_MIN_DF, _MAX_DF = 2.01, 1000.0
"""Range of the degrees of freedom: the variance exists, and the top is nearly normal."""


class AbstractHead(nn.Module):
    """The face of every head.

    Args:
        levels: Nominal coverages of the intervals, in per cent.
    """

    channels: int
    """C values that the network gives for each step ahead."""

    def __init__(self, levels: Sequence[float]) -> None:
        super().__init__()
        self.levels = tuple(levels)

    @abstractmethod
    def forward(
        self,
        raw: Float[Tensor, "N h C"],
        offset: Float[Tensor, "N 1"],
        scale: Float[Tensor, "N 1"],
    ) -> Float[Tensor, "N h P"]:
        """Return P parameters on the scale of the series, from values on that of the window."""

    @abstractmethod
    def loss(
        self,
        outputs: Float[Tensor, "N h P"],
        truth: Float[Tensor, "N h"],
        unit: Float[Tensor, ""],
    ) -> Float[Tensor, "N h"]:
        """Return the training loss of every value, measured in ``unit``."""

    def rescaled(
        self,
        outputs: Float[np.ndarray, "N h P"],
        center: Float[np.ndarray, "N"],
        scale: Float[np.ndarray, "N"],
    ) -> Float[np.ndarray, "N h P"]:
        """Return the parameters of the forecast of ``center + scale · y``."""
        return center[:, None, None] + scale[:, None, None] * outputs

    @abstractmethod
    def forecast(self, outputs: Float[np.ndarray, "N h P"]) -> Float[np.ndarray, "N h"]:
        """Return the one value to expect."""

    @abstractmethod
    def intervals(
        self, outputs: Float[np.ndarray, "N h P"]
    ) -> dict[float, tuple[Float[np.ndarray, "N h"], Float[np.ndarray, "N h"]]]:
        """Return the lower and the upper end for each nominal coverage in per cent."""

    def extra_columns(
        self,
        outputs: Float[np.ndarray, "N h P"],  # noqa: ARG002 - other heads read it
    ) -> dict[str, Float[np.ndarray, "N h"]]:
        """Return further columns of a forecast by name."""
        return {}

    def crps(
        self,
        outputs: Float[np.ndarray, "N h P"],  # noqa: ARG002 - other heads read it
        truth: Float[np.ndarray, "N h"],  # noqa: ARG002
    ) -> Float[np.ndarray, "N h"] | None:
        """Return the continuous ranked probability score of every value; None without one."""
        return None


class PointHead(AbstractHead):
    """One value a step; intervals come from the residuals on held-out windows.

    Args:
        loss: ``mse``, ``mae`` or ``huber`` (quadratic within one unit of scale).
        levels: Nominal coverages of the intervals, in per cent.
        horizon: h steps ahead, each with residuals of its own.
    """

    channels = 1
    low: Tensor
    high: Tensor

    def __init__(self, loss: Loss, levels: Sequence[float], horizon: int) -> None:
        super().__init__(levels)
        self.criterion = loss
        self.register_buffer("low", torch.zeros(horizon, len(self.levels)))
        self.register_buffer("high", torch.zeros(horizon, len(self.levels)))

    @override
    def forward(self, raw: Tensor, offset: Tensor, scale: Tensor) -> Tensor:
        forecast = offset[..., None] + scale[..., None] * raw
        if self.training:  # nothing is learned from intervals
            return forecast
        ends = torch.stack([self.low, self.high], -1).flatten(1)
        return torch.cat([forecast, forecast + scale[..., None] * ends], -1)

    @override
    def loss(self, outputs: Tensor, truth: Tensor, unit: Tensor) -> Tensor:
        error = (outputs[..., 0] - truth) / unit
        if self.criterion == "mse":
            return error.square()
        if self.criterion == "mae":
            return error.abs()
        return F.huber_loss(error, torch.zeros_like(error), reduction="none")

    @override
    def forecast(self, outputs: np.ndarray) -> np.ndarray:
        return outputs[..., 0]

    @override
    def intervals(self, outputs: np.ndarray) -> dict[float, tuple[np.ndarray, np.ndarray]]:
        return {
            level: (outputs[..., 1 + 2 * k], outputs[..., 2 + 2 * k])
            for k, level in enumerate(self.levels)
        }

    def calibrate(self, residuals: Float[Tensor, "N h"], mask: Bool[Tensor, "N h"]) -> None:
        """Set the intervals from residuals, as split conformal prediction does.

        For each step ahead and each level 1 - α, the ends are the α/2 and 1 - α/2 quantiles of
        truth - forecast, with the rank raised by one for the value to come (Vovk, Gammerman &
        Shafer, "Algorithmic Learning in a Random World", 2005). With too few residuals for the
        rank, the most extreme one stands.

        Args:
            residuals: (truth - forecast) / scale of N held-out windows.
            mask: Where the truth was observed.
        """
        for step in range(residuals.shape[1]):
            known = residuals[:, step][mask[:, step]].sort().values
            count = len(known)
            if count == 0:
                continue
            for k, level in enumerate(self.levels):
                rank = math.ceil((count + 1) * (1 + level / 100) / 2)
                rank = min(rank, count)
                self.high[step, k] = known[rank - 1]
                self.low[step, k] = known[count - rank]


class QuantileHead(AbstractHead):
    """Quantiles that cannot cross: the median, and positive distances from each to the next.

    Args:
        quantiles: Levels in (0, 1), ascending, 0.5 among them.
        levels: Nominal coverages in per cent; those whose two ends are among the quantiles.
    """

    def __init__(self, quantiles: Sequence[float], levels: Sequence[float]) -> None:
        known = [level for level in levels if _ends(level, quantiles) is not None]
        super().__init__(known)
        self.quantiles = tuple(quantiles)
        self.middle = self.quantiles.index(0.5)
        self.channels = len(self.quantiles)

    @override
    def forward(self, raw: Tensor, offset: Tensor, scale: Tensor) -> Tensor:
        median = raw[..., self.middle : self.middle + 1]
        # Minus one: neighbouring quantiles start a third of a scale apart.
        above = F.softplus(raw[..., self.middle + 1 :] - 1).cumsum(-1)
        below = F.softplus(raw[..., : self.middle] - 1).flip(-1).cumsum(-1).flip(-1)
        values = torch.cat([median - below, median, median + above], -1)
        return offset[..., None] + scale[..., None] * values

    @override
    def loss(self, outputs: Tensor, truth: Tensor, unit: Tensor) -> Tensor:
        level = torch.tensor(self.quantiles, dtype=outputs.dtype, device=outputs.device)
        error = (truth[..., None] - outputs) / unit
        return torch.maximum(level * error, (level - 1) * error).mean(-1)

    @override
    def forecast(self, outputs: np.ndarray) -> np.ndarray:
        return outputs[..., self.middle]

    @override
    def intervals(self, outputs: np.ndarray) -> dict[float, tuple[np.ndarray, np.ndarray]]:
        found = {level: _ends(level, self.quantiles) for level in self.levels}
        return {
            level: (outputs[..., ends[0]], outputs[..., ends[1]])
            for level, ends in found.items()
            if ends is not None
        }

    @override
    def extra_columns(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {f"q_{level:g}": outputs[..., k] for k, level in enumerate(self.quantiles)}

    @override
    def crps(self, outputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Twice the integral of the pinball loss over all levels, each standing for its part."""
        level = np.array(self.quantiles)
        borders = np.concatenate([[0.0], (level[1:] + level[:-1]) / 2, [1.0]])
        error = truth[..., None] - outputs
        return 2 * (np.maximum(level * error, (level - 1) * error) * np.diff(borders)).sum(-1)


class StudentTHead(AbstractHead):
    """Degrees of freedom, location and scale, trained on the likelihood.

    Args:
        levels: Nominal coverages of the intervals, in per cent.
    """

    channels = 3

    @override
    def forward(self, raw: Tensor, offset: Tensor, scale: Tensor) -> Tensor:
        df = (_MIN_DF + 2 * F.softplus(raw[..., 0] + 2)).clamp(max=_MAX_DF)
        location = offset + scale * raw[..., 1]
        spread = scale * (F.softplus(raw[..., 2]) + 1e-4)
        return torch.stack([df, location, spread], -1)

    @override
    def loss(self, outputs: Tensor, truth: Tensor, unit: Tensor) -> Tensor:
        df, location, spread = outputs.unbind(-1)
        z = (truth - location) / spread
        constant = torch.lgamma(df / 2) - torch.lgamma((df + 1) / 2) + 0.5 * torch.log(df * math.pi)
        return constant + torch.log(spread / unit) + (df + 1) / 2 * torch.log1p(z.square() / df)

    @override
    def rescaled(self, outputs: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
        df, location, spread = np.moveaxis(outputs, -1, 0)
        center, scale = center[:, None], scale[:, None]
        return np.stack([df, center + scale * location, scale * spread], -1)

    @override
    def forecast(self, outputs: np.ndarray) -> np.ndarray:
        return outputs[..., 1]

    @override
    def intervals(self, outputs: np.ndarray) -> dict[float, tuple[np.ndarray, np.ndarray]]:
        df, location, spread = np.moveaxis(outputs, -1, 0)
        reach = {level: student_t.quantile(0.5 + level / 200, df) for level in self.levels}
        return {level: (location - spread * z, location + spread * z) for level, z in reach.items()}

    @override
    def crps(self, outputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
        df, location, spread = np.moveaxis(outputs, -1, 0)
        return spread * student_t.crps((truth - location) / spread, df)


def build_head(
    head: Head, loss: Loss, quantiles: Sequence[float], levels: Sequence[float], horizon: int
) -> AbstractHead:
    """Return the head of that name.

    Args:
        head: ``point``, ``quantiles`` or ``student_t``.
        loss: Of the point head.
        quantiles: Of the quantile head.
        levels: Nominal coverages of the intervals, in per cent.
        horizon: h steps ahead.
    """
    if head == "point":
        return PointHead(loss, levels, horizon)
    if head == "quantiles":
        return QuantileHead(quantiles, levels)
    return StudentTHead(levels)


def _ends(level: float, quantiles: Sequence[float]) -> tuple[int, int] | None:
    """Where among the quantiles the two ends of an interval stand."""
    tail = (1 - level / 100) / 2
    low = [k for k, quantile in enumerate(quantiles) if math.isclose(quantile, tail)]
    high = [k for k, quantile in enumerate(quantiles) if math.isclose(quantile, 1 - tail)]
    return (low[0], high[0]) if low and high else None
