"""The LSTM with recurrent batch norm once more: torch's own batch norm at each step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PLACES = ("ih", "hh", "c")


def run_direction(
    layer, x: Tensor, lengths: list[int], suffix: str = "l0", h_0: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Return h of every step, the final h and c, and the running averages after the call.

    Args:
        layer: A `gatewise.nn.LSTM` with ``batch_norm_steps``; only its tensors are read.
        x: Input, T×B×I, with time.
        lengths: Steps of each sequence.
        suffix: Of the direction's weights and averages.
        h_0: Each sequence's own initial h, B×H; None for the layer's, which all of them share.
    """
    tensors = {
        name.removesuffix(f"_{suffix}"): value
        for name, value in (*layer.named_parameters(), *layer.named_buffers())
        if name.endswith(f"_{suffix}")
    }
    averages = {n: tensors[n].clone() for n in tensors if n.startswith(("running_", "steps_"))}
    before = {name: value.clone() for name, value in averages.items()}
    slots, training = layer.batch_norm_steps, layer.training
    shared = [
        tensors[name].expand(x.shape[1], -1)
        if name in tensors
        else x.new_zeros(x.shape[1], layer.hidden_size)
        for name in ("initial_h", "initial_c")
    ]
    h, c = (shared[0], shared[1]) if h_0 is None else (h_0, torch.zeros_like(h_0))
    outputs = []

    for t in range(max(lengths)):
        rows = torch.tensor([b for b, length in enumerate(lengths) if t < length])
        many = len(rows) > 1
        slot = min(t, slots - 1)
        known = min(slot, max(int(before["steps_tracked"]) - 1, 0))
        momentum = 1.0 if t == slot >= int(before["steps_tracked"]) else 0.1

        def norm(place: str, value: Tensor) -> Tensor:
            source, at = (averages, slot) if training and many else (before, known)  # noqa: B023
            return F.batch_norm(
                value,
                source[f"running_mean_{place}"][at],
                source[f"running_var_{place}"][at],
                tensors[f"weight_bn_{place}"],
                tensors[f"bias_bn_{place}"],
                training=training and many,  # noqa: B023
                momentum=momentum,  # noqa: B023
            )

        z = norm("ih", x[t, rows] @ tensors["weight_ih"].t()) + tensors["bias_ih"]
        recurrent = h[rows] @ tensors["weight_hh"].t()
        if t == 0 and h_0 is None:
            recurrent = recurrent * tensors["weight_bn_hh"] + tensors["bias_bn_hh"]
        else:
            recurrent = norm("hh", recurrent)
        z = z + recurrent + tensors["bias_hh"]
        i, f, g, o = z.chunk(4, 1)
        c_now = f.sigmoid() * c[rows] + i.sigmoid() * g.tanh()
        h_now = o.sigmoid() * norm("c", c_now).tanh()
        c, h = c.index_copy(0, rows, c_now), h.index_copy(0, rows, h_now)
        outputs.append(torch.zeros_like(h).index_copy(0, rows, h_now))
        if training and many:
            averages["steps_tracked"].clamp_(min=slot + 1)
    outputs += [torch.zeros_like(h)] * (len(x) - max(lengths))
    return torch.stack(outputs), h, c, averages
