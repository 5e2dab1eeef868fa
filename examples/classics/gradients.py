"""How far back a net can learn: the derivative of its loss by its own state, step by step before.

The state is all that a step hands to the next: h, and for an LSTM h and c. Where this derivative
has vanished, what a net did then cannot be blamed for what it answers now, and is not learned.
S. Hochreiter, "Untersuchungen zu dynamischen neuronalen Netzen", diploma thesis, 1991; Y. Bengio,
P. Simard, P. Frasconi, "Learning long-term dependencies with gradient descent is difficult", 1994.
"""

from __future__ import annotations

import copy

import torch
from nets import Network
from problem import Answer, Batch
from torch import Tensor


def state_gradients(net: Network, batch: Batch, answer: Answer) -> list[float]:
    """Return how the loss of the last answer depends on the state, step by step before it.

    Args:
        net: A net of one layer in one direction; in float64 here, where 1e-300 is not yet nothing.
        batch: Sequences; lengths may differ.
        answer: What outputs mean.

    Returns:
        For each number of steps before the last answer, from 0, the median over sequences of the
        norm relative to that at the last answer. The list ends where a sequence has no such step.
    """
    layer, head = copy.deepcopy(net).double().stack
    parts, outputs = [], []
    state = None
    for x in batch.x.double():
        _, state = layer(x[None], state)
        parts.append(state if isinstance(state, tuple) else (state,))
        outputs.append(head(parts[-1][0]))
    target = batch.target.double() if batch.target.is_floating_point() else batch.target
    losses = answer.losses(torch.cat(outputs), target)
    T, B = batch.counts.shape
    everyone = torch.arange(B)
    last = T - 1 - batch.counts.flip(0).int().argmax(0)
    flat = [part for step in parts for part in step]
    grads = torch.autograd.grad(losses[last, everyone].sum(), flat, allow_unused=True)
    width = len(parts[0])
    norms = torch.stack([_norm(grads[t * width : (t + 1) * width], B) for t in range(T)])
    back = range(int(last.min()) + 1)
    relative = [norms[last - k, everyone] / norms[last, everyone] for k in back]
    return [float(one.median()) for one in relative]


def _norm(grads: tuple[Tensor | None, ...], batch: int) -> Tensor:
    """Return the norm over all parts of a state, B; what the loss does not depend on is 0."""
    squares = [grad.square().sum((0, 2)) for grad in grads if grad is not None]
    return torch.stack(squares).sum(0).sqrt() if squares else torch.zeros(batch).double()
