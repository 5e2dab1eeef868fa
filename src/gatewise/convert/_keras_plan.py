"""Which Keras layers a module becomes: names, arguments and weights, before Keras is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from gatewise import nn as gwn
from gatewise.conventions import parameter_suffix
from gatewise.convert._keras_activations import keras_activation, keras_function
from gatewise.convert._keras_weights import to_keras_layout
from gatewise.convert.keras_modules import (
    KerasEmbedding,
    KerasMasking,
    KerasRecurrent,
    KerasSequential,
)
from gatewise.errors import InvalidTypeError, InvalidValueError

_KINDS: Final = {gwn.LSTM: "LSTM", gwn.GRU: "GRU", gwn.RNN: "SimpleRNN"}
_DTYPES: Final = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_ROWS: Final = (KerasSequential, nn.Sequential, gwn.Stack)
# Options of ours that Keras has too, or that change nothing in what is computed.
_SHARED: Final = {
    *("activation", "gate_activation", "reset_after", "reverse", "input_dropout"),
    *("recurrent_dropout", "init", "chrono_steps", "forget_bias", "generator"),
    *("precision", "backend"),
}


@dataclass(frozen=True)
class Planned:
    """A Keras layer to be made.

    Args:
        kind: Its class in ``keras.layers``.
        arguments: Of its constructor.
        weights: In Keras' order and layout; one list for each direction.
        takes: How many features it takes; None if any.
        learns: Whether its weights are trained; for each direction.
        merge_mode: Of the Bidirectional around it, if there are two lists of weights.
    """

    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: Sequence[Sequence[Tensor]] = ()
    takes: int | None = None
    learns: Sequence[bool] = ()
    merge_mode: str | None = "concat"

    @property
    def sequential(self) -> bool:
        """Whether it is about sequences."""
        return self.kind in (*_KINDS.values(), "Masking")

    def layer(self, keras: Any, dtype: str) -> Any:
        """Return the layer, built and filled, which computes in a dtype."""
        arguments = {**self.arguments, "dtype": dtype}
        if dtype in ("bfloat16", "float16") and self.kind in _KINDS.values():
            # Keras draws the weights first, and no orthogonal matrices in 16 bits.
            arguments["recurrent_initializer"] = "glorot_uniform"
        layer = getattr(keras.layers, self.kind)(**arguments)
        if len(self.weights) > 1:
            layer = keras.layers.Bidirectional(layer, merge_mode=self.merge_mode, dtype=dtype)
        if not self.weights:
            return layer
        layer.build((None, None, self.takes) if self.sequential else (None, self.takes))
        sides = [layer] if len(self.weights) == 1 else [layer.forward_layer, layer.backward_layer]
        layer.trainable = any(self.learns)
        for side, weights, learns in zip(sides, self.weights, self.learns, strict=True):
            side.set_weights([_array(weight) for weight in weights])
            side.trainable = learns
        return layer


def input_shape(row: Sequence[Planned]) -> tuple[int | None, ...] | None:
    """Return the shape of one input of a row; None if it may be any."""
    if not any(step.sequential for step in row):
        return None
    if row[0].kind == "Embedding":
        return (None,)
    width = next((step.takes for step in row if step.takes), None)
    return None if width is None else (None, width)


def dtype_of(planned: Sequence[Planned]) -> str:
    """Return the dtype of the weights of a row, as Keras calls it.

    Raises:
        InvalidValueError: They have several, or one that Keras does not compute in.
    """
    weights = [(step, weight) for step in planned for side in step.weights for weight in side]
    first = weights[0][1].dtype if weights else torch.float32
    for step, weight in weights:
        if weight.dtype is not first or first not in _DTYPES:
            raise InvalidValueError(
                "to_keras(module)",
                f"weights of one dtype, {', '.join(map(str, _DTYPES))}",
                f"a {step.kind} of {weight.dtype} after {first}",
                "Bring the module to one first: module.float().",
            )
    return str(first).removeprefix("torch.")


def plan(module: nn.Module) -> list[Planned]:
    """Return the layers that a module becomes.

    Raises:
        InvalidTypeError: There is none for it, or for a module inside.
        InvalidValueError: It has options that Keras lacks.
    """
    planned: list[Planned] = []
    for part in _leaves(module):
        activation = keras_activation(part)
        before = planned[-1] if planned else None
        if activation is None:
            planned += _plan_one(part)
        elif before and before.kind == "Dense" and "activation" not in before.arguments:
            arguments = {**before.arguments, "activation": activation}
            planned[-1] = replace(before, arguments=arguments)
        else:
            planned.append(Planned("Activation", {"activation": activation}))
    if not planned:
        raise InvalidValueError("to_keras(module)", "at least one layer", repr(module)[:80])
    for step in planned[:-1]:
        if step.arguments.get("return_state") or step.merge_mode is None:
            raise InvalidValueError(
                "to_keras(module)",
                "one output of each layer but the last",
                f"a {step.kind} with return_state=True or merge_mode=None",
                "Convert the layers one by one, to_keras(module).",
            )
    return planned


def _leaves(module: Any) -> Iterator[nn.Module]:
    if type(module) in _ROWS:
        for part in module:
            yield from _leaves(part)
    else:
        yield module


def _plan_one(module: Any) -> list[Planned]:
    if type(module) in _KINDS:
        if module.reverse:
            raise InvalidValueError(
                "to_keras(module)",
                "a layer with reverse=False",
                "reverse=True",
                "Keras gives outputs against time in reversed order. Give "
                "gatewise.convert.KerasRecurrent(layer), which does so too.",
            )
        return _plan_recurrent(module, {"return_sequences": True})
    if type(module) is KerasRecurrent:
        names = ("return_sequences", "return_state", "zero_output_for_mask")
        arguments = {name: getattr(module, name) for name in names}
        arguments["go_backwards"] = module.layer.reverse
        return _plan_recurrent(module.layer, arguments, module.merge_mode)
    if type(module) is nn.Linear:
        weights = [module.weight.T] if module.bias is None else [module.weight.T, module.bias]
        arguments = {"units": module.out_features, "use_bias": len(weights) > 1}
        return [Planned("Dense", arguments, [weights], module.in_features, [_all_learn(module)])]
    if type(module) is nn.Dropout:
        return [Planned("Dropout", {"rate": module.p})]
    if type(module) is KerasMasking:
        return [Planned("Masking", {"mask_value": module.mask_value})]
    if type(module) in (nn.Embedding, KerasEmbedding) and module.max_norm is None:
        rows = {"input_dim": module.num_embeddings, "output_dim": module.embedding_dim}
        arguments = {**rows, "mask_zero": type(module) is KerasEmbedding}
        return [Planned("Embedding", arguments, [[module.weight]], None, [_all_learn(module)])]
    raise InvalidTypeError(
        "to_keras(module)",
        "an LSTM, GRU or RNN of gatewise.nn, what from_keras returns, or torch's Linear, "
        "Embedding, Dropout or an activation with Keras' constants",
        repr(module)[:80],
        "Convert the others one by one, to_keras(module).",
    )


def _plan_recurrent(
    layer: Any, arguments: Mapping[str, Any], merge_mode: str | None = "concat"
) -> list[Planned]:
    """Return a Keras layer for each of the layers of ours, with dropout between them."""
    kind = _KINDS[type(layer)]
    where = f"to_keras({type(layer).__name__})"
    lacking = {
        name: value
        for name, (value, usual) in layer.options.items()
        if name not in _SHARED and value != usual
    }
    if layer.proj_size:
        lacking["proj_size"] = layer.proj_size
    if lacking:
        raise InvalidValueError(
            where,
            "a layer with Keras' options alone",
            ", ".join(f"{name}={value!r}" for name, value in lacking.items()),
            "Keras has no layer that computes this: keep ours, or train one without.",
        )
    own = {"units": layer.hidden_size, "use_bias": layer.bias, **_functions(layer, where)}
    reset_after = own.get("reset_after", False)
    planned: list[Planned] = []
    for n, weights in enumerate(layer.layer_weights()):
        last = n == layer.num_layers - 1
        if n and layer.dropout:
            planned.append(Planned("Dropout", {"rate": layer.dropout}))
        count = len(weights) // layer.num_directions
        sides = [
            to_keras_layout(kind, weights[at : at + count], reset_after=reset_after)
            for at in range(0, len(weights), count)
        ]
        given = arguments if last else {"return_sequences": True}
        mode = merge_mode if last else "concat"
        takes = weights[0].shape[1]
        learns = [_learns(where, _parameters(layer, n, d)) for d in range(len(sides))]
        planned.append(Planned(kind, {**own, **given}, sides, takes, learns, mode))
    return planned


def _functions(layer: Any, where: str) -> dict[str, Any]:
    if isinstance(layer, gwn.RNN):
        return {"activation": layer.nonlinearity}
    dropouts = {"dropout": layer.input_dropout, "recurrent_dropout": layer.recurrent_dropout}
    if isinstance(layer, gwn.GRU):
        return {"reset_after": layer.reset_after, **dropouts}
    return {
        "activation": keras_function(f"{where}(activation)", layer.activation),
        "recurrent_activation": keras_function(f"{where}(gate_activation)", layer.gate_activation),
        **dropouts,
    }


def _parameters(layer: nn.Module, n: int, direction: int) -> dict[str, Tensor]:
    """Return what the weights of one direction of one layer are, or are computed from."""
    suffix = parameter_suffix(n, direction)
    ends = re.compile(rf"_{suffix}(?!\d|_reverse)")  # before what a parametrisation adds
    return {name: value for name, value in layer.named_parameters() if ends.search(name)}


def _learns(where: str, parameters: Mapping[str, Tensor]) -> bool:
    """Say whether the parameters of a layer learn."""
    frozen = [name for name, value in parameters.items() if not value.requires_grad]
    if frozen and len(frozen) < len(parameters):
        raise InvalidValueError(
            where,
            f"{', '.join(parameters)} to learn together, or none of them",
            f"requires_grad=False for {', '.join(frozen)} alone",
            "Keras trains a layer as a whole, or not: freeze all of it, or nothing.",
        )
    return not frozen


def _all_learn(module: nn.Module) -> bool:
    return _learns(f"to_keras({type(module).__name__})", dict(module.named_parameters()))


def _array(weight: Tensor) -> Any:
    weight = weight.detach().cpu()
    return (weight.float() if weight.dtype is torch.bfloat16 else weight).contiguous().numpy()
