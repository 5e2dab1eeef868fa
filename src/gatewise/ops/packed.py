"""Weights packed ahead of the calls that read them, for inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


class PackedWeights:
    """The weights of one layer as the forward kernels read them: packed on first use, then kept.

    Nothing here notices a weight that changes afterwards: whoever hands this to
    `gatewise.ops.run_layer` answers for that.
    """

    def __init__(self) -> None:
        self._packs: dict[Any, list[Tensor]] = {}

    def get(self, key: Any, pack: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Return the packs of a layer's directions.

        Args:
            key: What the layout depends on beside the weights.
            pack: Makes them, if they are not here; threads that come together may both call it.
        """
        packs = self._packs.get(key)
        # The first to come stays: a kernel may be reading it while another thread has packed too.
        return self._packs.setdefault(key, pack()) if packs is None else packs
