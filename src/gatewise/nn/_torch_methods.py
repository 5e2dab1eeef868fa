"""What torch code calls on recurrent layers beside forward, and its names of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from gatewise.errors import InvalidStateError
from gatewise.nn import _validate


def own_weights(module: nn.Module, names: Sequence[str]) -> list[Any]:
    """Return weights by name, faster than attribute access; an absent bias is None.

    A weight that is reparametrised or replicated is an attribute instead of a parameter.
    """
    own = module._parameters  # noqa: SLF001 - named_parameters costs as much as a small forward
    return [own[name] if name in own else getattr(module, name) for name in names]


class TorchMethods:
    """Methods and attributes of torch's recurrent layers, mixed into `RecurrentLayer`."""

    _all_weights: list[list[str]]

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The weights of each layer and direction, as torch's layers give them."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights(self) -> list[Tensor]:
        return [weight for weights in self.all_weights for weight in weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    def flatten_parameters(self) -> None:
        """Do nothing: torch's layers pack their weights for cuDNN here; ours need no packing."""

    def get_expected_hidden_size(
        self: Any,
        input: Tensor,  # noqa: A002
        batch_sizes: Tensor | None,
    ) -> tuple[int, int, int]:
        """Return the shape of h_0 for an input (batched, or packed steps with batch_sizes)."""
        batch_axis = 0 if self.batch_first else 1
        batch = input.size(batch_axis) if batch_sizes is None else int(batch_sizes[0])
        return self.num_layers * self.num_directions, batch, self.state_size

    def check_input(self: Any, input: Tensor, batch_sizes: Tensor | None) -> None:  # noqa: A002
        """Raise unless the input (batched, or packed steps with batch_sizes) fits the layer."""
        axes = 3 if batch_sizes is None else 2
        if input.dim() != axes:
            raise InvalidStateError(f"{self.kind}(input)", f"{axes} axes", str(input.dim()))
        _validate.check_input(self, input, self._flat_weights[0])

    def check_hidden_size(
        self: Any,
        hx: Tensor,
        expected_hidden_size: tuple[int, ...],
        msg: str = "Expected hidden size {}, got {}",
    ) -> None:
        """Raise unless ``hx`` has the expected shape."""
        if hx.size() != expected_hidden_size:
            raise InvalidStateError(
                f"{self.kind}(hx)",
                f"shape {tuple(expected_hidden_size)}",
                f"shape {tuple(hx.shape)}",
                msg.format(expected_hidden_size, list(hx.size())) + ".",
            )
