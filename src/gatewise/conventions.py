"""Shape letters, gate order and parameter names: the same in Python, C++ and prose.

====== =======================================================
letter meaning
====== =======================================================
``T``  time steps
``B``  batch
``I``  input size
``H``  hidden size
``P``  projection size: the width of h (``P = H`` without one)
``L``  layers
``D``  directions, 1 or 2
``G``  gates
====== =======================================================

Gates are stacked in torch's order and never reordered. Parameters carry torch's names, so that a
``state_dict`` moves both ways between ``torch.nn`` and ``gatewise.nn``.
"""

from __future__ import annotations

from typing import Final

LSTM_GATES: Final = ("i", "f", "g", "o")
"""Input gate, forget gate, candidate, output gate."""

GRU_GATES: Final = ("r", "z", "n")
"""Reset gate, update gate, candidate."""


def parameter_suffix(layer: int, direction: int) -> str:
    """Return torch's suffix of a parameter name: ``l0``, ``l0_reverse``, ``l1`` …."""
    return f"l{layer}_reverse" if direction else f"l{layer}"
