"""What a frozen layer holds, and how it knows that its weights are still those it has packed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor

from gatewise.errors import InvalidStateError
from gatewise.ops.packed import PackedWeights


class Frozen:
    """The packed weights of one module, a pack for each of its layers.

    A copy of it, or what a pickle brings back, packs anew.

    Args:
        learning: The names of the parameters that had gradients before.
    """

    def __init__(self, learning: Collection[str]) -> None:
        self.learning = tuple(learning)
        self._sealed: list[tuple[int, int]] | None = None
        self._held: list[Tensor] = []  # so that no other weight gets their addresses
        self._packs: list[PackedWeights] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return Frozen, (self.learning,)

    def packs(self, kind: str, weights: Sequence[Sequence[Tensor]]) -> list[PackedWeights]:
        """Return the packs of the layers with these weights.

        Raises:
            InvalidStateError: A weight is not what it was at the first call.
        """
        given = [weight for layer in weights for weight in layer]
        seal = [(weight.data_ptr(), _version(weight)) for weight in given]
        if self._sealed is None:
            self._packs = [PackedWeights() for _ in weights]
            self._held = [weight.detach() for weight in given]
            self._sealed = seal
        if seal != self._sealed:
            raise InvalidStateError(
                f"{kind} (frozen)",
                "the weights that it has packed",
                "weights that were changed, loaded or moved since",
                "Call gatewise.freeze again, or gatewise.unfreeze first.",
            )
        return self._packs


def _version(weight: Tensor) -> int:
    """How often a weight was written to, but through ``.data``; inference tensors do not count."""
    return 0 if weight.is_inference() else weight._version  # noqa: SLF001 - there is no public query
