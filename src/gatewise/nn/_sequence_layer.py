"""What `Stack` and the way a call is arranged know of a layer that carries a state through time."""

from __future__ import annotations

from typing import Any


class SequenceLayer:
    """Mixed into every layer that is called with a state, lengths and resets and returns a state.

    Its state is a tensor, or a tuple if there are several, each (L·D)×B×….
    """

    kind: str
    """The name in messages."""
    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    batch_first: bool
    dropout: float
    proj_size: int = 0
    residual: bool = False

    @property
    def num_directions(self) -> int:
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The initial states by name, and the shape that each has for one sequence."""
        raise NotImplementedError

    def initial_state(self, batch: int) -> Any:
        """Return the states that ``batch`` sequences begin with, as ``hx`` has them.

        In the weights' dtype, on their device: zeros, or with ``learn_initial_state`` the learned
        ones, to which gradients flow.
        """
        raise NotImplementedError
