"""Wrong versions of what options do, which comparisons must reject.

Each is a change of the options, of a weight, or of what a cell sees of its layer, in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch.nn.functional as F
from torch import Tensor

from gatewise.ops.reference import recurrence
from gatewise.ops.reference.recurrence import Recurrence

from .layer_case import Layer, reference_of

LN = recurrence._norm


def wrong_options(cell: str) -> dict[str, Layer]:
    """Return layers with options gone wrong, by what is wrong with them."""
    wrong = {
        "update dropout ignored": _changed(cell, update_dropout=0.0),
        "recurrent dropout ignored": _changed(cell, recurrent_dropout=0.0),
        "recurrent dropout of another chance": _changed(cell, recurrent_dropout=0.41),
        "zoneout of h ignored": _changed(cell, zoneout_h=0.0),
        "masks of another layer": _changed(cell, stream=6),
        "masks one step late": _changed(cell, first_step=1),
        "masks of another seed": _with_seed(cell, lambda seed: seed + 1),
        "expectations instead of draws": _with_seed(cell, lambda seed: None),
        "recurrent mask drawn anew in each step": _patched(cell, product=_anew),
        "recurrent mask without its scale": _patched(cell, product=_unscaled),
        "update mask without its scale": _patched(cell, candidate=_unscaled_candidate),
        "zoneout the other way round": _patched(cell, zoneout=_inverted_zoneout),
        "norms of the products with another eps": _patched(cell, norm=_other_eps),
        "norms of each gate apart": _patched(cell, norm=_norm_each),
        "variance of a sample": _patched(cell, norm=_sample_norm),
        "norms without their bias": _patched(cell, norm=lambda v, w, b: LN(v, w, 0 * b)),
        "norms without their weight": _patched(cell, norm=lambda v, w, b: LN(v, 0 * w + 1, b)),
        "gradient through the norm's moments missing": _patched(cell, norm=_detached_norm),
        "norm of the sum of the products": _patched(cell, product=_norm_of_sum),
    }
    if cell == "gru":
        return wrong
    return wrong | {
        "zoneout of c ignored": _changed(cell, zoneout_c=0.0),
        "zoneouts swapped": _changed(cell, zoneout_c=0.3, zoneout_h=0.2),
        "no limit": _changed(cell, cell_clip=0.0),
        "gradient through the limit": _patched(cell, clip=_straight_clip),
        "another activation": _changed(cell, activation="hardtanh"),
        "another gate activation": _changed(cell, gate_activation="hardsigmoid"),
        "peepholes reversed": _patched(cell, peephole=_reversed_peephole),
        "peepholes ignored": _patched(cell, peephole=lambda self, gate, c: 0.0 * c),
        "gradient of peepholes missing": _patched(cell, peephole=_detached_peephole),
        "gradient through peepholes to c missing": _patched(cell, peephole=_peephole_of_detached),
        "cell state not normalised": _patched(cell, leave=lambda self, c: self.activation(c)),
        "cell state normalised before the step after": _patched(cell, clip=_normalised_state),
    }


def _changed(cell: str, **options: Any) -> Layer:
    def layer(*arguments, **named):
        named["options"] = named["options"]._replace(**options)
        return reference_of(cell)(*arguments, **named)

    return layer


def _with_seed(cell: str, change: Callable[[Tensor], Tensor | None]) -> Layer:
    def layer(*arguments, **named):
        return reference_of(cell)(*arguments, **named | {"seed": change(named["seed"])})

    return layer


def _patched(cell: str, norm: Any = None, **methods: Any) -> Layer:
    """Return the reference with methods of `Recurrence`, or its norm, replaced."""

    def layer(*arguments, **named):
        with _replaced(norm, methods):
            return reference_of(cell)(*arguments, **named)

    return layer


@contextmanager
def _replaced(norm: Any, methods: dict[str, Any]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if norm is not None:
            patch.setattr(recurrence, "_norm", norm)
        for name, method in methods.items():
            patch.setattr(Recurrence, name, method)
        yield


PRODUCT, ZONEOUT, PEEPHOLE, CLIP = (
    Recurrence.product,
    Recurrence.zoneout,
    Recurrence.peephole,
    Recurrence.clip,
)


def _anew(self: Any, h: Tensor) -> Tensor:
    self._steps = getattr(self, "_steps", 0) + 1
    return PRODUCT(self, h.roll(self._steps, 0)).roll(-self._steps, 0)


def _unscaled(self: Any, h: Tensor) -> Tensor:
    return PRODUCT(self, h * (1 - self.options.recurrent_dropout))


def _unscaled_candidate(self: Any, g: Tensor) -> Tensor:
    return g * self._keep_candidate * (1 - self.options.update_dropout)


def _inverted_zoneout(self: Any, new: Any, old: Any) -> Any:
    return ZONEOUT(self, old, new)


def _other_eps(value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(value, value.shape[-1:], weight, bias, eps=2e-5)


def _norm_each(value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    width = value.shape[-1]
    parts = value.unflatten(-1, (next(n for n in (4, 3, 1) if width % n == 0), -1))
    return F.layer_norm(parts, parts.shape[-1:], eps=1e-5).flatten(-2) * weight + bias


def _sample_norm(value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    spread = (value.var(-1, keepdim=True) + 1e-5).sqrt()
    return (value - value.mean(-1, keepdim=True)) / spread * weight + bias


def _detached_norm(value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    fixed = value.detach()
    spread = (fixed.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    return (value - fixed.mean(-1, keepdim=True)) / spread * weight + bias


def _norm_of_sum(self: Any, h: Tensor) -> Tensor:
    return LN(PRODUCT(self, h), *self.weights.norms[2:4])


def _straight_clip(self: Any, c: Tensor) -> Tensor:
    return c + (CLIP(self, c) - c).detach()


def _normalised_state(self: Any, c: Tensor) -> Tensor:
    return LN(CLIP(self, c), *self.weights.norms[4:])


def _reversed_peephole(self: Any, gate: int, c: Tensor) -> Tensor:
    return self.weights.peephole.unflatten(0, (-1, self.hidden))[-1 - gate] * c


def _detached_peephole(self: Any, gate: int, c: Tensor) -> Tensor:
    return self.weights.peephole.detach().unflatten(0, (-1, self.hidden))[gate] * c


def _peephole_of_detached(self: Any, gate: int, c: Tensor) -> Tensor | float:
    return PEEPHOLE(self, gate, c.detach())
