"""Initial values of the weights: torch's own, orthogonal or chrono, and the forget gate's bias.

A scheme sets anew what it is about and leaves the rest as torch draws it. A bias that it sets goes
to ``bias_ih``, and the same rows of ``bias_hh`` become zero: the gate sees the sum of the two.

Sources: A. Saxe, J. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of learning
in deep linear neural networks", ICLR 2014, for orthogonal matrices; X. Glorot, Y. Bengio,
"Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010, for the
weights of the input; R. Jozefowicz, W. Zaremba, I. Sutskever, "An empirical exploration of
recurrent network architectures", ICML 2015, for a forget bias of 1; C. Tallec, Y. Ollivier, "Can
recurrent neural networks warp time?", ICLR 2018, for chrono (whose z is 1 − z in torch's GRU, and
that of the minimal one).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from gatewise.ops.reference.layer import Cell

Init = Literal["torch", "orthogonal", "chrono"]


def draw_as_torch(
    parameters: Iterable[tuple[str, Tensor]], bound: float, generator: torch.Generator | None
) -> None:
    """Draw torch's weights as torch does, in its order, then peepholes from the same distribution.

    Learned initial states become zero. Layer norms leave alone; batch norms begin at a tenth.

    Args:
        parameters: Of a layer, by name.
        bound: Of the uniform distribution, 1/√H.
        generator: What draws; None for torch's default generator.
    """
    peepholes = []
    for name, weight in parameters:
        if name.startswith(("initial_", "bias_ln_", "bias_bn_")):
            nn.init.zeros_(weight)
        elif name.startswith("weight_ln_"):
            nn.init.ones_(weight)
        elif name.startswith("weight_bn_"):
            nn.init.constant_(weight, 0.1)
        elif name.startswith("weight_peephole_"):
            peepholes.append(weight)
        else:
            nn.init.uniform_(weight, -bound, bound, generator)
    for weight in peepholes:
        nn.init.uniform_(weight, -bound, bound, generator)


def set_initial_values(
    weights: Mapping[str, Tensor],
    cell: Cell,
    init: Init,
    *,
    chrono_steps: int | None,
    forget_bias: float | None,
    generator: torch.Generator | None,
) -> None:
    """Change torch's draws of one direction of a layer, in place, to what the options ask for.

    Args:
        weights: By torch's names without their suffixes: ``weight_ih`` G·H×I, ``weight_hh`` G·H×P,
            and with biases ``bias_ih`` and ``bias_hh``, G·H each.
        cell: The cell that they are for; its activations are the gates in their order.
        init: The scheme.
        chrono_steps: T_max of ``chrono``; unused by the others.
        forget_bias: The bias of the forget gate f; None leaves it to the scheme.
        generator: What draws; None for torch's default generator.
    """
    with torch.no_grad():
        if init == "orthogonal":
            _set_orthogonal(weights, cell, generator)
            if "f" in cell.activations and forget_bias is None:
                forget_bias = 1.0
        if init == "chrono" and chrono_steps is not None:
            _set_chrono(weights, cell, chrono_steps, generator)
        if forget_bias is not None:
            _set_bias(weights, cell, "f", forget_bias)


def _set_orthogonal(
    weights: Mapping[str, Tensor], cell: Cell, generator: torch.Generator | None
) -> None:
    for block in weights["weight_hh"].chunk(cell.gates):
        block.copy_(nn.init.orthogonal_(_wide_like(block), generator=generator))
    for block in weights["weight_ih"].chunk(cell.gates):
        nn.init.xavier_uniform_(block, generator=generator)
    for name in weights.keys() & {"bias_ih", "bias_hh"}:
        weights[name].zero_()


def _set_chrono(
    weights: Mapping[str, Tensor], cell: Cell, steps: int, generator: torch.Generator | None
) -> None:
    """Spread the time scales: a gate that keeps 1 − 1/u of the state forgets in about u steps."""
    block = weights["bias_ih"].chunk(cell.gates)[0]
    bias = _wide_like(block).uniform_(1, steps - 1, generator=generator).log_()
    if "f" in cell.activations:
        _set_bias(weights, cell, "f", bias)
    else:  # the z of a minimal GRU is how much of the candidate comes in
        _set_bias(weights, cell, "z", bias if cell.feeds_back else -bias)
    if "i" in cell.activations:
        _set_bias(weights, cell, "i", -bias)


def _set_bias(weights: Mapping[str, Tensor], cell: Cell, gate: str, value: float | Tensor) -> None:
    """Make ``value`` the sum of both biases of a gate; do nothing in a layer without biases."""
    position = [name.removeprefix("log_") for name in cell.activations].index(gate)
    if "bias_ih" in weights:
        weights["bias_ih"].chunk(cell.gates)[position].copy_(torch.as_tensor(value))
    if "bias_hh" in weights:
        weights["bias_hh"].chunk(cell.gates)[position].zero_()


def _wide_like(block: Tensor) -> Tensor:
    """Return room for a draw: half precision has no QR, and no room for a million steps."""
    narrow = block.dtype in (torch.float16, torch.bfloat16)
    return torch.empty_like(block, dtype=torch.float32 if narrow else block.dtype)
