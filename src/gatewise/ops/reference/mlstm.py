r"""The mLSTM: a matrix for memory, written by keys and values, read by queries.

For each head, with keys and queries of width d:

.. math::
    m_t &= \max(\log f_t + m_{t-1}, \log i_t) \\
    i'_t &= e^{\log i_t - m_t}, \qquad f'_t = e^{\log f_t + m_{t-1} - m_t} \\
    C_t &= f'_t C_{t-1} + i'_t v_t k_t^\top \\
    n_t &= f'_t n_{t-1} + i'_t k_t \\
    h_t &= C_t q_t / \max(|n_t^\top q_t|, e^{-m_t})

The stabiliser m keeps the exponentials in range and drops out of h, which is that of i and f
themselves, divided by max(\|nᵀq\|, 1). It begins at minus infinity, C and n at zero.

Nothing here reads h, so that steps need not wait for each other: `mlstm_chunks` computes the same
with matrix products over chunks of steps, and only what chunks leave behind goes from one to the
next, as in the gated linear attention of Yang et al.

Sources: M. Beck, K. Pöppel, M. Spanring, A. Auer, O. Prudnikova, M. Kopp, G. Klambauer, J.
Brandstetter, S. Hochreiter, "xLSTM: extended long short-term memory", NeurIPS 2024, section 2.3;
S. Yang, B. Wang, Y. Shen, R. Panda, Y. Kim, "Gated linear attention transformers with
hardware-efficient training", ICML 2024, for the chunks.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

from gatewise.ops.reference.sequence import State

_NEVER: Final = -1e30
"""For minus infinity, of which differences are not numbers: the exponential of it is as small."""


class Written(NamedTuple):
    """What steps write and read, for each head.

    Args:
        q: Queries, T×B×NH×d.
        k: Keys, T×B×NH×d, divided by √d.
        v: Values, T×B×NH×d.
        log_i: Logarithm of the input gate, T×B×NH; minus infinity where nothing is written.
        log_f: Logarithm of the forget gate, T×B×NH.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    log_i: Tensor
    log_f: Tensor


class Read(NamedTuple):
    """What comes of it.

    Args:
        h: T×B×NH×d.
        state: (C, n, m) after the last step: B×NH×d×d (value × key), B×NH×d, B×NH.
        n: Of every step, T×B×NH×d; None unless recorded.
        m: Of every step, T×B×NH; None unless recorded.
    """

    h: Tensor
    state: State
    n: Tensor | None = None
    m: Tensor | None = None


def mlstm_steps(
    written: Written, state: State, restarts: Tensor | None, *, record: bool = False
) -> Read:
    """Take one step after the other: the way to stream, and what the chunks are compared with.

    Args:
        written: Of T steps.
        state: (C, n, m) before the first.
        restarts: T×B: before which steps the state begins anew; None for none.
        record: Whether to keep n and m of every step.
    """
    C, n, m = state
    m = m.clamp_min(_NEVER)
    outputs, ns, ms = [], [], []
    for t, (q, k, v, log_i, log_f) in enumerate(zip(*written, strict=True)):
        if restarts is not None:
            cut = restarts[t].unsqueeze(-1)
            C = torch.where(cut[..., None, None], 0.0, C)
            n, m = torch.where(cut[..., None], 0.0, n), torch.where(cut, _NEVER, m)
        before = log_f + m
        m = torch.maximum(before, log_i)
        i, f = torch.exp(log_i - m), torch.exp(before - m)
        n = f[..., None] * n + i[..., None] * k
        C = f[..., None, None] * C + (i[..., None] * v)[..., None] * k[..., None, :]
        found = (C @ q[..., None]).squeeze(-1)
        outputs.append(_normalised(found, (n * q).sum(-1), m))
        if record:
            ns.append(n)
            ms.append(m)
    shown = (torch.stack(ns), torch.stack(ms)) if record else (None, None)
    return Read(torch.stack(outputs), (C, n, m), *shown)


