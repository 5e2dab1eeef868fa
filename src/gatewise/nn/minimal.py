"""The minimal GRU and LSTM: gates that read the input alone, a third of the work, any length."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from gatewise.nn._initial_values import draw_as_torch
from gatewise.nn._precision import Precision
from gatewise.nn._single_state import SingleStateLayer
from gatewise.ops.backends import Backend

Candidate = Literal["linear", "positive"]


class MinGRUTrace(NamedTuple):
    """Every gate and state of every step, in time order, zero beyond the lengths.

    Each field is (L·D)×T×B×H, as in `GRUTrace`; z is how much of the candidate n comes in.
    """

    z: Tensor
    n: Tensor
    h: Tensor


class MinLSTMTrace(NamedTuple):
    """Every gate and state of every step, in time order, zero beyond the lengths.

    Each field is (L·D)×T×B×H, as in `GRUTrace`; f and i add up to one.
    """

    f: Tensor
    i: Tensor
    g: Tensor
    h: Tensor


class MinimalLayer(SingleStateLayer):
    """Base of `MinGRU` and `MinLSTM`; subclasses set ``kind``, ``mode``, ``Trace`` and ``name``."""

    inits = ("torch", "chrono")
    travelling = ("residual", "reverse", "candidate")
    staying = (
        "init",
        "chrono_steps",
        "learn_initial_state",
        "input_dropout",
        "generator",
        "precision",
        "backend",
    )
    candidate: Candidate = "linear"
    name: str
    """Of the cell with linear candidates."""

    @property
    def cell(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Our name of the cell."""
        return self.name if self.candidate == "linear" else f"{self.name}_positive"

    def _draw(self) -> None:
        """Draw each weight as `torch.nn.Linear` does: from U(−1/√I, 1/√I), I the layer's own."""
        own = dict(self.named_parameters())
        for names in self._all_weights:
            parameters = {name: own.pop(name) for name in names if name in own}
            bound = 1.0 / math.sqrt(getattr(self, names[0]).shape[1])
            draw_as_torch(parameters.items(), bound, self.generator)
        # Learned initial states begin at zero; what reparametrises a weight is drawn like it.
        draw_as_torch(own.items(), 1.0 / math.sqrt(self.hidden_size), self.generator)


class MinGRU(MinimalLayer):
    """The minimal GRU of Feng et al. (2024): a third of a GRU's work, with everything it can do.

    Its gate and candidate read the input alone, h' = (1 − z)·h + z·n, so that no step waits for a
    product of the step before. Lengths, resets, traces, directions, precisions and ``recompute``
    are those of `GRU`, and so is the call; what h may feed back into, recurrent weights and their
    regularisers, it lacks. Parameters are ``weight_ih_l0`` (2·H×I, z then n) and ``bias_ih_l0``.
    The equations are those of `gatewise.ops.reference.minimal`.

    Args:
        input_size: Features of the input, I ≥ 1.
        hidden_size: Features of the state, H ≥ 1.
        num_layers: Layers above each other, L ≥ 1.
        bias: Whether each layer has ``bias_ih``.
        batch_first: Whether batched input, output and ``reset`` are B×T×… instead of T×B×….
        dropout: Probability of zeroing an element of the output of every layer but the last.
        bidirectional: Whether each layer also runs against time; D is then 2.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        candidate: ``linear``, n = W·x + b, or ``positive``, as weights of the paper's form in
            logarithms have it: n + ½ from zero on, σ(n) below.
        init: ``torch`` draws the weights as `torch.nn.Linear` does. ``chrono`` also spreads the
            units' time scales up to ``chrono_steps``: b_z = −log u, u ~ U(1, T_max − 1) (Tallec &
            Ollivier 2018).
        chrono_steps: The longest dependency in steps, T_max ≥ 2; given with ``chrono``, and only
            then.
        residual: Whether the output of each layer is its h plus its input (after dropout), where
            their widths agree.
        reverse: Whether the layer runs against time, see `GRU`.
        learn_initial_state: Whether there are parameters for the state before the first step,
            ``initial_h_l0`` (H) and so on.
        input_dropout: Probability of zeroing a feature of the input of each layer, the same in all
            steps of a sequence (Gal & Ghahramani 2016).
        generator: What draws initial weights, masks and dropout between layers, see `GRU`.
        precision: ``auto``, ``bf16`` or ``full``, see `GRU`.
        backend: ``auto``, ``native`` or ``reference``, see `GRU`.

    Raises:
        GatewiseError: A refused argument; also a ValueError or TypeError, as in torch.

    Example:
        >>> layer = MinGRU(3, 8, num_layers=2)
        >>> output, h_n = layer(torch.randn(5, 2, 3), lengths=torch.tensor([5, 2]))
        >>> output.shape, h_n.shape
        (torch.Size([5, 2, 8]), torch.Size([2, 2, 8]))
    """

    kind = mode = "MinGRU"
    name = "min_gru"
    Trace = MinGRUTrace

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        candidate: Candidate = "linear",
        init: Literal["torch", "chrono"] = "torch",
        chrono_steps: int | None = None,
        residual: bool = False,
        reverse: bool = False,
        learn_initial_state: bool = False,
        input_dropout: float = 0.0,
        generator: torch.Generator | None = None,
        precision: Precision = "auto",
        backend: Backend = "auto",
    ) -> None:
        options: dict[str, Any] = {
            "candidate": candidate,
            "init": init,
            "chrono_steps": chrono_steps,
            "residual": residual,
            "reverse": reverse,
            "learn_initial_state": learn_initial_state,
            "input_dropout": input_dropout,
            "generator": generator,
            "precision": precision,
            "backend": backend,
        }
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
            options=options,
        )


