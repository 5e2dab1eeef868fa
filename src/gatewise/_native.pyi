"""Types of the compiled extension; the contract is native/gatewise.h."""

import enum
from collections.abc import Sequence

from torch import Tensor

BAD_LENGTH: int

class Dtype(enum.Enum):
    float32 = 0
    float64 = 1

class Cell(enum.Enum):
    lstm = 0
    gru = 1
    rnn_tanh = 2
    rnn_relu = 3

class Layer:
    def __init__(self, cell: Cell, /, *arguments: int) -> None: ...

class Kernels:
    @property
    def isa(self) -> str: ...
    def lanes(self, dtype: Dtype, /) -> int: ...
    def saved_row(self, dtype: Dtype, cell: Cell, hidden: int, /) -> int: ...
    def forward(self, dtype: Dtype, layer: Layer, /, *arguments: int) -> int: ...
    def backward(self, dtype: Dtype, layer: Layer, /, *arguments: int) -> int: ...
    def trace(
        self,
        dtype: Dtype,
        layer: Layer,
        saved: int,
        gates: Sequence[int],
        cells: int,
        threads: int,
        /,
    ) -> int: ...
    def evaluate(
        self, dtype: Dtype, function: int, source: int, target: int, count: int, /
    ) -> None: ...
    def burn(self, dtype: Dtype, iterations: int, threads: int, /) -> int: ...

def workspace_tensor(dtype: Dtype, shape: Sequence[int], /) -> Tensor: ...
def kernels(isa: str, /) -> Kernels | None: ...
def best_kernels() -> Kernels: ...
