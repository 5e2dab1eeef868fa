"""What a forecast network is made of: layers, shapes, parameters, memory and work."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gatewise.nn import LSTM
from gatewise.tasks.forecast.model import ForecastModel
from gatewise.tasks.forecast.network import ForecastNetwork
from gatewise.tasks.forecast.readers import SegmentReader
from gatewise.tasks.forecast.shape import NetworkShape
from gatewise.tasks.recurrent_cells import flops_of_step, named_layers


def describe(model: ForecastModel) -> dict[str, Any]:
    """Return facts by name; lists hold the rows of a table.

    A multiplication and an addition count as two flops; a step is one step of the recurrent layers
    in one window. Memory is that of weights and buffers, and that of the states of one window in
    training.
    """
    network, shape = model.network, model.network.shape
    rows = _layers(network)
    recurrent = network.reader.recurrent
    stored = [*network.parameters(), *network.buffers()]
    return {
        "task": "forecaster",
        "reader": shape.reader,
        "cell": shape.cell,
        "head": shape.head,
        "normalization": shape.normalization,
        "lookback_steps": shape.lookback,
        "horizon_steps": shape.horizon,
        "segment_steps": shape.segment_length if shape.reader == "segments" else None,
        "series_trained_on": len(model.series),
        "frequency": model.schema.frequency or "integer time",
        "season_steps": model.schema.season_length,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "weights_bytes": sum(tensor.numel() * tensor.element_size() for tensor in stored),
        "training_bytes_a_window": _kept_bytes(network),
        "flops_a_step": flops_of_step(recurrent),
        "flops_a_forecast": sum(row["flops"] for row in rows),
        "inputs": [
            {"input": name, "shape": _shape_text(tensor), "type": str(tensor.dtype)[6:]}
            for name, tensor in _example(shape).items()
        ],
        "layers": rows,
    }


def _layers(network: ForecastNetwork) -> list[dict[str, Any]]:
    """One row for each layer that was called in one forward pass, in that order."""
    rows: list[dict[str, Any]] = []
    names = {module: name for name, module in network.reader.named_modules()}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        given, *state = inputs
        if state:
            return  # a step into the future, which has a row of its own
        result = output[0] if isinstance(output, tuple) else output
        steps = result.shape[1] if result.dim() == 3 else 1
        if module is network.reader.recurrent:
            flops = flops_of_step(network.reader.recurrent) * steps
        else:
            flops = 2 * module.weight.numel() * (result.numel() // result.shape[-1])  # pyright: ignore
        rows.append(_row(names[module], module, given, result, steps, flops))

    hooks = [
        module.register_forward_hook(note)
        for _, module in named_layers(network)
        if isinstance(module, nn.Linear) or module is network.reader.recurrent
    ]
    try:
        with torch.inference_mode():
            network(**_example(network.shape))
    finally:
        for hook in hooks:
            hook.remove()
    return [*rows, *_decoding_row(network)]


def _row(
    name: str, module: nn.Module, given: Tensor, result: Tensor, steps: int, flops: int
) -> dict[str, Any]:
    return {
        "layer": name,
        "type": type(module).__name__,
        "input": _shape_text(given),
        "output": _shape_text(result),
        "steps": steps,
        "parameters": sum(weight.numel() for weight in module.parameters()),
        "flops": flops,
    }


def _decoding_row(network: ForecastNetwork) -> list[dict[str, Any]]:
    """The parallel step of the segment reader, which uses the weights of its layers."""
    reader = network.reader
    if not isinstance(reader, SegmentReader):
        return []
    segments, width = reader.position.shape
    layers = reader.recurrent.num_layers
    flops = segments * flops_of_step(reader.recurrent)
    if isinstance(reader.recurrent, LSTM):
        gates = 8 * width * width  # one product of a vector with a matrix of 4·H × H
        # h and the series once in each layer; the input of each segment above the first layer.
        products = layers + 1 + segments * (layers - 1)
        flops = gates * (products + (segments if reader.covariates is not None else 0))
    embedded = [reader.position, *reader.series.parameters()]
    return [
        {
            "layer": "future segments",
            "type": f"{type(reader.recurrent).__name__} step",
            "input": f"{layers} x N x {width}",
            "output": f"N x {segments} x {width}",
            "steps": 1,
            "parameters": sum(weight.numel() for weight in embedded),
            "flops": flops,
        }
    ]


def _kept_bytes(network: ForecastNetwork) -> int:
    """Every gate and state of every step of a window: what is kept for the backward pass."""
    with torch.inference_mode():
        trace = network.trace(**_example(network.shape))
    return sum(part.numel() * part.element_size() for part in trace)


def _example(shape: NetworkShape) -> dict[str, Tensor]:
    """One window of zeros."""
    return {
        "past_y": torch.zeros(1, shape.lookback),
        "past_mask": torch.ones(1, shape.lookback, dtype=torch.bool),
        "past_x": torch.zeros(1, shape.lookback, shape.past),
        "future_x": torch.zeros(1, shape.lookback + shape.horizon, shape.future),
        "static_x": torch.zeros(1, shape.static),
        "series": torch.zeros(1, dtype=torch.int64) - 1,
    }


def _shape_text(tensor: Tensor) -> str:
    return " x ".join(["N", *(str(size) for size in tensor.shape[1:])])