class MinLSTM(MinimalLayer):
    """The minimal LSTM of Feng et al. (2024), whose gates read the input alone and add up to one.

    h' = f·h + i·g with f = σ(z_f) / (σ(z_f) + σ(z_i)) and i = 1 − f; its state is h alone. The call
    and everything else is as in `MinGRU`. Parameters are ``weight_ih_l0`` (3·H×I: f, i, g) and
    ``bias_ih_l0``. The equations are those of `gatewise.ops.reference.minimal`.

    Args:
        input_size: Features of the input, I ≥ 1.
        hidden_size: Features of the state, H ≥ 1.
        num_layers: Layers above each other, L ≥ 1.
        bias: Whether each layer has ``bias_ih``.
        batch_first: Whether batched input, output and ``reset`` are B×T×… instead of T×B×….
        dropout: Probability of zeroing an element of the output of every layer but the last.
        bidirectional: Whether each layer also runs against time; D is then 2.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        candidate: ``linear`` or ``positive``, see `MinGRU`.
        init: ``torch`` draws the weights as `torch.nn.Linear` does. ``chrono`` also spreads the
            units' time scales up to ``chrono_steps``: b_f = log u, b_i = −b_f.
        chrono_steps: The longest dependency in steps, T_max ≥ 2; given with ``chrono``, and only
            then.
        forget_bias: The bias of the forget gate; None leaves it to ``init``. The larger, the longer
            is the memory at first.
        residual: Whether the output of each layer is its h plus its input, see `MinGRU`.
        reverse: Whether the layer runs against time, see `GRU`.
        learn_initial_state: Whether there are parameters for the state before the first step.
        input_dropout: Probability of zeroing a feature of the input, see `MinGRU`.
        generator: What draws, see `GRU`.
        precision: ``auto``, ``bf16`` or ``full``, see `GRU`.
        backend: ``auto``, ``native`` or ``reference``, see `GRU`.

    Raises:
        GatewiseError: A refused argument; also a ValueError or TypeError, as in torch.

    Example:
        >>> layer = MinLSTM(3, 8, batch_first=True, forget_bias=1.0)
        >>> output, h_n = layer(torch.randn(2, 5, 3))
        >>> output.shape, h_n.shape
        (torch.Size([2, 5, 8]), torch.Size([1, 2, 8]))
    """

    kind = mode = "MinLSTM"
    name = "min_lstm"
    Trace = MinLSTMTrace
    staying = (*MinimalLayer.staying, "forget_bias")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        candidate: Candidate = "linear",
        init: Literal["torch", "chrono"] = "torch",
        chrono_steps: int | None = None,
        forget_bias: float | None = None,
        residual: bool = False,
        reverse: bool = False,
        learn_initial_state: bool = False,
        input_dropout: float = 0.0,
        generator: torch.Generator | None = None,
        precision: Precision = "auto",
        backend: Backend = "auto",
    ) -> None:
        options: dict[str, Any] = {
            "candidate": candidate,
            "init": init,
            "chrono_steps": chrono_steps,
            "forget_bias": forget_bias,
            "residual": residual,
            "reverse": reverse,
            "learn_initial_state": learn_initial_state,
            "input_dropout": input_dropout,
            "generator": generator,
            "precision": precision,
            "backend": backend,
        }
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
            options=options,
        )
