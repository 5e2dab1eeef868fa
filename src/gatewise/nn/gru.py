"""The GRU layer: torch's interface, our engine, and sequence features that torch lacks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.nn._initial_values import Init
from gatewise.nn._precision import Precision
from gatewise.nn._single_state import SingleStateLayer
from gatewise.ops.backends import Backend


class GRUTrace(NamedTuple):
    """Every gate and state of every step, in time order, zero beyond the lengths.

    Each field is (L·D)×T×B×H, layer by layer and within a layer direction by direction;
    (L·D)×T×H for an unbatched input. Differentiable.
    ``h`` of a single layer is a view of its output: clone it before changing that in place.
    """

    r: Tensor
    z: Tensor
    n: Tensor
    h: Tensor


class GRU(SingleStateLayer):
    """A drop-in for `torch.nn.GRU` with lengths, resets and traces at kernel speed.

    Parameters, their names, initial values and the ``state_dict`` are torch's, in both directions.
    Options that torch lacks are keyword arguments; those that change what the weights mean
    (``travelling``) are an entry of the state dict where they are not at their defaults, and
    loading it into a layer with other options raises.
    The equations are those of `gatewise.ops.reference.gru`.

    Args:
        input_size: Features of the input, I ≥ 1.
        hidden_size: Features of the state, H ≥ 1.
        num_layers: Layers above each other, L ≥ 1.
        bias: Whether each layer has ``bias_ih`` and ``bias_hh``.
        batch_first: Whether batched input, output and ``reset`` are B×T×… instead of T×B×….
        dropout: Probability of zeroing an element of the output of every layer but the last.
        bidirectional: Whether each layer also runs against time; D is then 2.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        init: ``torch`` draws the weights as torch does. ``orthogonal`` makes the recurrent matrix
            of each gate (H×H) orthogonal, draws each gate's input weights from Glorot's uniform
            distribution, and sets the biases to 0. ``chrono`` spreads the units' time scales up to
            ``chrono_steps``: b_z = log u, u ~ U(1, T_max − 1), in ``bias_ih``, with the same rows
            of ``bias_hh`` 0 (Tallec & Ollivier 2018, whose z is 1 − z here). Other weights are
            drawn as torch does.
        chrono_steps: The longest dependency in steps, T_max ≥ 2; given with ``chrono``, and only
            then.
        residual: Whether the output of each layer is its h plus its input (after dropout), where
            their widths agree: in every layer but the first, and there if I = D·H. Not part of
            ``h_n`` nor of a trace; zero beyond the lengths all the same.
        reverse: Whether the layer runs against time: from the last valid step of a sequence to its
            first, which ``h_n`` is of. Output and trace stay in time order; not together with
            ``bidirectional``.
        learn_initial_state: Whether there are parameters for the state before the first step,
            ``initial_h_l0`` (H) and so on, used for every sequence of a call without ``hx``,
            and after every ``reset``. Zero at first.
        reset_after: Whether the reset gate acts after the recurrent product, as in torch and cuDNN,
            or before it, as Cho et al. (2014) wrote it; that together with ``layer_norm`` runs in
            plain torch.
        layer_norm: Whether W_ih·x and W_hh·h, each over all gates together, are normalised (Ba,
            Kiros & Hinton 2016): ``weight_ln_ih_l0`` and ``weight_ln_hh_l0`` (3·H), and biases
            alike. The other biases are added after the norms.
        input_dropout: Probability of zeroing a feature of the input of each layer, the same in all
            steps of a sequence (Gal & Ghahramani 2016). Dropouts and zoneout are drawn in train
            mode, anew in each forward.
        recurrent_dropout: The same for h on its way into the recurrent product.
        update_dropout: Probability of zeroing an element of the candidate n, anew in each step
            (Semeniuta, Severyn & Barth 2016).
        zoneout: Probability that an element of h stays what it was, anew in each step; in eval mode
            that part of it stays (Krueger et al. 2017).
        weight_dropout: Probability of zeroing an element of the recurrent weights, for all of a
            forward (Merity, Keskar & Socher 2018).
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
        >>> gru = GRU(3, 8, batch_first=True)
        >>> output, h_n = gru(torch.randn(2, 5, 3), lengths=torch.tensor([5, 2]))
        >>> output.shape, h_n.shape
        (torch.Size([2, 5, 8]), torch.Size([1, 2, 8]))
    """

    kind = "GRU"
    mode = "GRU"
    Trace = GRUTrace
    travelling = ("residual", "reverse", "reset_after", "layer_norm", "zoneout")
    staying = (
        "init",
        "chrono_steps",
        "learn_initial_state",
        "input_dropout",
        "recurrent_dropout",
        "update_dropout",
        "weight_dropout",
        "generator",
        "precision",
        "backend",
    )
    reset_after: bool = True
    zoneout: float = 0.0

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
        init: Init = "torch",
        chrono_steps: int | None = None,
        residual: bool = False,
        reverse: bool = False,
        learn_initial_state: bool = False,
        reset_after: bool = True,
        layer_norm: bool = False,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        update_dropout: float = 0.0,
        zoneout: float = 0.0,
        weight_dropout: float = 0.0,
        generator: torch.Generator | None = None,
        precision: Precision = "auto",
        backend: Backend = "auto",
    ) -> None:
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
                "chrono_steps": chrono_steps,
                "residual": residual,
                "reverse": reverse,
                "learn_initial_state": learn_initial_state,
                "reset_after": reset_after,
                "layer_norm": layer_norm,
                "input_dropout": input_dropout,
                "recurrent_dropout": recurrent_dropout,
                "update_dropout": update_dropout,
                "zoneout": zoneout,
                "weight_dropout": weight_dropout,
                "generator": generator,
                "precision": precision,
                "backend": backend,
            },
        )

    @property
    def cell(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Our name of the cell."""
        return "gru" if self.reset_after else "gru_before"
