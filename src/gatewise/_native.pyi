"""Types of the compiled extension; the contract is native/gatewise.h."""

import enum
from collections.abc import Sequence

from torch import Tensor

BAD_LENGTH: int
BAD_TARGET: int

class Dtype(enum.Enum):
    float32 = 0
    float64 = 1
    bfloat16 = 2
    float32_bf16x6 = 3

class Cell(enum.Enum):
    lstm = 0
    gru = 1
    rnn_tanh = 2
    rnn_relu = 3
    lstm_coupled = 4
    lstm_no_forget = 5
    gru_before = 6
    min_gru = 7
    min_gru_positive = 8
    min_lstm = 9
    min_lstm_positive = 10
    slstm = 11
    slstm_exponential = 12

class Activation(enum.Enum):
    tanh = 0
    sigmoid = 1
    relu = 2
    hardtanh = 3
    hardsigmoid = 4

class Layer:
    def __init__(self, cell: Cell, /, *arguments: int) -> None: ...
    def set_options(
        self,
        activation: Activation,
        gate_activation: Activation,
        clip: float,
        peephole: int,
        norms: Sequence[int],
        /,
    ) -> None: ...
    def set_masks(
        self,
        update: float,
        recurrent: float,
        zoneout_c: float,
        zoneout_h: float,
        seed: int,
        stream: int,
        first_step: int,
        /,
    ) -> None: ...
    def set_restart(self, h: int, c: int, /) -> None: ...
    def set_packed(self, address: int, /) -> None: ...

class MatrixMemory:
    def __init__(self, *arguments: float) -> None: ...

class MatrixMemoryOutput:
    def __init__(self, *addresses: int) -> None: ...

class OptionGradients:
    def __init__(
        self, restart_h: int, restart_c: int, peephole: int, norms: Sequence[int], /
    ) -> None: ...

class Kernels:
    @property
    def isa(self) -> str: ...
    def lanes(self, dtype: Dtype, /) -> int: ...
    def saved_row(self, dtype: Dtype, cell: Cell, hidden: int, normalised: bool, /) -> int: ...
    def forward(self, dtype: Dtype, layer: Layer, /, *arguments: int) -> int: ...
    def backward(
        self, dtype: Dtype, layer: Layer, /, *arguments: int | OptionGradients | None
    ) -> int: ...
    def packed_bytes(self, dtype: Dtype, layer: Layer, /) -> int: ...
    def pack(self, dtype: Dtype, layer: Layer, packed: int, threads: int, /) -> int: ...
    def trace(
        self,
        dtype: Dtype,
        layer: Layer,
        saved: int,
        gates: Sequence[int],
        cells: Sequence[int],
        threads: int,
        /,
    ) -> int: ...
    def cross_entropy(self, dtype: Dtype, /, *arguments: float) -> int: ...
    def saved_memory(self, dtype: Dtype, call: MatrixMemory, /) -> int: ...
    def memory_forward(
        self, dtype: Dtype, call: MatrixMemory, output: MatrixMemoryOutput, threads: int, /
    ) -> int: ...
    def memory_backward(
        self, dtype: Dtype, call: MatrixMemory, output: MatrixMemoryOutput, /, *arguments: int
    ) -> int: ...
    def evaluate(
        self, dtype: Dtype, function: int, source: int, target: int, count: int, /
    ) -> None: ...
    def mask(
        self,
        dtype: Dtype,
        seed: int,
        stream: int,
        step: int,
        word: int,
        probability: float,
        rows: int,
        columns: int,
        target: int,
        /,
    ) -> None: ...
    def burn(self, dtype: Dtype, iterations: int, threads: int, /) -> int: ...

def workspace_tensor(dtype: Dtype, shape: Sequence[int], /) -> Tensor: ...
def kernels(isa: str, dtype: Dtype, /) -> Kernels | None: ...
def best_kernels(dtype: Dtype, /) -> Kernels | None: ...
