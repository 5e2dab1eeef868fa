"""A recurrent layer and a Linear on top of it, and how they read a batch.

The layers are those of gatewise as they come; the one thing set by hand are the input gates' biases
of the LSTM of 1997, which its authors began at negative values too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from gatewise.nn import GRU, LSTM, RNN, Stack

if TYPE_CHECKING:
    from problem import Batch


class Net(NamedTuple):
    """How a net is made.

    Args:
        layer: Makes the recurrent layer.
        told_resets: Whether it is told where strings begin, and its state is reset there.
        delay: How many steps later than the input it answers.
    """

    layer: Callable[[], nn.Module]
    told_resets: bool = False
    delay: int = 0


class Network(nn.Module):
    """The layer of a `Net` and a Linear, as one `Stack`.

    Args:
        net: How it is made.
        outputs: O.
    """

    def __init__(self, net: Net, outputs: int) -> None:
        super().__init__()
        layer = net.layer()
        width = layer.hidden_size * layer.num_directions
        self.stack = Stack(layer, nn.Linear(width, outputs))
        self.told_resets = net.told_resets
        self.delay = net.delay

    def forward(self, batch: Batch, state: Any = None) -> tuple[Tensor, Any]:
        """Answer a batch.

        Args:
            batch: Its inputs, lengths and resets are read.
            state: Where the batch before it ended; None to begin.

        Returns:
            The outputs, T×B×O, each beside the target that it answers, and the state at the end.
        """
        x, reset = batch.x, batch.reset if self.told_resets else None
        if self.delay:
            x = torch.cat([x, x.new_zeros(self.delay, *x.shape[1:])])
        output, state = self.stack(x, state, lengths=batch.lengths, reset=reset)
        return output[self.delay :], state

    @property
    def weights(self) -> int:
        """How many numbers are learned."""
        return sum(weight.numel() for weight in self.parameters())


def long_lag_nets(inputs: int, hidden: int, rnn_hidden: int, steps: int) -> Mapping[str, Net]:
    """Return the nets of the tasks of Hochreiter & Schmidhuber (1997).

    Args:
        inputs: I.
        hidden: H of the gated nets.
        rnn_hidden: H of the RNN; such that it has about as many weights as the others.
        steps: How far back the nets with chrono initialisation are to remember.
    """
    return {
        "RNN": Net(lambda: RNN(inputs, rnn_hidden)),
        "LSTM of 1997": Net(lambda: lstm_1997(inputs, hidden)),
        "LSTM, chrono": Net(lambda: LSTM(inputs, hidden, init="chrono", chrono_steps=steps)),
        "GRU, chrono": Net(lambda: GRU(inputs, hidden, init="chrono", chrono_steps=steps)),
    }


def lstm_1997(inputs: int, hidden: int, input_bias: float = -3.0) -> LSTM:
    """Return an LSTM without forget gates whose input gates begin nearly closed.

    Hochreiter & Schmidhuber (1997) begin them at −2 to −6, so that what is stored is not swamped
    before the net knows what to store.
    """
    layer = LSTM(inputs, hidden, forget_gate=False)
    with torch.no_grad():
        layer.bias_ih_l0[:hidden] += input_bias
    return layer
