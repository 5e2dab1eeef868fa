"""From what a Keras model holds to torch modules that compute the same."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from gatewise import nn as gwn
from gatewise.convert._keras_activations import activation_module, cell_function
from gatewise.convert._keras_parts import MODELS, RECURRENT, Part
from gatewise.convert._keras_weights import expected_shapes, named, to_torch_layout
from gatewise.convert.keras_modules import (
    MERGE_MODES,
    KerasEmbedding,
    KerasMasking,
    KerasRecurrent,
    KerasSequential,
)
from gatewise.errors import InvalidStateError, InvalidValueError

_OURS: Final = {"LSTM": gwn.LSTM, "GRU": gwn.GRU, "SimpleRNN": gwn.RNN}
_ALONE: Final = "Convert the layer by itself, from_keras(layer)."
# What Keras computes in, beside the dtype of the weights; others round to fewer bits.
_POLICIES: Final = ("DTypePolicy", None)


def build(part: Part) -> nn.Module:
    """Return the module of a layer or model, in eval mode.

    Raises:
        InvalidValueError: A layer has an option that no module here has; it names both.
        InvalidStateError: A layer has no weights yet.
    """
    if part.kind in MODELS:
        return KerasSequential(*_row(part)).eval()
    modules = _modules(part)
    return (modules[0] if len(modules) == 1 else KerasSequential(*modules)).eval()


def _row(model: Part) -> list[nn.Module]:
    """Return the modules of a model, those of models within it among them."""
    modules: list[nn.Module] = []
    width: int | None = None
    dtype: torch.dtype | None = None
    for part in _leaves(model):
        modules += _modules(part)
        takes, gives = _widths(part)
        if width is not None and takes not in (None, width):
            raise InvalidValueError(part.where, f"weights for {width} features", f"for {takes}")
        width = gives or width
        for weight in (part.parts[0] if part.parts else part).weights[:1]:
            _check_dtype(part, weight, dtype or weight.dtype)
            dtype = weight.dtype
        for option, value in {"return_state": True, "merge_mode": None}.items():
            if getattr(modules[-1], option, False) is value:
                part.refuse(option, "one output inside a model", repr(value), _ALONE)
    return modules


def _leaves(model: Part) -> Iterator[Part]:
    for part in model.parts:
        if part.kind in MODELS:
            yield from _leaves(part)
        else:
            yield part


def _modules(part: Part) -> list[nn.Module]:
    for each in (part, *part.parts):
        _check_plain(each)
    if part.kind in RECURRENT:
        return [_recurrent(part, [part])]
    if part.kind == "Bidirectional":
        return [_bidirectional(part)]
    if part.kind == "Dense":
        return _dense(part)
    if part.kind == "Embedding":
        return [_embedding(part)]
    if part.kind == "Activation":
        return [activation_module(f"{part.where}(activation)", part.config.get("activation"))]
    if part.kind == "Masking":
        return [KerasMasking(float(part.option("mask_value", 0.0)))]
    if part.config.get("noise_shape") is not None:
        got = part.config["noise_shape"]
        part.refuse("noise_shape", "None", got, "torch.nn.Dropout draws every element by itself.")
    rate = part.option("rate", 0.5)
    if not 0 <= rate <= 1:
        part.refuse("rate", "a probability from 0 to 1", rate)
    return [nn.Dropout(rate)]


def _check_plain(part: Part) -> None:
    """Raise if weights are not what their numbers say."""
    if part.config.get("lora_rank") is not None:
        part.refuse("lora_rank", "None", part.config["lora_rank"], "Merge the adaptation first.")
    policy = part.config.get("dtype")
    kind = policy.get("class_name") if isinstance(policy, Mapping) else None
    if kind not in _POLICIES or part.config.get("quantization_config") is not None:
        part.refuse("dtype", "weights in floating point", kind, "Convert it before quantization.")


def _bidirectional(part: Part) -> nn.Module:
    forth, back = part.parts
    if forth.option("go_backwards", usual=False) or not back.option("go_backwards", usual=True):
        part.refuse("layer", "a forward layer with go_backwards=False", got=True)
    for name in ("units", "return_sequences", "return_state", "use_bias"):
        ours, theirs = (side.config.get(name) for side in part.parts)
        if ours != theirs:
            part.refuse("backward_layer", f"{name}={ours} as in the other direction", theirs)
    options = [(side.kind, _options(side)) for side in part.parts]
    if options[0] != options[1]:
        part.refuse("backward_layer", f"a layer like the other, {options[0]}", options[1])
    if part.config.get("merge_mode", "concat") not in MERGE_MODES:
        part.refuse("merge_mode", f"one of {MERGE_MODES}", part.config["merge_mode"])
    return _recurrent(forth, part.parts, merge_mode=part.config.get("merge_mode", "concat"))


def _recurrent(
    part: Part, directions: Sequence[Part], *, merge_mode: Any = "concat"
) -> KerasRecurrent:
    """Return the module of a layer, or of two directions with the options of the first."""
    two = len(directions) > 1
    options = _options(part)
    ours = [_recurrent_weights(side) for side in directions]
    weight_ih, weight_hh, *_ = ours[0]
    for side, weights in zip(directions, ours, strict=True):
        _check_dtype(side, weights[0], weight_ih.dtype)
        if weights[0].shape != weight_ih.shape:
            side.refuse("kernel", f"{weight_ih.shape[1]} features", weights[0].shape[1])
    layer = _OURS[part.kind](
        weight_ih.shape[1],
        weight_hh.shape[1],
        bias=len(ours[0]) > 2,
        batch_first=True,
        bidirectional=two,
        reverse=not two and part.option("go_backwards", usual=False),
        device="meta",  # where nothing is drawn
        dtype=weight_ih.dtype,
        **options,
    )
    for side, weights, suffix in zip(directions, ours, ("l0", "l0_reverse"), strict=False):
        _put(layer, named(weights, suffix), side.learns)
    return KerasRecurrent(
        layer,
        return_sequences=part.option("return_sequences", usual=False),
        return_state=part.option("return_state", usual=False),
        merge_mode=merge_mode,
        # Of two directions Keras sets it itself.
        zero_output_for_mask=not two and part.option("zero_output_for_mask", usual=False),
    )


def _options(part: Part) -> dict[str, Any]:
    """Return the options of our layer for those of Keras'."""
    if part.option("stateful", usual=False):
        remedy = "The layer inside the module takes a state and returns it: module.layer(x, hx)."
        part.refuse("stateful", "False", got=True, remedy=remedy)
    activation = part.config.get("activation", "tanh")
    dropouts = {
        "input_dropout": part.option("dropout", 0.0),
        "recurrent_dropout": part.option("recurrent_dropout", 0.0),
    }
    if part.kind == "SimpleRNN":
        if activation not in ("tanh", "relu"):
            part.refuse("activation", "tanh or relu", activation, "An RNN of ours has no other.")
        if any(dropouts.values()):
            warnings.warn(
                f"{part.where}: its dropout is left out, since an RNN of gatewise.nn has none; "
                "what it predicts is the same.",
                stacklevel=2,
            )
        return {"nonlinearity": activation}
    gates = part.config.get("recurrent_activation", "sigmoid")
    if part.kind == "GRU":
        for option, value, only in (
            ("activation", activation, "tanh"),
            ("recurrent_activation", gates, "sigmoid"),
        ):
            if value != only:
                remedy = "A GRU of ours has no other; an LSTM has."
                part.refuse(option, only, value, remedy)
        return {"reset_after": part.option("reset_after", usual=True), **dropouts}
    return {
        "activation": cell_function(f"{part.where}(activation)", activation),
        "gate_activation": cell_function(f"{part.where}(recurrent_activation)", gates),
        **dropouts,
    }


