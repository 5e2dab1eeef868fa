"""What the layers have in common whose state is h alone: forward, and methods that torch's have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewise.errors import InvalidTypeError
from gatewise.nn._recurrent import RecurrentLayer


class SingleStateLayer(RecurrentLayer):
    """Base of `GRU` and `RNN`; subclasses set ``Trace``, the named tuple of what the cell shows."""

    Trace: Any

    @overload
    def forward(
        self,
        input: Tensor,
        hx: Tensor | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
        trace: Literal[False] = False,
        recompute: int | None = None,
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def forward(
        self,
        input: PackedSequence,
        hx: Tensor | None = None,
        *,
        trace: Literal[False] = False,
        recompute: int | None = None,
    ) -> tuple[PackedSequence, Tensor]: ...

    @overload
    def forward(
        self,
        input: Tensor,
        hx: Tensor | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
        trace: Literal[True],
    ) -> tuple[Tensor, Tensor, Any]: ...

    def forward(
        self,
        input,  # noqa: A002
        hx=None,
        *,
        lengths=None,
        reset=None,
        trace=False,
        recompute=None,
    ):
        """Run the layers over a batch of sequences.

        Args:
            input: T×B×I, B×T×I with ``batch_first``, T×I unbatched, or a PackedSequence.
            hx: Initial ``h_0``, (L·D)×B×H, without B when unbatched; by default zeros,
                or the learned state.
            lengths: Valid steps of each sequence, B integers from 1 to T in any order. The output
                is zero beyond, the final state is that of the last valid step, and the direction
                against time starts there.
            reset: Bool, T×B (B×T with ``batch_first``, T unbatched). True cuts the sequence before
                that step, in both directions: the state starts afresh, as if the pieces were run
                apart. At step 0 it discards h_0, but of a direction against time, which ends there.
            trace: Whether to return the gates and states of every step as well.
            recompute: In training, keep the states of every so many steps only, and run the steps
                between again in backward: memory beyond input and output no longer grows with T,
                for about a third more time. Differentiable once; not with ``trace``.

        Returns:
            The output, T×B×(D·H) in the layout of the input, then ``h_n``, shaped like ``hx``, then
            with ``trace=True`` the class's ``Trace``.

        Raises:
            GatewiseError: An argument does not fit; also a ValueError, TypeError or RuntimeError,
                as in torch. The message names the argument.
        """
        if hx is not None and not isinstance(hx, Tensor):
            raise InvalidTypeError(f"{self.kind}(hx)", "a tensor h_0", type(hx).__name__)
        y, (h_n,), parts = self._run(
            input, None if hx is None else (hx,), lengths, reset, trace=trace, recompute=recompute
        )
        return (y, h_n, self.Trace(*parts)) if trace else (y, h_n)

    def initial_state(self, batch: int) -> Tensor:
        """Return ``h_0`` for ``batch`` sequences, (L·D)×B×H.

        Zeros in the weights' dtype, on their device; with ``learn_initial_state`` the learned
        state, to which gradients flow.
        """
        (h_0,) = self._initial_states(batch)
        return h_0

    def check_forward_args(
        self,
        input: Tensor,  # noqa: A002
        hidden: Tensor,
        batch_sizes: Tensor | None,
    ) -> None:
        """Raise unless an input and its initial state, both batched, fit the layer."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Tensor, permutation: Tensor | None) -> Tensor:
        """Reorder the batch axis of the state."""
        return hx if permutation is None else hx.index_select(1, permutation)
