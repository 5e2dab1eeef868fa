"""Wrong versions of recurrent batch norm, which comparisons must reject."""

from __future__ import annotations

import torch

from gatewise.ops.reference import batch_norm, recurrence
from gatewise.ops.reference.batch_norm import BatchNorm
from gatewise.ops.reference.recurrence import Recurrence

CALL, TRACK, OBSERVED, INIT, KNOWN = (
    BatchNorm.__call__,
    BatchNorm._track,
    BatchNorm._observed,
    BatchNorm.__init__,
    BatchNorm._known,
)


def _as_any_step(self, t, place, value, weight, bias):
    self._statistics = self._statistics._replace(alike=False)
    return CALL(self, t, place, value, weight, bias)


def _biased(self, t, place, mean, var, many):
    count = self._valid[t].sum()
    TRACK(self, t, place, mean, var * (count - 1) / count.clamp(min=1), many)


def _at_first(self, t, place, mean, var, many):
    TRACK(self, -self._first_step, place, mean, var, many)


def _late(self, t, place, mean, var, many):
    TRACK(self, t + 1, place, mean, var, many)


def _detached(self, t, place, value, mean, var):
    return tuple(part.detach() for part in OBSERVED(self, t, place, value, mean, var))


def _all_valid(self, statistics, valid, first_step):
    INIT(self, statistics, torch.ones_like(valid), first_step)


def _nothing_known(self, t, place, value):
    return tuple(torch.zeros_like(part) for part in KNOWN(self, t, place, value))


def _as_product(self, product, *norms):
    return torch.stack([self._batch_norm(t, 1, part, *norms) for t, part in enumerate(product)])


WRONG = {
    "another eps": lambda p: p.setattr(batch_norm, "EPS", 2e-5),
    "another momentum": lambda p: p.setattr(batch_norm, "MOMENTUM", 0.11),
    "variance of the population averaged": lambda p: p.setattr(BatchNorm, "_track", _biased),
    "the state's product normalised": lambda p: p.setattr(BatchNorm, "__call__", _as_any_step),
    "one average for all steps": lambda p: p.setattr(BatchNorm, "_track", _at_first),
    "averages one step late": lambda p: p.setattr(BatchNorm, "_track", _late),
    "gradient through the moments missing": lambda p: p.setattr(BatchNorm, "_observed", _detached),
    "moments of the padding as well": lambda p: p.setattr(BatchNorm, "__init__", _all_valid),
    "a lone row by its own moments": lambda p: p.setattr(BatchNorm, "_known", _nothing_known),
    "cell state not normalised": lambda p: p.setattr(
        Recurrence, "_norm_cells", lambda self, c, *norms: c
    ),
    "input by the averages of the product": lambda p: p.setattr(
        Recurrence, "_norm_input", _as_product
    ),
    "layer norm instead": lambda p: p.setattr(
        Recurrence, "_norm_product", lambda self, v, *norms: recurrence._norm(v, *norms)
    ),
}
"""What each does to the reference, given a `pytest.MonkeyPatch`."""