def _recurrent_weights(part: Part) -> list[Tensor]:
    units, bias = part.option("units", 1), part.option("use_bias", usual=True)
    inputs = part.weights[0].shape[0] if part.weights and part.weights[0].dim() else 0
    reset_after = part.kind == "GRU" and part.option("reset_after", usual=True)
    _check_shapes(
        part, expected_shapes(part.kind, units, inputs, bias=bias, reset_after=reset_after)
    )
    return to_torch_layout(part.kind, part.weights)


def _dense(part: Part) -> list[nn.Module]:
    units, bias = part.option("units", 1), part.option("use_bias", usual=True)
    inputs = part.weights[0].shape[0] if part.weights and part.weights[0].dim() else 0
    _check_shapes(part, [(inputs, units), (units,)] if bias else [(inputs, units)])
    kernel = part.weights[0]
    linear = nn.Linear(inputs, units, bias=bias, device="meta", dtype=kernel.dtype)
    weights = {"weight": kernel.T}
    if bias:
        weights["bias"] = part.weights[1]
    _put(linear, weights, part.learns)
    activation = part.config.get("activation", "linear")
    if activation == "linear":
        return [linear]
    return [linear, activation_module(f"{part.where}(activation)", activation)]


def _embedding(part: Part) -> nn.Module:
    rows, width = part.option("input_dim", 1), part.option("output_dim", 1)
    _check_shapes(part, [(rows, width)])
    (weight,) = part.weights
    kind = KerasEmbedding if part.option("mask_zero", usual=False) else nn.Embedding
    embedding = kind(rows, width, device="meta", dtype=weight.dtype)
    _put(embedding, {"weight": weight}, part.learns)
    return embedding


def _check_shapes(part: Part, expected: Sequence[tuple[int, ...]]) -> None:
    if not part.weights:
        raise InvalidStateError(
            part.where,
            "a layer with weights",
            "one without",
            "Build it, or call it once. A file has the weights of a layer that several models "
            "share in one place only: load it with Keras, and convert the model.",
        )
    got = [tuple(weight.shape) for weight in part.weights]
    if got != list(expected) or 0 in got[0]:
        raise InvalidValueError(part.where, f"weights of shapes {list(expected)}", str(got))
    if len({weight.dtype for weight in part.weights}) > 1:
        kinds = ", ".join(str(weight.dtype) for weight in part.weights)
        raise InvalidValueError(part.where, "weights of one dtype", kinds)


def _check_dtype(part: Part, weight: Tensor, before: torch.dtype) -> None:
    if weight.dtype is not before:
        remedy = "Keras casts between layers, torch does not. Convert them one by one."
        got = str(weight.dtype)
        raise InvalidValueError(f"{part.where}(dtype)", f"{before} as before it", got, remedy)


def _put(module: nn.Module, weights: Mapping[str, Tensor], learns: Sequence[bool]) -> None:
    """Set copies as parameters; where two are one array of Keras', the last learn as that does."""
    for n, (name, weight) in enumerate(weights.items()):
        own = weight.clone(memory_format=torch.contiguous_format)
        setattr(module, name, nn.Parameter(own, requires_grad=learns[min(n, len(learns) - 1)]))


def _widths(part: Part) -> tuple[int | None, int | None]:
    """Return how many features a layer takes and gives, None where it leaves them alone."""
    if part.kind == "Bidirectional":
        takes, gives = _widths(part.parts[0])
        both = part.config.get("merge_mode", "concat") == "concat"
        return takes, cast("int", gives) * (2 if both else 1)
    if not part.weights:
        return None, None
    if part.kind == "Embedding":
        return None, part.weights[0].shape[1]
    return part.weights[0].shape[0], part.option("units", 1)
