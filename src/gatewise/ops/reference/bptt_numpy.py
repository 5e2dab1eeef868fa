r"""The LSTM by hand: forward, and backward through time, in NumPy float64. A page to study.

No framework, no batching tricks: each line of code is a line of the derivation. It is also a
second opinion, independent of autograd, on the gradients of every other implementation here.

**Forward.** With the joint pre-activation :math:`a_t = W x_t + R h_{t-1} + b_x + b_h`, split in
the order i, f, g, o:

.. math::
    i, f, o &= \sigma(a^i), \sigma(a^f), \sigma(a^o) \qquad g = \tanh(a^g)   \tag{1} \\
    c_t &= f \odot c_{t-1} + i \odot g                                       \tag{2} \\
    h_t &= o \odot \tanh(c_t)                                                \tag{3}

**Backward.** Write :math:`\delta v = \partial L / \partial v`. The state :math:`h_t` acts on the
loss through the output of its step and through :math:`a_{t+1}`; :math:`c_t` through :math:`h_t`
and through :math:`c_{t+1}`. So, from the last step to the first:

.. math::
    \delta h_t &= \delta y_t + R^\top \delta a_{t+1}                         \tag{4} \\
    \delta c_t &= \delta h_t \odot o \odot (1 - \tanh^2 c_t)
                  + f_{t+1} \odot \delta c_{t+1}                             \tag{5} \\
    \delta a^i &= \delta c_t \odot g \odot i (1 - i)                         \tag{6} \\
    \delta a^f &= \delta c_t \odot c_{t-1} \odot f (1 - f)                   \tag{7} \\
    \delta a^g &= \delta c_t \odot i \odot (1 - g^2)                         \tag{8} \\
    \delta a^o &= \delta h_t \odot \tanh(c_t) \odot o (1 - o)                \tag{9}

from :math:`\sigma' = \sigma (1 - \sigma)` and :math:`\tanh' = 1 - \tanh^2`. The parameters are the
same at every step, so their gradients are sums over the steps:

.. math::
    \delta W = \sum_t \delta a_t x_t^\top \quad
    \delta R = \sum_t \delta a_t h_{t-1}^\top \quad
    \delta b_x = \delta b_h = \sum_t \delta a_t \quad
    \delta x_t = W^\top \delta a_t                                           \tag{10}

Equation (5) is why the LSTM learns long dependencies: along c the gradient is only scaled by the
forget gate, never squashed by a weight matrix.

Sources: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000; A. Graves, J.
Schmidhuber, "Framewise phoneme classification with bidirectional LSTM", Neural Networks 18, 2005,
for the full gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Array = np.ndarray


class Tape(NamedTuple):
    """What backward needs of forward: the inputs, and by step h and c before, gates, tanh(c)."""

    x: Array
    w_ih: Array
    w_hh: Array
    steps: list[tuple[Array, ...]]


class Gradients(NamedTuple):
    """The gradient of the loss by each input and weight, shaped like it."""

    x: Array
    h0: Array
    c0: Array
    w_ih: Array
    w_hh: Array
    b_ih: Array
    b_hh: Array


def forward(
    x: Float[Array, "T B I"],
    h0: Float[Array, "B H"],
    c0: Float[Array, "B H"],
    w_ih: Float[Array, "4*H I"],
    w_hh: Float[Array, "4*H H"],
    b_ih: Float[Array, " 4*H"],
    b_hh: Float[Array, " 4*H"],
) -> tuple[Float[Array, "T B H"], Float[Array, "B H"], Float[Array, "B H"], Tape]:
    """Run the LSTM over time.

    Args:
        x: Input, T×B×I.
        h0: Initial hidden state, B×H.
        c0: Initial cell state, B×H.
        w_ih: W, 4H×I, gates in the order i, f, g, o.
        w_hh: R, 4H×H.
        b_ih: b_x, 4H.
        b_hh: b_h, 4H.

    Returns:
        h of every step T×B×H, the final h and c, both B×H, and the tape for `backward`.
    """
    h, c = h0, c0
    outputs, steps = [], []
    for x_t in x:
        a_i, a_f, a_g, a_o = np.split(x_t @ w_ih.T + h @ w_hh.T + b_ih + b_hh, 4, axis=-1)
        i, f, g, o = _sigmoid(a_i), _sigmoid(a_f), np.tanh(a_g), _sigmoid(a_o)  # (1)
        h_before, c_before = h, c
        c = f * c_before + i * g  # (2)
        tanh_c = np.tanh(c)
        h = o * tanh_c  # (3)
        outputs.append(h)
        steps.append((h_before, c_before, i, f, g, o, tanh_c))
    return np.stack(outputs), h, c, Tape(x, w_ih, w_hh, steps)


def backward(
    tape: Tape,
    dy: Float[Array, "T B H"],
    dh_n: Float[Array, "B H"],
    dc_n: Float[Array, "B H"],
) -> Gradients:
    """Carry the gradient of a loss back through time.

    Args:
        tape: From `forward`.
        dy: Gradient by every output, T×B×H.
        dh_n: Gradient by the final h, B×H, on top of that by the last output.
        dc_n: Gradient by the final c, B×H.

    Returns:
        The gradients by every input and weight.
    """
    x, w_ih, w_hh, steps = tape
    dx, dw_ih, dw_hh = np.zeros_like(x), np.zeros_like(w_ih), np.zeros_like(w_hh)
    db = np.zeros(len(w_ih))
    dh_next, dc_next = dh_n, dc_n  # what h and c of a step receive from the step after it
    for t in reversed(range(len(x))):
        h_before, c_before, i, f, g, o, tanh_c = steps[t]
        dh = dy[t] + dh_next  # (4)
        dc = dh * o * (1 - tanh_c**2) + dc_next  # (5)
        da_i = dc * g * i * (1 - i)  # (6)
        da_f = dc * c_before * f * (1 - f)  # (7)
        da_g = dc * i * (1 - g**2)  # (8)
        da_o = dh * tanh_c * o * (1 - o)  # (9)
        da = np.concatenate([da_i, da_f, da_g, da_o], axis=-1)
        dw_ih += da.T @ x[t]  # (10), and so on
        dw_hh += da.T @ h_before
        db += da.sum(axis=0)
        dx[t] = da @ w_ih
        dh_next, dc_next = da @ w_hh, dc * f  # the second terms of (4) and (5), for step t - 1
    return Gradients(dx, dh_next, dc_next, dw_ih, dw_hh, db, db.copy())


def _sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))
