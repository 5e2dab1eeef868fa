"""Adversarial and virtual adversarial training on embeddings (Miyato, Dai & Goodfellow 2017).

A network is given as a function from a *shift*, T×B×E, which it adds to the vectors of its tokens,
to its loss or outputs. The shift that hurts most is sought by one gradient; the loss there is added
to that of the step.

The paper normalises embeddings by the frequencies of their words, lest they grow until no shift of
a given length matters. Here they stay as they are, and shifts are measured in units of their
spread, which is the same adversary: with v̄ = (v - μ) / σ, a shift r of v̄ is one of σ·r of v.

Source:
    T. Miyato, A. M. Dai, I. Goodfellow, "Adversarial training methods for semi-supervised text
    classification", ICLR 2017, arXiv:1605.07725.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Adversarial = Literal["none", "fgm", "vat"]

PROBE: Final = 0.1
"""Length of the random shift from which VAT seeks the worst one, in units of the spread."""


def embedding_spread(weight: Float[Tensor, "V E"], counts: Int[Tensor, "V"]) -> Float[Tensor, "E"]:
    """Return the deviation of each feature over the words of a text.

    Args:
        weight: A row for each word of the vocabulary.
        counts: How often each stands in the text; if none does, all count alike.
    """
    counts = counts if bool(counts.any()) else torch.ones_like(counts)
    share = (counts / counts.sum()).to(weight)[:, None]
    mean = (share * weight).sum(0)
    return (share * (weight - mean) ** 2).sum(0).sqrt().detach()


def worst_shift(
    objective: Float[Tensor, ""],
    shift: Float[Tensor, "T B E"],
    spread: Float[Tensor, "E"],
    radius: float,
) -> Float[Tensor, "T B E"]:
    """Return, for each sequence, the shift along the gradient of an objective.

    Args:
        objective: What it is to raise; its graph is kept.
        shift: Where the gradient is taken; a leaf of that graph.
        spread: Of the embedding's features.
        radius: Length of the shift of a whole sequence, in units of the spread, > 0.

    Returns:
        The shift, without a graph; zeros where the gradient is zero, as in padding.
    """
    (gradient,) = torch.autograd.grad(objective, shift, retain_graph=True)
    return spread * (radius * _unit(spread * gradient))


def fgm_loss(
    loss_of: Callable[[Float[Tensor, "T B E"]], Float[Tensor, ""]],
    shape: tuple[int, int],
    spread: Float[Tensor, "E"],
    radius: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the loss, and the loss where each sequence is moved against its label.

    Args:
        loss_of: Gives the loss of the batch under a shift, a sum; called twice, with the same
            random draws.
        shape: T, B.
        spread: Of the embedding's features.
        radius: Length of the shift, in units of the spread.
    """
    start = spread.new_zeros(*shape, len(spread)).requires_grad_()
    with _draws_kept(spread.device):
        loss = loss_of(start)
    return loss, loss_of(worst_shift(loss, start, spread, radius))


def vat_loss(
    outputs_of: Callable[[Float[Tensor, "T B E"]], Float[Tensor, "..."]],
    valid: Bool[Tensor, "T B"],
    spread: Float[Tensor, "E"],
    radius: float,
    divergence: Callable[[Tensor, Tensor], Float[Tensor, ""]],
) -> tuple[Float[Tensor, "..."], Float[Tensor, ""]]:
    """Return the outputs, and how far they move where each sequence is moved most; no label needed.

    Args:
        outputs_of: Gives the outputs for the batch under a shift; called three times, with the
            same random draws.
        valid: Which steps of which sequences there are.
        spread: Of the embedding's features.
        radius: Length of the shift, in units of the spread.
        divergence: Of the moved outputs from the unmoved ones, a sum over the batch.
    """
    noise = torch.randn(*valid.shape, len(spread), device=spread.device, dtype=spread.dtype)
    probe = PROBE * _unit(noise * valid[..., None])
    start = (spread * probe).requires_grad_()
    with _draws_kept(spread.device):
        outputs = outputs_of(torch.zeros_like(start))
    with _draws_kept(spread.device):
        moved = divergence(outputs.detach(), outputs_of(start))
    shift = worst_shift(moved, start, spread, radius)
    return outputs, divergence(outputs.detach(), outputs_of(shift))


def categorical_divergence(
    outputs: Float[Tensor, "N C"], moved: Float[Tensor, "N C"]
) -> Float[Tensor, ""]:
    """Return the sum of KL(p ‖ q) over N distributions of C classes, given as logits of p and q."""
    log_p, log_q = F.log_softmax(outputs, -1), F.log_softmax(moved, -1)
    return F.kl_div(log_q, log_p, reduction="sum", log_target=True)


def bernoulli_divergence(
    outputs: Float[Tensor, "N C"], moved: Float[Tensor, "N C"]
) -> Float[Tensor, ""]:
    """Return the sum of KL(p ‖ q) over N·C yes-or-no outcomes, given as logits of p and q."""
    p, q = (torch.stack([logits, torch.zeros_like(logits)], -1) for logits in (outputs, moved))
    return categorical_divergence(p.flatten(0, 1), q.flatten(0, 1))


def _unit(shift: Float[Tensor, "T B E"]) -> Float[Tensor, "T B E"]:
    """Scale each sequence to length 1; the largest entry first, since tiny squares vanish."""
    scaled = shift / shift.abs().amax((0, 2), keepdim=True).clamp_min(1e-30)
    return scaled / scaled.norm(dim=(0, 2), keepdim=True).clamp_min(1e-12)


def _draws_kept(device: torch.device) -> AbstractContextManager[None]:
    """Leave the generators as they were: with other masks, dropout alone would move the outputs."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
