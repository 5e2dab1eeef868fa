"""What a cell sees of the layer that it runs in: weights, functions, norms and masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.errors import InvalidValueError
from gatewise.ops.reference.batch_norm import BatchNorm
from gatewise.ops.reference.options import CellOptions
from gatewise.ops.reference.philox import PER_SEQUENCE, dropout_mask, hits, philox
from gatewise.ops.reference.rounding import gradient_rounded, rounded
from gatewise.ops.reference.weights import Weights


class Recurrence:
    """One direction of a layer, as its cell sees it in one step.

    A cell takes `product` of h instead of multiplying itself, `candidate` round its candidate,
    `activation` and `gate` for its functions: then it has every option.

    Args:
        weights: Of the direction.
        options: Of the cell.
        seed: Of the masks, int64 with one element, or None for none.
        stream: Of the masks, the direction included.
        batch: B.
        width: P, the width of h.
        batch_norm: What normalises over the batch, with that option.
    """

    def __init__(
        self,
        weights: Weights,
        options: CellOptions,
        *,
        seed: Tensor | None,
        stream: int,
        batch: int,
        width: int,
        batch_norm: BatchNorm | None = None,
    ) -> None:
        self.weights = weights
        self.options = options
        self._batch_norm = batch_norm
        self._step = 0
        self._seed, self._stream, self._batch, self._width = seed, stream, batch, width
        self.activation = function(options.activation)
        """The function of candidates and of the cell state."""
        self.gate = function(options.gate_activation)
        """The function of gates."""
        self._keep_h: Tensor | None = None
        self._keep_candidate: Tensor | None = None
        self._stays: list[Tensor | float] = []
        if seed is not None and options.recurrent_dropout:
            self._keep_h = self._mask(PER_SEQUENCE, 0, options.recurrent_dropout, width)

    def enter(self, t: int) -> None:
        """Go to time step ``t``: what follows uses its masks and its norms."""
        self._step = t
        options, seed = self.options, self._seed
        if not options.masked:
            return
        chances = (options.zoneout_h, options.zoneout_c)
        if seed is None:
            self._stays = list(chances)
            return
        hidden = self.hidden
        step, widths = options.first_step + t, (self._width, hidden)
        like = self.weights.w_ih
        if options.update_dropout:
            self._keep_candidate = self._mask(step, 0, options.update_dropout, hidden)
        self._stays = [
            hits(philox(seed, self._stream, step, self._batch, width)[word], chance).to(like)
            if chance
            else 0.0
            for word, chance, width in zip((2, 1), chances, widths, strict=True)
        ]

    @property
    def hidden(self) -> int:
        """H."""
        w_hr = self.weights.w_hr
        return self._width if w_hr is None else w_hr.shape[1]

    def input_product(self, x: Tensor) -> Tensor:
        """W_ih·x, normalised if asked for, with all its biases: T×B×G·H."""
        weights = self.weights
        return self._linear(x, weights.w_ih, weights.b_ih, weights.norms[:2], self._norm_input)

    def product(self, h: Tensor, gates: slice | None = None) -> Tensor:
        """W_hh·h, masked and normalised if asked for, with all its biases: B×G·H.

        ``gates`` takes some of them, which are then normalised together.
        """
        weights = self.weights
        w_hh, b_hh, norms = weights.w_hh, weights.b_hh, weights.norms[2:4]
        if gates is not None:
            rows = slice(gates.start * self.hidden, gates.stop * self.hidden)
            w_hh, b_hh = w_hh[rows], None if b_hh is None else b_hh[rows]
            norms = tuple(part[rows] for part in norms)
        if self._keep_h is not None:
            h = h * self._keep_h
        return self._linear(h, w_hh, b_hh, norms, self._norm_product)

    def _linear(
        self,
        value: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        norms: Sequence[Tensor],
        norm: Callable[..., Tensor],
    ) -> Tensor:
        bf16, inside = self.options.bf16, None if norms else bias
        if bf16:
            value, weight = rounded(value), rounded(weight)
        product = F.linear(value, weight, inside)
        if bf16:
            product = gradient_rounded(product)
        return _plus(norm(product, *norms), bias) if norms else product

    def _norm_input(self, product: Tensor, *norms: Tensor) -> Tensor:
        norm = self._batch_norm
        if norm is None:
            return _norm(product, *norms)
        return torch.stack([norm(t, 0, part, *norms) for t, part in enumerate(product)])

    def _norm_product(self, product: Tensor, *norms: Tensor) -> Tensor:
        norm = self._batch_norm
        return norm(self._step, 1, product, *norms) if norm else _norm(product, *norms)

    def _norm_cells(self, c: Tensor, *norms: Tensor) -> Tensor:
        norm = self._batch_norm
        return norm(self._step, 2, c, *norms) if norm else _norm(c, *norms)

    def candidate(self, g: Tensor) -> Tensor:
        """The candidate with its dropout."""
        return g if self._keep_candidate is None else g * self._keep_candidate

    def peephole(self, gate: int, c: Tensor) -> Tensor | float:
        """What gate number ``gate`` (the candidate not counted) sees of the cell state."""
        weights = self.weights.peephole
        return 0.0 if weights is None else weights.unflatten(0, (-1, self.hidden))[gate] * c

    def clip(self, c: Tensor) -> Tensor:
        """The cell state within its limit."""
        limit = self.options.cell_clip
        return c.clamp(-limit, limit) if limit else c

    def leave(self, c: Tensor) -> Tensor:
        """The function of the cell state on its way out, normalised if asked for."""
        norms = self.weights.norms
        return self.activation(self._norm_cells(c, *norms[4:]) if norms else c)

    def zoneout(self, new: Sequence[Tensor], old: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The state after the step: some of it, or in expectation, stays what it was."""
        if not (self.options.zoneout_c or self.options.zoneout_h):
            return tuple(new)
        stays = [self._stays[0], *[self._stays[1]] * (len(new) - 1)]
        return tuple(
            after if isinstance(stay, float) and not stay else stay * before + (1 - stay) * after
            for stay, after, before in zip(stays, new, old, strict=True)
        )

    def _mask(self, step: int, word: int, probability: float, width: int) -> Tensor:
        assert self._seed is not None  # noqa: S101 - whoever asks has looked
        mask = dropout_mask(self._seed, self._stream, step, word, probability, self._batch, width)
        return mask.to(self.weights.w_ih)


def function(name: str) -> Callable[[Tensor], Tensor]:
    """Return a function of torch's by its name.

    Raises:
        InvalidValueError: There is none of that name.
    """
    found: Any = _OWN.get(name) or getattr(torch, name, None) or getattr(F, name, None)
    if not callable(found):
        raise InvalidValueError("activation", "the name of a function of torch's", repr(name))
    return cast("Callable[[Tensor], Tensor]", found)


# torch's has 1 / 6 in float32, in every dtype.
_OWN = {"hardsigmoid": lambda z: F.relu6(z + 3) / 6}


def _norm(value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(value, value.shape[-1:], weight, bias, eps=1e-5)


def _plus(value: Tensor, bias: Tensor | None) -> Tensor:
    return value if bias is None else value + bias
