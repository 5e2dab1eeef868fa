"""The simple recurrent layer: torch's interface, our engine, sequence features that torch lacks."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gatewise.errors import InvalidValueError
from gatewise.nn._precision import Precision
from gatewise.nn._single_state import SingleStateLayer
from gatewise.ops.backends import Backend

Nonlinearity = Literal["tanh", "relu"]


class RNNTrace(NamedTuple):
    """The state of every step, in time order, zero beyond the lengths.

    (L·D)×T×B×H, layer by layer and within a layer direction by direction; (L·D)×T×H for an
    unbatched input. Differentiable.
    ``h`` of a single layer is a view of its output: clone it before changing that in place.
    """

    h: Tensor


class RNN(SingleStateLayer):
    """A drop-in for `torch.nn.RNN` with lengths, resets and traces at kernel speed.

    Parameters, their names, initial values and the ``state_dict`` are torch's, in both directions.
    Options that torch lacks are keyword arguments; those that change what the weights mean, here
    ``residual`` and ``reverse``, are an entry of the state dict where they are not at their
    defaults, and loading it into a layer with other options raises.
    The equations are those of `gatewise.ops.reference.rnn`.

    Args:
        input_size: Features of the input, I ≥ 1.
        hidden_size: Features of the state, H ≥ 1.
        num_layers: Layers above each other, L ≥ 1.
        nonlinearity: ``tanh`` or ``relu``.
        bias: Whether each layer has ``bias_ih`` and ``bias_hh``.
        batch_first: Whether batched input, output and ``reset`` are B×T×… instead of T×B×….
        dropout: Probability of zeroing an element of the output of every layer but the last.
        bidirectional: Whether each layer also runs against time; D is then 2.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        init: ``torch`` draws the weights as torch does. ``orthogonal`` makes the recurrent matrix
            orthogonal, draws the input weights from Glorot's uniform distribution, and sets the
            biases to 0.
        residual: Whether the output of each layer is its h plus its input (after dropout), where
            their widths agree: in every layer but the first, and there if I = D·H. Not part of
            ``h_n`` nor of a trace; zero beyond the lengths all the same.
        reverse: Whether the layer runs against time: from the last valid step of a sequence to its
            first, which ``h_n`` is of. Output and trace stay in time order; not together with
            ``bidirectional``.
        learn_initial_state: Whether there are parameters for the state before the first step,
            ``initial_h_l0`` (H) and so on, used for every sequence of a call without ``hx``,
            and after every ``reset``. Zero at first.
        generator: What draws initial weights, masks and dropout between layers; None for torch's
            default generator. It must be on the layer's device; a copy of the layer has a copy of
            it; ``torch.compile`` breaks its graph where it draws.
        precision: ``bf16`` rounds the operands of the products of x and h to bfloat16, backward as
            well; sums, states, weights and what is returned stay as they are. ``auto`` does so in
            bfloat16 and inside ``torch.autocast`` to it, where results have the dtypes that torch's
            have; ``full`` never does.
        backend: ``native`` or ``reference`` to insist on one; ``auto`` takes the native kernel
            wherever there is one. See `explain`.

    Raises:
        GatewiseError: A refused argument; also a ValueError or TypeError, as in torch.

    Example:
        >>> rnn = RNN(3, 8, nonlinearity="relu")
        >>> output, h_n = rnn(torch.randn(5, 2, 3))
        >>> output.shape, h_n.shape
        (torch.Size([5, 2, 8]), torch.Size([1, 2, 8]))
    """

    kind = "RNN"
    Trace = RNNTrace
    inits = ("torch", "orthogonal")  # there is no gate for chrono to set

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        init: Literal["torch", "orthogonal"] = "torch",
        residual: bool = False,
        reverse: bool = False,
        learn_initial_state: bool = False,
        generator: torch.Generator | None = None,
        precision: Precision = "auto",
        backend: Backend = "auto",
    ) -> None:
        check_nonlinearity("RNN", nonlinearity)
        # Before the parameters, whose shapes ask for the cell; a plain attribute may precede them.
        self.nonlinearity: Nonlinearity = nonlinearity
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
            options={
                "init": init,
                "residual": residual,
                "reverse": reverse,
                "learn_initial_state": learn_initial_state,
                "generator": generator,
                "precision": precision,
                "backend": backend,
            },
        )

    @property
    def mode(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Torch's name of the cell."""
        return f"RNN_{self.nonlinearity.upper()}"

    @property
    def cell(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Our name of the cell."""
        return f"rnn_{self.nonlinearity}"


def check_nonlinearity(where: str, value: object) -> None:
    """Raise unless ``value`` is one that the simple network may have.

    Raises:
        InvalidValueError: It is not.
    """
    if value not in ("tanh", "relu"):
        raise InvalidValueError(f"{where}(nonlinearity)", "'tanh' or 'relu'", repr(value))
