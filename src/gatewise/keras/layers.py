"""`keras.layers.LSTM` and `GRU` with the loop over time in our kernels.

Everything else is Keras' own: arguments, weights, initial values, saving, `Bidirectional`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from torch import Tensor

from gatewise.convert._keras_objects import import_keras
from gatewise.errors import GatewiseError
from gatewise.keras import _loop

keras = import_keras("gatewise.keras")

# Of an error without this Keras makes another, which keeps the first part of the message alone.
_AS_IT_IS: Final = "_keras_call_info_injected"


class _OnKernels:
    """What a layer of Keras does by our kernels: mixed in before its class."""

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Create the weights, if our kernels can do what is asked."""
        _loop.check(self)
        parent: Any = super()
        parent.build(sequences_shape, initial_state_shape)

    def inner_loop(
        self, sequences: Tensor, initial_state: Sequence[Tensor], mask: Any, training: Any = False
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the last output, all of them, and the final states, which Keras asks for."""
        try:
            return _loop.run(self, sequences, initial_state, mask, training=bool(training))
        except GatewiseError as error:
            setattr(error, _AS_IT_IS, True)
            raise

    def explain(self) -> str:
        """Say in a sentence which kernel runs this layer on this machine, and why."""
        return _loop.explain(self)


@keras.saving.register_keras_serializable(package="gatewise")
class LSTM(_OnKernels, keras.layers.LSTM):
    """`keras.layers.LSTM` on our kernels, for Keras' torch backend.

    A drop-in: arguments, weights and results are Keras'. Every mask, ``go_backwards``,
    ``stateful``, ``initial_state`` and ``Bidirectional`` work; ``unroll``, ``implementation`` and
    ``use_cudnn`` have no effect. ``dropout`` has one mask for all steps and gates, and so has
    ``recurrent_dropout``, which in Keras has one for each gate. ``activation`` and
    ``recurrent_activation`` are those that `gatewise.nn.LSTM` has, of which some run in plain
    torch (`explain` says so); another is refused when the layer is built.

    Saved models name the class ``gatewise>LSTM``: import `gatewise.keras` before loading one.

    Raises:
        InvalidValueError: When built: an activation that our LSTM has not.
        InvalidStateError: When built: Keras runs on another backend than torch.

    Example:
        >>> model = keras.Sequential([keras.Input((None, 3)), LSTM(8), keras.layers.Dense(1)])
        >>> model.compile("adam", "mse")
        >>> history = model.fit(torch.randn(64, 20, 3), torch.randn(64, 1), verbose=0)
        >>> model.layers[0].explain().split()[0]
        'native'
    """


@keras.saving.register_keras_serializable(package="gatewise")
class GRU(_OnKernels, keras.layers.GRU):
    """`keras.layers.GRU` on our kernels, for Keras' torch backend.

    A drop-in, see `LSTM`; with either ``reset_after``. ``activation`` is ``tanh`` and
    ``recurrent_activation`` is ``sigmoid``; another is refused when the layer is built.

    Raises:
        InvalidValueError: When built: another activation.
        InvalidStateError: When built: Keras runs on another backend than torch.

    Example:
        >>> GRU(8, return_sequences=True)(torch.randn(2, 5, 3)).shape
        torch.Size([2, 5, 8])
    """
