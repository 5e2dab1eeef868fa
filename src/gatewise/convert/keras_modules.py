"""What a converted Keras model is made of: torch modules that answer as Keras' layers do.

Batch first; the last output or all; masks that are handed on. Dense, Dropout and activations are
torch's own modules. The kernels below are those of `gatewise.nn`.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from gatewise.errors import InvalidTypeError, InvalidValueError
from gatewise.nn import GRU, LSTM, RNN
from gatewise.nn._step_mask import StepMask, check_mask, last_output, step_outputs

MergeMode = Literal["concat", "sum", "mul", "ave"]
MERGE_MODES: Final = ("concat", "sum", "mul", "ave", None)


class HandsOnMask(nn.Module):
    """A module that is called with a mask of steps, and says which one the next gets."""

    def next_mask(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        """Return the mask for the module after this one, which was called with these."""
        raise NotImplementedError


class KerasSequential(nn.Sequential):
    """`torch.nn.Sequential` with Keras' masks, which go from module to module.

    Example:
        >>> last = KerasRecurrent(LSTM(3, 4, batch_first=True))
        >>> KerasSequential(KerasEmbedding(9, 3), last)(torch.tensor([[5, 2, 0, 0]])).shape
        torch.Size([1, 4])
    """

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Any:  # noqa: A002
        """Call the modules one after the other.

        Args:
            input: What the first module takes; sequences are batch first.
            mask: Which steps count, bool B×T; None for all.

        Returns:
            What the last module gives.
        """
        x = input
        for module in self:
            if isinstance(module, HandsOnMask):
                x, mask = module(x, mask), module.next_mask(x, mask)
            else:
                x = module(x)
        return x


class KerasRecurrent(HandsOnMask):
    """A recurrent layer of ours that answers as Keras' does.

    Args:
        layer: An `LSTM`, `GRU` or `RNN` of one layer with ``batch_first=True``; with
            ``reverse=True`` it is Keras' ``go_backwards``, which gives its outputs in the order in
            which they were computed.
        return_sequences: Whether to return the output of every step, B×T×(D·H), or of the last,
            B×(D·H).
        return_state: Whether to return the final states as well, each B×H.
        merge_mode: How the outputs of two directions are put together; None leaves them apart.
        zero_output_for_mask: Whether the output of a masked step is zero, or that of the step
            before it. All outputs of a layer with two directions are zero there.

    Raises:
        GatewiseError: The layer is none of these.

    Example:
        >>> last = KerasRecurrent(LSTM(3, 8, batch_first=True))
        >>> last(torch.randn(2, 5, 3)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        layer: LSTM | GRU | RNN,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        merge_mode: MergeMode | None = "concat",
        zero_output_for_mask: bool = False,
    ) -> None:
        super().__init__()
        _check_layer(layer)
        if merge_mode not in MERGE_MODES:
            raise InvalidValueError(
                "KerasRecurrent(merge_mode)", f"one of {MERGE_MODES}", repr(merge_mode)
            )
        self.layer = layer
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.merge_mode = merge_mode
        self.zero_output_for_mask = zero_output_for_mask

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        """Run the layer over a batch of sequences.

        Args:
            x: B×T×I.
            mask: Which steps count, bool B×T; None for all. At the others the state stays.

        Returns:
            The output; two of them with ``merge_mode=None``; then, with ``return_state``, the
            states of each direction, h before c.

        Raises:
            GatewiseError: x or the mask has another shape or dtype.
        """
        steps = None
        if mask is None:
            y, states = self.layer(x)
        else:
            check_mask("KerasRecurrent", mask, x)
            steps = StepMask(mask)
            y, states = self.layer(steps.gather(x), lengths=steps.lengths)
        final = states if isinstance(states, tuple) else (states,)
        outputs = self._all(y, steps) if self.return_sequences else self._last(final[0], steps)
        if self.return_state:
            if steps is not None:
                final = tuple(steps.final(state) for state in final)
            apart = [state[d] for d in range(self.layer.num_directions) for state in final]
            outputs = (*outputs, *apart)
        return outputs[0] if len(outputs) == 1 else outputs

    def next_mask(self, x: Tensor, mask: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """Return the mask as it came if there are outputs for its steps."""
        return mask if self.return_sequences else None

    def extra_repr(self) -> str:
        """Show what differs from Keras' defaults."""
        flags = ("return_sequences", "return_state", "zero_output_for_mask")
        shown = [f"{name}=True" for name in flags if getattr(self, name)]
        if self.merge_mode != "concat":
            shown.append(f"merge_mode={self.merge_mode!r}")
        return ", ".join(shown)

    def _all(self, y: Tensor, steps: StepMask | None) -> tuple[Tensor, ...]:
        reverse = self.layer.reverse
        if not self.layer.bidirectional:
            return (step_outputs(y, steps, reverse=reverse, zero=self.zero_output_for_mask),)
        return self._merged(*step_outputs(y, steps, reverse=reverse, zero=True).chunk(2, -1))

    def _last(self, h: Tensor, steps: StepMask | None) -> tuple[Tensor, ...]:
        if self.layer.bidirectional:
            return self._merged(*(h if steps is None else steps.final(h)))
        zero = self.zero_output_for_mask
        return (last_output(h[0], steps, reverse=self.layer.reverse, zero=zero),)

    def _merged(self, forth: Tensor, back: Tensor) -> tuple[Tensor, ...]:
        if self.merge_mode is None:
            return forth, back
        if self.merge_mode == "concat":
            return (torch.cat([forth, back], -1),)
        if self.merge_mode == "mul":
            return (forth * back,)
        return (forth + back if self.merge_mode == "sum" else (forth + back) / 2,)


class KerasEmbedding(nn.Embedding, HandsOnMask):
    """Keras' Embedding with ``mask_zero=True``: steps with the number 0 do not count.

    Unlike the row of a ``padding_idx``, the row 0 is trained.
    """

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:  # noqa: A002, ARG002
        """Look up the rows of whole numbers, B×T."""
        return super().forward(input)

    def next_mask(self, x: Tensor, mask: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """Return where the numbers are not 0."""
        return x != 0


class KerasMasking(HandsOnMask):
    """Keras' Masking: a step does not count if all its features are ``mask_value``.

    Args:
        mask_value: The number that marks a step.
    """

    def __init__(self, mask_value: float = 0.0) -> None:
        super().__init__()
        self.mask_value = mask_value

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return x, B×T×F, with zeros in the marked steps."""
        return torch.where((x != self.mask_value).any(-1, keepdim=True), x, 0)

    def next_mask(self, x: Tensor, mask: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """Return the steps that are not marked."""
        return (x != self.mask_value).any(-1)

    def extra_repr(self) -> str:
        """Show the number."""
        return f"mask_value={self.mask_value:g}"


def _check_layer(layer: Any) -> None:
    where = "KerasRecurrent(layer)"
    if type(layer) not in (LSTM, GRU, RNN):
        raise InvalidTypeError(where, "an LSTM, GRU or RNN of gatewise.nn", type(layer).__name__)
    if layer.num_layers != 1 or not layer.batch_first:
        raise InvalidValueError(
            where,
            "a single layer with batch_first=True",
            f"num_layers={layer.num_layers}, batch_first={layer.batch_first}",
            "Put several layers into a KerasSequential.",
        )
