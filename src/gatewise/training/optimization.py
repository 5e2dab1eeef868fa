"""Optimizers, learning rates by epoch and step, and what counts as a better score.

All of it is a function of the settings, the position in the fit and the scores so far. So there is
no state to save, and a resumed fit has the same learning rates as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

from gatewise.training.settings import FitSettings, Mode

_PLATEAU_EPOCHS = 2  # epochs without a better score before ``plateau`` lowers the rate
_WARM_UP = 0.3  # share of the steps in which ``one_cycle`` rises
_START, _END = 1 / 25, 1 / 25e4  # ends of ``one_cycle``, in units of its peak (torch's defaults)


def make_optimizer(
    parameters: Iterable[nn.Parameter], settings: FitSettings
) -> torch.optim.Optimizer:
    """Return the optimizer of the settings over ``parameters``."""
    held, rate, decay = list(parameters), settings.learning_rate, settings.weight_decay
    # fused: one kernel for all parameters instead of some ten small ones for each
    match settings.optimizer:
        case "adam":
            return torch.optim.Adam(held, lr=rate, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(held, lr=rate, weight_decay=decay, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(held, lr=rate, weight_decay=decay)
        case "sgd":
            return torch.optim.SGD(
                held, lr=rate, momentum=settings.momentum, weight_decay=decay, fused=True
            )


def learning_rates(
    settings: FitSettings, epoch: int, batches: int, scores: Sequence[float], mode: Mode
) -> Callable[[int], float]:
    """Return the learning rate of each batch of an epoch.

    Args:
        settings: Of the fit.
        epoch: From 1.
        batches: Batches in the epoch.
        scores: The monitored score of every epoch before.
        mode: Whether a lower (``min``) or a higher (``max``) score is better.

    Returns:
        A function from the number of the batch (from 0) to the learning rate.
    """
    peak = settings.learning_rate
    steps, done = settings.max_epochs * batches, (epoch - 1) * batches
    match settings.schedule:
        case "constant":
            return lambda _: peak
        case "exponential":
            rate = peak * settings.decay ** max(epoch - settings.hold_epochs, 0)
            return lambda _: rate
        case "plateau":
            lowered = peak * settings.decay ** _reductions(scores, mode, settings.min_delta)
            return lambda _: lowered
        case "cosine":
            return lambda batch: _cosine(peak, 0.0, (done + batch) / steps)
        case "one_cycle":
            return lambda batch: peak * _one_cycle(done + batch, steps)


def is_better(score: float, best: float, mode: Mode, min_delta: float = 0.0) -> bool:
    """Return whether ``score`` gains more than ``min_delta`` on ``best``."""
    return score < best - min_delta if mode == "min" else score > best + min_delta


def epochs_without_gain(scores: Sequence[float], mode: Mode, min_delta: float) -> int:
    """Return how many epochs in a row, up to the last, brought no better score."""
    best, idle = None, 0
    for score in scores:
        if best is None or is_better(score, best, mode, min_delta):
            best, idle = score, 0
        else:
            idle += 1
    return idle


def _reductions(scores: Sequence[float], mode: Mode, min_delta: float) -> int:
    """How often ``plateau`` has lowered the rate; it counts afresh after each time."""
    best, idle, times = None, 0, 0
    for score in scores:
        if best is None or is_better(score, best, mode, min_delta):
            best, idle = score, 0
        else:
            idle += 1
        if idle == _PLATEAU_EPOCHS:
            times, idle = times + 1, 0
    return times


def _one_cycle(step: int, steps: int) -> float:
    """Share of the peak at a step (Smith & Topin 2018, in torch's two phases)."""
    top = _WARM_UP * steps - 1
    if step <= top:
        return _cosine(_START, 1.0, step / top if top > 0 else 1.0)
    return _cosine(1.0, _END, (step - top) / (steps - 1 - top))


def _cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from ``start`` (share 0) to ``end`` (share 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
