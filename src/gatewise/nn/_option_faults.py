"""Faults of the options that torch lacks, all of which a constructor reports at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch

from gatewise.errors import GatewiseError, InvalidTypeError, InvalidValueError
from gatewise.nn._precision import PRECISIONS
from gatewise.ops.backends import BACKENDS

ACTIVATIONS: Final = (
    "tanh",
    "sigmoid",
    "relu",
    "hardtanh",
    "hardsigmoid",
    "celu",
    "elu",
    "gelu",
    "hardshrink",
    "hardswish",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "relu6",
    "selu",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "tanhshrink",
)
"""Functions of one number in torch, by name; the native kernels have the first five."""

CANDIDATES: Final = ("linear", "positive")
FORGET_GATES: Final = ("sigmoid", "exponential")
BOOLEANS: Final = (
    "residual",
    "reverse",
    "learn_initial_state",
    "peephole",
    "coupled_gates",
    "layer_norm",
    "reset_after",
)
DROPOUTS: Final = ("input_dropout", "recurrent_dropout", "update_dropout", "weight_dropout")
PROBABILITY: Final = "a probability from 0 to 1"


def option_faults(
    where: str, options: Mapping[str, Any], *, bias: bool, inits: Sequence[str]
) -> list[GatewiseError]:
    """Return what is wrong with the options that torch lacks."""
    faults: list[GatewiseError] = [
        InvalidTypeError(f"{where}({name})", "a bool", type_and_value(options[name]))
        for name in BOOLEANS
        if name in options and not isinstance(options[name], bool)
    ]
    init = options.get("init", "torch")
    backend, precision = options.get("backend", "auto"), options.get("precision", "auto")
    if init not in inits:
        faults.append(InvalidValueError(f"{where}(init)", one_of(inits), repr(init)))
    elif init == "chrono" and not bias:
        faults.append(
            InvalidValueError(
                f"{where}(init)", "bias=True with 'chrono', which sets biases", "bias=False"
            )
        )
    if "chrono_steps" in options:
        faults += _chrono_faults(f"{where}(chrono_steps)", options["chrono_steps"], init)
    if "forget_bias" in options:
        faults += _forget_faults(f"{where}(forget_bias)", options["forget_bias"], init, bias=bias)
    faults += choice_faults(
        where, {"precision": (precision, PRECISIONS), "backend": (backend, BACKENDS)}
    )
    generator = options["generator"]
    if generator is not None and not isinstance(generator, torch.Generator):
        expected = "a torch.Generator or None"
        faults.append(InvalidTypeError(f"{where}(generator)", expected, type_and_value(generator)))
    return faults + _cell_faults(where, options)


def choice_faults(
    where: str, choices: Mapping[str, tuple[object, Sequence[str]]]
) -> list[GatewiseError]:
    """Return the choices, by name with what there is to choose from, that are not among it."""
    return [
        InvalidValueError(f"{where}({name})", one_of(allowed), repr(value))
        for name, (value, allowed) in choices.items()
        if value not in allowed
    ]


def _cell_faults(where: str, options: Mapping[str, Any]) -> list[GatewiseError]:
    """The faults of what changes the mathematics of a step."""
    faults: list[GatewiseError] = [
        InvalidValueError(f"{where}({name})", one_of(ACTIVATIONS), repr(options[name]))
        for name in ("activation", "gate_activation")
        if name in options and options[name] not in ACTIVATIONS
    ]
    faults += _forget_gate_faults(f"{where}(forget_gate)", options)
    if options.get("candidate", "linear") not in CANDIDATES:
        got = repr(options["candidate"])
        faults.append(InvalidValueError(f"{where}(candidate)", one_of(CANDIDATES), got))
    clip = options.get("cell_clip")
    if clip is not None and not (_is_number(clip) and 0 < clip < math.inf):
        faults.append(
            InvalidValueError(f"{where}(cell_clip)", "None or a positive number", repr(clip))
        )
    chunk = options.get("chunk_size", 1)
    if not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 1:
        expected = "a number of steps, at least 1"
        faults.append(InvalidValueError(f"{where}(chunk_size)", expected, repr(chunk)))
    if "batch_norm_steps" in options:
        faults += _batch_norm_faults(f"{where}(batch_norm_steps)", options)
    faults += [
        InvalidValueError(f"{where}({name})", PROBABILITY, repr(options[name]))
        for name in DROPOUTS
        if name in options and not is_probability(options[name])
    ]
    if "zoneout" in options:
        faults += _zoneout_faults(
            f"{where}(zoneout)", options["zoneout"], pair="cell_clip" in options
        )
    if options.get("forget_gate", True) is False:
        faults += _without_forget_gate(where, options)
    return faults


def heads_faults(where: str, heads: object, width: int, of: str) -> list[GatewiseError]:
    """Return what is wrong with a number of heads that share ``width`` features."""
    if isinstance(heads, int) and not isinstance(heads, bool) and heads >= 1 and not width % heads:
        return []
    expected = f"a number that divides {of}={width}"
    return [InvalidValueError(f"{where}(heads)", expected, repr(heads))]


def _forget_gate_faults(where: str, options: Mapping[str, Any]) -> list[GatewiseError]:
    """An LSTM has one or not; an sLSTM has one of two."""
    given = options.get("forget_gate", True)
    if "heads" in options:
        fits, expected = given in FORGET_GATES, one_of(FORGET_GATES)
        return [] if fits else [InvalidValueError(where, expected, repr(given))]
    fits = isinstance(given, bool)
    return [] if fits else [InvalidTypeError(where, "a bool", type_and_value(given))]


def _batch_norm_faults(where: str, options: Mapping[str, Any]) -> list[GatewiseError]:
    steps = options["batch_norm_steps"]
    if steps is None:
        return []
    faults: list[GatewiseError] = []
    if not isinstance(steps, int) or isinstance(steps, bool):
        faults.append(InvalidTypeError(where, "None or an int", type_and_value(steps)))
    elif steps < 1:
        expected = "how many steps have moments of their own, at least 1, or None"
        faults.append(InvalidValueError(where, expected, str(steps)))
    if options["layer_norm"] is True:
        remedy = "Products are normalised over their gates or over the batch: choose one."
        faults.append(InvalidValueError(where, "None with layer_norm=True", repr(steps), remedy))
    return faults


def _zoneout_faults(where: str, value: object, *, pair: bool) -> list[GatewiseError]:
    if not pair:
        return [] if is_probability(value) else [InvalidValueError(where, PROBABILITY, repr(value))]
    fits = isinstance(value, tuple | list) and len(value) == 2 and all(map(is_probability, value))
    if fits:
        return []
    expected = "two probabilities from 0 to 1, of c and of h"
    return [InvalidValueError(where, expected, repr(value))]


def _without_forget_gate(where: str, options: Mapping[str, Any]) -> list[GatewiseError]:
    """What makes no sense without a forget gate."""
    wrong = {
        "coupled_gates": options["coupled_gates"],
        "forget_bias": options["forget_bias"] is not None,
        "init": options["init"] == "chrono",
    }
    return [
        InvalidValueError(
            f"{where}({name})",
            "something else with forget_gate=False",
            repr(options[name]),
            "It is about the forget gate.",
        )
        for name, given in wrong.items()
        if given
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_probability(value: object) -> bool:
    """Return whether a value is a number from 0 to 1."""
    return isinstance(value, int | float) and _is_number(value) and 0 <= value <= 1


def _chrono_faults(where: str, steps: object, init: object) -> list[GatewiseError]:
    least = "the longest dependency in steps, at least 2"
    if steps is None:
        return [InvalidValueError(where, least, "None")] if init == "chrono" else []
    faults: list[GatewiseError] = []
    if init != "chrono":
        faults.append(
            InvalidValueError(
                where,
                f"None with init={init!r}",
                repr(steps),
                "Give init='chrono' as well, or neither.",
            )
        )
    if not isinstance(steps, int) or isinstance(steps, bool):
        faults.append(InvalidTypeError(where, "an int", type_and_value(steps)))
    elif steps < 2:
        faults.append(InvalidValueError(where, least, str(steps)))
    return faults


def _forget_faults(where: str, value: object, init: object, *, bias: bool) -> list[GatewiseError]:
    if value is None:
        return []
    faults: list[GatewiseError] = []
    if not isinstance(value, int | float) or isinstance(value, bool):
        faults.append(InvalidTypeError(where, "a number", type_and_value(value)))
    elif not math.isfinite(value):
        faults.append(InvalidValueError(where, "a finite number", str(value)))
    if init == "chrono":
        remedy = "Chrono sets the biases of the forget gate: choose one of the two."
        faults.append(InvalidValueError(where, "None with init='chrono'", repr(value), remedy))
    if not bias:
        faults.append(InvalidValueError(where, "None with bias=False", repr(value)))
    return faults


def type_and_value(value: object) -> str:
    """Say what came where another type was expected."""
    return f"{type(value).__name__} {value!r}"


def one_of(names: Sequence[str]) -> str:
    """List the names that were expected."""
    return " or ".join(f"'{name}'" for name in names)
