"""Training windows over a panel: which there are, and their values as batches of tensors.

All series lie in flat tensors, one after another, each in a block of its own with room before it
(for look-backs that begin before the series) and after it (for a horizon that is not known yet).
A window is then one contiguous stretch, and a batch is one gather per tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from gatewise.data.panel import Panel
from gatewise.data.scaling import PanelScale
from gatewise.errors import InvalidValueError


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """N windows of L steps of look-back and h steps of horizon.

    Targets are ``(y - center) / scale`` with constants of the series (``PanelScale``), taken off
    in float64; ``value * scale + center`` gives the units back. What is missing is 0 in the values
    and False in the masks. Covariates are standardised by column; missing ones are 0, the mean.

    Args:
        past_y: Target before the origin, N x L.
        past_mask: Where it is observed, N x L.
        past_x: Past covariates, N x L x Kp.
        future_x: Known-future covariates of look-back and horizon, N x (L+h) x Kf.
        static_x: Static covariates, N x Ks.
        future_y: Target from the origin on, N x h.
        future_mask: Where it is observed, N x h.
        series: Number of the series in the panel, N.
        origin: Step of the first forecast, N.
        center: Centre of the series, N.
        scale: Scale of the series, N.
    """

    past_y: Float32[Tensor, "N L"]
    past_mask: Bool[Tensor, "N L"]
    past_x: Float32[Tensor, "N L Kp"]
    future_x: Float32[Tensor, "N W Kf"]
    static_x: Float32[Tensor, "N Ks"]
    future_y: Float32[Tensor, "N h"]
    future_mask: Bool[Tensor, "N h"]
    series: Int64[Tensor, "N"]
    origin: Int64[Tensor, "N"]
    center: Float64[Tensor, "N"]
    scale: Float64[Tensor, "N"]

    def __len__(self) -> int:
        return len(self.series)

    def to(self, device: torch.device | str) -> WindowBatch:
        """Return the same windows on a device."""
        return WindowBatch(*(getattr(self, entry.name).to(device) for entry in fields(self)))


class WindowSet:
    """All windows of a panel that can be used, in order of series and time.

    The window at origin ``o`` of a series reads the steps [o - lookback, o) and forecasts
    [o, o + horizon). It is used if both parts have at least one observed value; ``left_out``
    counts those that have not.

    Args:
        panel: The series.
        lookback: Steps read, L ≥ 1.
        horizon: Steps forecast, h ≥ 1.
        origins: For each series, the stretch (start, stop) of steps that may be *forecast*:
            start ≤ o and o + horizon ≤ stop. The look-back may begin before start. None: all.
        stride: Distance between the origins of neighbouring windows.
        allow_short: Keep windows whose look-back begins before the series: the steps that do not
            exist are masked.
        require_truth: Whether the horizon needs an observed value. Without, it may also reach
            beyond the last step.
        scale: Constants from ``Panel.fit_scale``; None: of the whole panel.

    Raises:
        InvalidValueError: If there is no window at all.
    """

    def __init__(
        self,
        panel: Panel,
        lookback: int,
        horizon: int,
        *,
        origins: Sequence[tuple[int, int]] | None = None,
        stride: int = 1,
        allow_short: bool = False,
        require_truth: bool = True,
        scale: PanelScale | None = None,
    ) -> None:
        for name, value in (("lookback", lookback), ("horizon", horizon), ("stride", stride)):
            if value < 1:
                raise InvalidValueError(name, "at least 1", str(value))
        self._load(panel, lookback, horizon, scale or panel.fit_scale())
        ends = [len(one) + (0 if require_truth else horizon) for one in panel.series]
        spans = [(0, end) for end in ends] if origins is None else list(origins)
        if len(spans) != len(ends):
            count = f"one (start, stop) for each of {len(ends)} series"
            raise InvalidValueError("origins", count, str(len(spans)))
        lowest = 1 if allow_short else lookback
        candidates = [
            np.arange(max(start, lowest), min(stop, end) - horizon + 1, stride)
            for end, (start, stop) in zip(ends, spans, strict=True)
        ]
        series = np.repeat(np.arange(len(candidates)), [len(c) for c in candidates])
        origin = np.concatenate(candidates).astype(np.int64)
        middle = self._base[series] + origin
        observed = np.concatenate([[0], np.cumsum(self._mask.numpy())])
        usable = observed[middle] > observed[middle - lookback]
        if require_truth:
            usable &= observed[middle + horizon] > observed[middle]
        self.left_out = int((~usable).sum())
        self.series = torch.from_numpy(series[usable])
        self.origin = torch.from_numpy(origin[usable])
        self._starts = torch.from_numpy(middle[usable] - lookback)
        if len(self) == 0:
            longest = max(panel.series, key=len)
            raise InvalidValueError(
                "windows", f"at least one of {lowest + horizon} steps with values before and after "
                f"its origin (look-back {lookback}, horizon {horizon}, stretches {spans[:3]} …)",
                f"none; the longest series, {longest.unique_id!r}, has {len(longest)} steps",
                "Give longer series, or shorten the look-back or the horizon.",
            )  # fmt: skip

    @classmethod
    def ahead(
        cls, panel: Panel, lookback: int, horizon: int, *, scale: PanelScale | None = None
    ) -> WindowSet:
        """Return one window per series, for forecasting after its last step.

        Look-backs longer than the series are masked where it has no steps. ``future_mask`` is
        False throughout.

        Args:
            panel: The series, S.
            lookback: Steps read.
            horizon: Steps forecast.
            scale: Constants from training; None: of the whole panel.

        Returns:
            S windows, in the order of the series.

        Raises:
            InvalidValueError: If a known-future covariate does not reach over the horizon.
        """
        windows = cls(
            panel.extend(horizon), lookback, horizon,
            origins=[(len(one), len(one) + horizon) for one in panel.series],
            allow_short=True, require_truth=False, scale=scale,
        )  # fmt: skip
        if len(windows) < len(panel.series):
            lost = set(range(len(panel.series))) - set(windows.series.tolist())
            name = panel.series[min(lost)].unique_id
            raise InvalidValueError(
                f"series {name!r}", "an observed target to forecast from", "none",
                "Remove the series.",
            )  # fmt: skip
        return windows

    def __len__(self) -> int:
        return len(self.series)

    def gather(self, indices: Int64[Tensor, "N"]) -> WindowBatch:
        """Return windows by their numbers.

        Args:
            indices: Numbers in [0, len(self)), N.

        Returns:
            Their values, N windows.
        """
        L, W = self.lookback, self.lookback + self.horizon
        series, starts = self.series[indices], self._starts[indices]
        y = self._y.unfold(0, W, 1)[starts]
        mask = self._mask.unfold(0, W, 1)[starts]
        return WindowBatch(
            y[:, :L],
            mask[:, :L],
            _rows(self._past, starts, L),
            _rows(self._future, starts, W),
            self._static[series],
            y[:, L:],
            mask[:, L:],
            series,
            self.origin[indices],
            self._center[series],
            self._scale[series],
        )

    def _load(self, panel: Panel, lookback: int, horizon: int, scale: PanelScale) -> None:
        """Lay the scaled series into flat tensors."""
        self.panel, self.lookback, self.horizon = panel, lookback, horizon
        pairs = np.array([scale.of(one) for one in panel.series])
        sizes = [lookback + max(len(one) + horizon, len(one.future)) for one in panel.series]
        blocks = np.concatenate([[0], np.cumsum(sizes)])
        self._base = blocks[:-1] + lookback  # the flat place of step 0 of each series
        total = int(blocks[-1])
        y = np.full(total, np.nan)
        past = np.full((total, len(panel.past_names)), np.nan)
        future = np.full((total, len(panel.future_names)), np.nan)
        for one, base, pair in zip(panel.series, self._base, pairs, strict=True):
            y[base : base + len(one)] = _scaled(one.y[:, None], [tuple(pair)])[:, 0]
            past[base : base + len(one)] = _scaled(one.past, scale.past)
            future[base : base + len(one.future)] = _scaled(one.future, scale.future)
        static = _scaled(np.stack([one.static for one in panel.series]), scale.static)
        self._mask = torch.from_numpy(~np.isnan(y))
        self._y, self._past = _tensor(y, "target"), _tensor(past, "past covariates")
        self._future = _tensor(future, "known-future covariates")
        self._static = _tensor(static, "static covariates")
        self._center, self._scale = torch.from_numpy(pairs).unbind(1)


def _scaled(values: np.ndarray, pairs: Sequence[tuple[float, float]]) -> np.ndarray:
    """Standardise the columns of N x K."""
    center, scale = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    with np.errstate(over="ignore"):  # infinities are refused together, in _tensor
        return (values - center) / scale


def _tensor(values: np.ndarray, what: str) -> Tensor:
    """Return float32 with 0 for NaN."""
    values = np.where(np.isnan(values), 0.0, values)
    largest = float(np.abs(values).max(initial=0.0))
    if largest > float(np.finfo(np.float32).max):
        raise InvalidValueError(
            what, "values of the size of those in training", f"one {largest:.0e} times as large",
            "Check the units.",
        )  # fmt: skip
    return torch.from_numpy(values.astype(np.float32))


def _rows(flat: Tensor, starts: Tensor, steps: int) -> Tensor:
    """Gather N stretches of ``steps`` rows of M x K: N x steps x K."""
    width = flat.shape[1]
    if width == 0:
        return flat.new_empty(len(starts), steps, 0)
    # One flat stretch per window copies rows whole; unfolding M x K would transpose each.
    return flat.view(-1).unfold(0, steps * width, width)[starts].view(-1, steps, width)