def mlstm_chunks(
    written: Written,
    state: State,
    restarts: Tensor | None,
    length: int,
    *,
    record: bool = False,
) -> Read:
    """Compute what `mlstm_steps` does, ``length`` steps at once.

    The gates are summed in float64: differences of sums over a chunk are what counts.
    """
    q = written.q
    T, dtype = len(q), q.dtype
    count = -(-T // length)
    q, k, v = (_in_chunks(part, count, length, 0.0) for part in written[:3])
    log_i = _in_chunks(written.log_i.double(), count, length, float("-inf"))
    log_f = _in_chunks(written.log_f.double(), count, length, 0.0)
    cuts = None if restarts is None else _Cuts(_in_chunks(restarts[..., None], count, length, 0.0))
    C, n, m = state
    # With a one below each value, n is a last row of C.
    v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
    C = torch.cat([C, n[..., None, :]], -2)

    # The logarithm of what is left, at the end of its chunk, of what a step has written.
    sums = log_f.cumsum(-1)
    left = sums[..., -1:] - sums + log_i
    since = sums
    if cuts is not None:
        left = left.masked_fill(~cuts.reaches_end, float("-inf"))
        since = sums - cuts.before(sums - log_f)
    begins, ends = _stabilisers(m.double().clamp_min(_NEVER), since[..., -1], left.amax(-1), cuts)

    # What the chunks leave behind, from one to the next.
    begun = _alive(begins, cuts, _NEVER, at_end=True)
    kept = torch.exp(since[..., -1] + begun - ends).to(dtype)
    weighed = k * torch.exp(left - ends[..., None]).to(dtype)[..., None]
    C, last = _carry(C, kept[..., None, None], v.transpose(-1, -2) @ weighed)

    # What the steps of a chunk read of each other, and of the chunks before.
    start = since + _alive(begins[..., None], cuts, _NEVER)
    own = log_i - sums
    if cuts is None:
        m = torch.maximum(sums + own.cummax(-1).values, start)
    else:
        pairs = sums[..., :, None] + own[..., None, :]
        m = torch.maximum(pairs.masked_fill(~cuts.pairs, float("-inf")).amax(-1), start)
    if not record:
        m = m.detach()  # it drops out of h
    decay = _decay(sums - m, own, None if cuts is None else cuts.pairs, dtype)
    gain = torch.exp(start - m).to(dtype)[..., None]
    read = (decay * (q @ k.transpose(-1, -2))) @ v + gain * (q @ C.transpose(-1, -2))
    m = m.to(dtype)
    h = _in_steps(_normalised(read[..., :-1], read[..., -1], m), T)
    state = (last[..., :-1, :], last[..., -1, :], ends[..., -1].to(dtype))
    if not record:
        return Read(h, state)
    normalisers = decay @ k + gain * C[..., -1:, :]
    return Read(h, state, _in_steps(normalisers, T), _in_steps(m[..., None], T).squeeze(-1))


class _Cuts:
    """Where the state begins anew, B×1×K×L."""

    def __init__(self, cuts: Tensor) -> None:
        length = cuts.shape[-1]
        pieces = cuts.cumsum(-1)
        steps = torch.arange(length, device=cuts.device)
        self.alive = pieces == 0
        """Whether the state that the chunk began with is still there."""
        self.reaches_end = pieces == pieces[..., -1:]
        self.pairs = (pieces[..., :, None] == pieces[..., None, :]) & (steps[:, None] >= steps)
        """Which steps see which."""
        self._last = torch.where(cuts, steps, -1).cummax(-1).values

    def before(self, sums: Tensor) -> Tensor:
        """Return the sum before the last cut, or 0 before the first."""
        at = self._last.clamp_min(0).expand_as(sums)
        return torch.where(self.alive, 0.0, sums.gather(-1, at))


def _alive(value: Tensor, cuts: _Cuts | None, other: float, *, at_end: bool = False) -> Tensor:
    """Return ``value`` where the state that the chunk began with is still there, else ``other``."""
    if cuts is None:
        return value
    alive = cuts.alive[..., -1] if at_end else cuts.alive
    return torch.where(alive, value, other)


def _decay(since: Tensor, own: Tensor, pairs: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return exp(since_t + own_s) where t sees s, else 0: B×NH×K×L×L, rounded to ``dtype`` before.

    The sum over pairs is a product of L×2 with 2×L, which costs one pass through memory, and none
    for its derivatives.
    """
    least, length = torch.finfo(dtype).min / 2, own.shape[-1]
    middle = own.detach().amax(-1, keepdim=True).clamp_min(_NEVER)
    since, own = (since + middle).to(dtype), (own - middle).to(dtype).clamp_min(least)
    if pairs is None:
        pairs = torch.ones(length, length, dtype=torch.bool, device=own.device).tril()
    else:
        pairs = pairs.expand(*own.shape, length).flatten(0, 2)
    hidden = torch.zeros(pairs.shape, dtype=dtype, device=own.device).masked_fill(~pairs, least)
    one = torch.ones_like(own)
    left, right = torch.stack([since, one], -1), torch.stack([one, own], -2)
    summed = torch.baddbmm(hidden, left.flatten(0, 2), right.flatten(0, 2))
    return summed.exp().unflatten(0, own.shape[:3])


def _stabilisers(
    m: Tensor, since: Tensor, most: Tensor, cuts: _Cuts | None
) -> tuple[Tensor, Tensor]:
    """Return m before and after each chunk, B×NH×K."""
    before = [m]
    for chunk in range(since.shape[-1]):
        if cuts is not None:
            m = torch.where(cuts.alive[..., chunk, -1], m, _NEVER)
        m = torch.maximum(since[..., chunk] + m, most[..., chunk])
        before.append(m)
    every = torch.stack(before, -1)
    return every[..., :-1], every[..., 1:]


def _carry(state: Tensor, kept: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
    """Return the state before each chunk, B×NH×K×…, and after the last."""
    before = []
    for chunk in range(added.shape[2]):
        before.append(state)
        state = kept[:, :, chunk] * state + added[:, :, chunk]
    return torch.stack(before, 2), state


def _normalised(found: Tensor, weight: Tensor, m: Tensor) -> Tensor:
    """Return found / max(|weight|, e^-m), with no exponential above 1."""
    scale = torch.exp(m.clamp_max(0.0))
    least = torch.exp(-m.clamp_min(0.0)).clamp_min(torch.finfo(m.dtype).tiny)
    return found * (scale / torch.maximum(weight.abs() * scale, least))[..., None]


def _in_chunks(value: Tensor, count: int, length: int, padding: float) -> Tensor:
    """Return T×B×NH×… as B×NH×K×L×…, filled up with ``padding``."""
    T, rest = len(value), value.shape[1:]
    if count * length > T:
        value = torch.cat([value, value.new_full((count * length - T, *rest), padding)])
    value = value.reshape(count, length, *rest)
    return value.permute(2, 3, 0, 1, *range(4, value.dim())).contiguous()


def _in_steps(value: Tensor, T: int) -> Tensor:
    """Return B×NH×K×L×d as T×B×NH×d."""
    return value.permute(2, 3, 0, 1, 4).flatten(0, 1)[:T]
