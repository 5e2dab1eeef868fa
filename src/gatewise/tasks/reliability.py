"""Whether decisions are right as often as they are sure: confidence in bins, and the mean gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

BINS: Final = 10
"""Of confidence, equally wide."""


@dataclass(frozen=True)
class Reliability:
    """How often decisions are right, by how sure they are; K bins that are not empty.

    Args:
        confidence: Mean confidence in each bin.
        accuracy: Share of right decisions in it.
        count: Decisions in it.
        error: Expected calibration error: the mean gap between the two, weighted by ``count``.

    Source:
        C. Guo et al., "On calibration of modern neural networks", ICML 2017, arXiv:1706.04599.
    """

    confidence: Float[np.ndarray, "K"]
    accuracy: Float[np.ndarray, "K"]
    count: Int[np.ndarray, "K"]
    error: float


def reliability(
    confidence: Float[np.ndarray, "M"], right: Bool[np.ndarray, "M"], bins: int = BINS
) -> Reliability:
    """Return how well M confidences, 0 to 1, foretell which decisions are right."""
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    full = count > 0
    mean = np.bincount(place, confidence, bins)[full] / count[full]
    share = np.bincount(place, right, bins)[full] / count[full]
    error = float((np.abs(share - mean) * count[full]).sum() / count.sum())
    return Reliability(mean, share, count[full], error)
