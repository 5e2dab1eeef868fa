"""Choosing the next token from its logits: temperature, the k best, the most probable share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from gatewise.errors import GatewiseError, InvalidSettingsError, InvalidTypeError, InvalidValueError


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    Args:
        temperature: By which logits are divided, ≥ 0; 0 takes the most probable token.
        top_k: Draw from so many of the most probable tokens, ≥ 1; None: from all.
        top_p: Draw from the fewest of the most probable tokens that together have this
            probability, 0 < p ≤ 1 (Holtzman et al. 2020); None: from all.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def check(self, where: str) -> None:
        """Raise one error for all values that are out of range.

        Raises:
            InvalidSettingsError: Some are.
        """
        faults: list[GatewiseError] = []
        if not _is_number(self.temperature) or not 0 <= self.temperature < math.inf:
            got = repr(self.temperature)
            faults.append(InvalidValueError("temperature", "a number ≥ 0", got))
        if self.top_k is not None:
            if not isinstance(self.top_k, int) or isinstance(self.top_k, bool):
                faults.append(InvalidTypeError("top_k", "an integer ≥ 1 or None", repr(self.top_k)))
            elif self.top_k < 1:
                faults.append(InvalidValueError("top_k", "an integer ≥ 1 or None", str(self.top_k)))
        if self.top_p is not None and not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            expected = "a number > 0 and ≤ 1, or None"
            faults.append(InvalidValueError("top_p", expected, repr(self.top_p)))
        InvalidSettingsError.raise_any(where, faults)

    def draw(
        self, logits: Float[Tensor, "B V"], generator: torch.Generator | None
    ) -> Int64[Tensor, "B"]:
        """Return one token of each row.

        Args:
            logits: Of the tokens; −inf for those that must not be drawn.
            generator: What draws; None for torch's default generator.
        """
        if self.temperature == 0:
            return logits.argmax(1)
        scaled = logits.double() / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[1]:
            least = scaled.topk(self.top_k, dim=1).values[:, -1:]
            scaled = scaled.masked_fill(scaled < least, -math.inf)
        shares = scaled.softmax(1)
        if self.top_p is not None:
            ranked, order = shares.sort(dim=1, descending=True)
            # A token stays while those before it have less than p together.
            beyond = ranked.cumsum(1) - ranked >= self.top_p
            shares = shares.masked_fill(beyond.gather(1, order.argsort(1)), 0.0)
        return torch.multinomial(shares, 1, generator=generator)[:, 0]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
