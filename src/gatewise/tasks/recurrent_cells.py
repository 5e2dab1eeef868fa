"""The recurrent layers that a task may be built from, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

from torch import Tensor, nn

from gatewise.errors import InvalidValueError
from gatewise.nn import GRU, LSTM, MLSTM, RNN, SLSTM, MinGRU, MinLSTM
from gatewise.tasks.xlstm_layers import XLSTMLayers

Cell = Literal["lstm", "gru", "rnn", "min_gru", "min_lstm", "slstm", "mlstm", "xlstm"]
RecurrentNetwork = LSTM | GRU | RNN | MinGRU | MinLSTM | SLSTM | MLSTM | XLSTMLayers

_KINDS: Final[dict[Cell, Callable[..., RecurrentNetwork]]] = {
    "lstm": LSTM,
    "gru": GRU,
    "rnn": RNN,
    "min_gru": MinGRU,
    "min_lstm": MinLSTM,
    "slstm": SLSTM,
    "mlstm": MLSTM,
    "xlstm": XLSTMLayers,
}
_WITH_HEADS: Final = ("slstm", "mlstm")
WITH_WEIGHT_DROPOUT: Final = ("lstm", "gru")
"""Cells that may drop recurrent weights."""

HEADS: Final = 4
"""Of cells that have heads, where they divide the units."""


def build_recurrent(
    cell: Cell, input_size: int, hidden_size: int, num_layers: int, dropout: float
) -> RecurrentNetwork:
    """Return the layers of a task, batch first, with dropout between them."""
    options: dict[str, Any] = {"batch_first": True}
    if num_layers > 1:
        options["dropout"] = dropout
    return _build(cell, input_size, hidden_size, num_layers, options)


def build_layer(
    cell: Cell, input_size: int, hidden_size: int, *, bidirectional: bool, weight_dropout: float
) -> RecurrentNetwork:
    """Return one layer of a task, time first.

    Raises:
        InvalidValueError: The cell has no weight dropout.
    """
    options: dict[str, Any] = {"bidirectional": bidirectional}
    if weight_dropout:
        if cell not in WITH_WEIGHT_DROPOUT:
            raise InvalidValueError(
                "weight_dropout", f"0 with cell={cell!r}", str(weight_dropout),
                f"Cells that have it: {', '.join(WITH_WEIGHT_DROPOUT)}.",
            )  # fmt: skip
        options["weight_dropout"] = weight_dropout
    return _build(cell, input_size, hidden_size, 1, options)


def _build(
    cell: Cell, input_size: int, hidden_size: int, num_layers: int, options: dict[str, Any]
) -> RecurrentNetwork:
    if cell == "xlstm" or (cell in _WITH_HEADS and hidden_size % HEADS == 0):
        options["heads"] = HEADS
    return _KINDS[cell](input_size, hidden_size, num_layers, **options)


def flops_of_step(layers: RecurrentNetwork) -> int:
    """Count the flops of one step of one sequence: the products with every weight matrix.

    An mLSTM also writes its memories, fades them and reads them.
    """
    if isinstance(layers, XLSTMLayers):
        return layers.flops_of_step()
    products = sum(
        2 * weight.numel()
        for name, weight in layers.named_parameters()
        if name.startswith("weight")
    )
    if isinstance(layers, MLSTM):
        products += 6 * layers.num_layers * layers.hidden_size**2 // layers.heads
    return products


def named_layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every layer of a network by its name; of an xLSTM the whole, not what is inside."""
    inside: set[nn.Module] = set()
    for name, module in network.named_modules():
        if isinstance(module, XLSTMLayers):
            inside.update(part for part in module.modules() if part is not module)
        if module not in inside:
            yield name, module


def repeated(state: Any, times: int) -> Any:
    """Return the states of each sequence ``times`` over, side by side."""
    if isinstance(state, Tensor):
        return state.repeat_interleave(times, dim=1)
    return tuple(part.repeat_interleave(times, dim=1) for part in state)
