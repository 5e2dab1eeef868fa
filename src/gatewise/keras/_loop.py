"""The loop over time of a Keras layer, run by our kernels on Keras' weights.

The weights stay in Keras' layout, which the optimizer and saved files know; each call brings them
into torch's, and autograd brings their gradients back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from gatewise.convert._keras_activations import cell_function
from gatewise.convert._keras_objects import activation_name, import_keras
from gatewise.convert._keras_weights import to_torch_layout
from gatewise.errors import InvalidStateError, InvalidValueError
from gatewise.nn._step_mask import StepMask, check_mask, last_output, step_outputs
from gatewise.ops import explain as explain_kernel
from gatewise.ops import run_layer
from gatewise.ops.reference import CellOptions

keras = import_keras("gatewise.keras")

_GRU_FUNCTIONS: Final = {"activation": "tanh", "recurrent_activation": "sigmoid"}


def check(layer: Any) -> None:
    """Raise unless our kernels can do what a layer asks for; keep Keras from choosing another.

    Our names of its activations become attributes of the layer, which compiled code can read.

    Raises:
        InvalidStateError: Keras runs on another backend than torch.
        InvalidValueError: An activation that they do not have.
    """
    where = f"gatewise.keras.{type(layer).__name__}"
    backend = keras.backend.backend()
    if backend != "torch":
        raise InvalidStateError(
            where,
            "Keras on its torch backend",
            repr(backend),
            "Set KERAS_BACKEND=torch before anything imports Keras, or take the layer of "
            "keras.layers; gatewise.from_keras and to_keras know every backend.",
        )
    layer.our_activation, layer.our_gate_activation = _functions(where, layer)
    layer.use_cudnn = False


def run(
    layer: Any,
    sequences: Tensor,
    initial_state: Sequence[Tensor],
    mask: Any,
    *,
    training: bool,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Run a built layer over a batch.

    Args:
        layer: An `LSTM` or `GRU` of this package.
        sequences: B×T×I.
        initial_state: h and, for an LSTM, c, each B×H.
        mask: Which steps count, B×T, alone or in a list; None for all.
        training: Whether dropout acts.

    Returns:
        The last output, B×H; the outputs of all steps in the order of processing, B×T×H, or the
        last alone, B×1×H; the final states.
    """
    weights = _weights(layer)
    x = sequences.to(weights[0].dtype)
    states = [state.to(x.dtype) for state in initial_state]
    if layer.stateful:  # whose variables Keras writes to before backward reads them
        states = [state.clone() for state in states]
    if training and layer.dropout:
        x = x * _one(layer.cell.get_dropout_mask(x[:, 0])).unsqueeze(1)
    mask = _one(mask)
    steps = None
    if mask is not None:
        mask = mask.bool()
        check_mask(f"gatewise.keras.{type(layer).__name__}", mask, x)
        steps = StepMask(mask)
    options = _options(layer, x.dtype, training=training)
    result = run_layer(
        _cell(layer),
        (x if steps is None else steps.gather(x)).transpose(0, 1),
        tuple(state.unsqueeze(0) for state in states),
        weights,
        lengths=None if steps is None else steps.lengths,
        options=options,
        seed=_seed(layer.cell, x.device) if options.masked else None,
    )
    final = [state[0] for state in result.states]
    how = {"reverse": layer.go_backwards, "zero": layer.zero_output_for_mask}
    if layer.return_sequences:
        outputs = step_outputs(result.y.transpose(0, 1), steps, **how)
        last = outputs[:, -1]
    else:
        last = last_output(final[0], steps, **how)
        outputs = last.unsqueeze(1)
    if steps is not None:
        final = [steps.final(*pair) for pair in zip(final, states, strict=True)]
    return last, outputs, final


def explain(layer: Any) -> str:
    """Say which kernel runs a layer, and why.

    Raises:
        InvalidStateError: It has no weights yet.
    """
    if not layer.built:
        raise InvalidStateError(
            f"gatewise.keras.{type(layer).__name__}", "a layer that is built", "one without weights"
        )
    # Keras casts to this dtype around each call, and nowhere else.
    weights = [weight.to(getattr(torch, layer.compute_dtype)) for weight in _weights(layer)]
    options = _options(layer, weights[0].dtype, training=True)
    return str(explain_kernel(weights, _cell(layer), options=options))


def _cell(layer: Any) -> str:
    if isinstance(layer, keras.layers.LSTM):
        return "lstm"
    return "gru" if layer.cell.reset_after else "gru_before"


def _weights(layer: Any) -> list[Tensor]:
    cell = layer.cell
    arrays = (cell.kernel, cell.recurrent_kernel, cell.bias)
    own = [keras.ops.convert_to_tensor(array) for array in arrays if array is not None]
    return to_torch_layout("LSTM" if isinstance(layer, keras.layers.LSTM) else "GRU", own)


def _options(layer: Any, dtype: torch.dtype, *, training: bool) -> CellOptions:
    return CellOptions(
        activation=layer.our_activation,
        gate_activation=layer.our_gate_activation,
        recurrent_dropout=layer.recurrent_dropout if training else 0.0,
        bf16=dtype is torch.bfloat16,
        reverse=layer.go_backwards,
    )


def _functions(where: str, layer: Any) -> list[str]:
    """Return our names of the activation and of that of the gates."""
    ours = []
    for name, only in _GRU_FUNCTIONS.items():
        theirs = activation_name(f"{where}({name})", getattr(layer, name))
        if isinstance(layer, keras.layers.GRU) and theirs != only:
            raise InvalidValueError(
                f"{where}({name})", only, theirs, "keras.layers.GRU has others."
            )
        ours.append(cell_function(f"{where}({name})", theirs))
    return ours


def _one(given: Any) -> Any:
    """Return a tensor that Keras may hand over in a list: a mask, or one mask for each gate."""
    return given[0] if isinstance(given, list | tuple) else given


def _seed(cell: Any, device: torch.device) -> Tensor:
    """Draw the seed of the masks from Keras' generator."""
    first, second = cell.seed_generator.next().tolist()
    return torch.tensor([(first << 31) ^ second], device=device)
