"""The forecast network: equivariance, masks, covariates, and its parallel step."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from gatewise.tasks.forecast.network import ForecastNetwork
from gatewise.tasks.forecast.shape import NetworkShape
from gatewise.tasks.recurrent_cells import Cell

L, H, N = 22, 9, 5
SHAPE = NetworkShape(
    lookback=L,
    horizon=H,
    segment_length=4,
    num_series=3,
    past=2,
    future=1,
    static=1,
    reader="segments",
    cell="lstm",
    hidden_size=8,
    num_layers=1,
    dropout=0.0,
    head="point",
    loss="mae",
    quantiles=(0.1, 0.5, 0.9),
    levels=(80.0,),
    normalization="last",
)

readers = pytest.mark.parametrize("reader", ["points", "segments"])
heads = pytest.mark.parametrize("head", ["point", "quantiles", "student_t"])
normalizations = pytest.mark.parametrize("normalization", ["last", "mean_std", "none"])


def built(**changes: object) -> ForecastNetwork:
    torch.manual_seed(0)
    network = ForecastNetwork(replace(SHAPE, **changes)).eval()
    network.normaliser.spread.fill_(0.5)
    return network


def windows(seed: int = 1, **changes: Tensor) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    past_mask = torch.rand(N, L, generator=draw) < 0.7
    past_mask[0] = True
    past_y = torch.randn(N, L, generator=draw)
    inputs = {
        # Where nothing was observed the data room puts zeros.
        "past_y": torch.where(past_mask, past_y, 0.0),
        "past_mask": past_mask,
        "past_x": torch.randn(N, L, 2, generator=draw),
        "future_x": torch.randn(N, L + H, 1, generator=draw),
        "static_x": torch.randn(N, 1, generator=draw),
        "series": torch.tensor([0, 1, 2, -1, 0]),
    }
    return {**inputs, **changes}


@readers
@heads
def test_outputs_for_all_steps_at_once(reader: str, head: str):
    outputs = built(reader=reader, head=head)(**windows())
    assert outputs.shape == (N, H, 3)  # three values for each of these heads
    assert outputs.isfinite().all()


@readers
@normalizations
def test_values_under_the_mask_have_no_influence(reader: str, normalization: str):
    network, inputs = built(reader=reader, normalization=normalization), windows()
    expected = network(**inputs)
    for rubbish in (1e30, float("nan"), float("inf")):
        spoilt = torch.where(inputs["past_mask"], inputs["past_y"], rubbish)
        assert torch.equal(network(**{**inputs, "past_y": spoilt}), expected)
    seen = inputs["past_y"] + inputs["past_mask"] * torch.linspace(0, 1, L)
    assert not torch.equal(network(**{**inputs, "past_y": seen}), expected)


@readers
def test_the_mask_itself_is_read(reader: str):
    """A zero that was observed is not a value that is missing."""
    network, inputs = built(reader=reader, normalization="none"), windows()
    mask = inputs["past_mask"].clone()
    mask[:, 3] = ~mask[:, 3]
    y = inputs["past_y"].clone()
    y[:, 3] = 0
    a = network(**{**inputs, "past_y": y})
    b = network(**{**inputs, "past_y": y, "past_mask": mask})
    assert (a != b).any(dim=(1, 2)).all()


@readers
@heads
@pytest.mark.parametrize(("normalization", "factor"), [("last", 1.0), ("mean_std", 4.0)])
def test_shift_and_scale_pass_through(reader: str, head: str, normalization: str, factor: float):
    network = built(reader=reader, head=head, normalization=normalization)
    inputs = windows()
    moved = torch.where(inputs["past_mask"], factor * inputs["past_y"] + 8.0, 0.0)
    outputs, shifted = network(**inputs), network(**{**inputs, "past_y": moved})
    if head == "student_t":
        expected = outputs * torch.tensor([1, factor, factor]) + torch.tensor([0.0, 8.0, 0.0])
    else:
        expected = factor * outputs + 8.0
    torch.testing.assert_close(shifted, expected, rtol=1e-4, atol=1e-4)


@readers
@normalizations
def test_a_window_without_any_value_gives_a_finite_forecast(reader: str, normalization: str):
    nothing = {"past_y": torch.zeros(N, L), "past_mask": torch.zeros(N, L, dtype=torch.bool)}
    outputs = built(reader=reader, normalization=normalization)(**windows(**nothing))
    assert outputs.isfinite().all()


@readers
def test_constant_windows_are_forecast_at_their_level_scale(reader: str):
    constant = {"past_y": torch.full((N, L), 7.0), "past_mask": torch.ones(N, L, dtype=torch.bool)}
    outputs = built(reader=reader, normalization="mean_std")(**windows(**constant))
    torch.testing.assert_close(outputs, torch.full_like(outputs, 7.0), rtol=0, atol=0.01)


@readers
@pytest.mark.parametrize("name", ["past_x", "future_x", "static_x"])
def test_every_covariate_is_read(reader: str, name: str):
    network, inputs = built(reader=reader), windows()
    changed = network(**{**inputs, name: inputs[name] + 1})
    assert (changed != network(**inputs)).all()


@readers
def test_covariates_of_the_horizon_are_read_at_their_step(reader: str):
    network, inputs = built(reader=reader), windows()
    future = inputs["future_x"].clone()
    future[:, -1] += 1  # the last step to forecast
    changed = (network(**{**inputs, "future_x": future}) != network(**inputs)).any(dim=(0, 2))
    segment = SHAPE.segment_length if reader == "segments" else 1
    first = (H - 1) // segment * segment
    assert not changed[:first].any()
    assert changed[-1]


@readers
def test_an_unknown_series_gets_the_mean_of_the_embeddings(reader: str):
    network, inputs = built(reader=reader), windows(series=torch.full((N,), -1))
    before = network(**inputs)
    weight = network.reader.series.weight
    with torch.no_grad():
        weight[0] += 1
        weight[1] -= 1
    torch.testing.assert_close(network(**inputs), before)
    with torch.no_grad():
        weight[2] += 1
    assert (network(**inputs) != before).any()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("future", [0, 1])
def test_the_parallel_step_is_a_step_of_the_lstm(layers: int, future: int):
    reader = built(num_layers=layers, future=future).reader
    S, W = reader.position.shape
    h, c, own = torch.randn(layers, N, W), torch.randn(layers, N, W), torch.randn(N, W)
    each = torch.randn(N, S, W) if future else None
    inputs = reader.position + own[:, None] + (0 if each is None else each)
    rows = tuple(state.repeat_interleave(S, dim=1) for state in (h, c))
    expected, _ = reader.recurrent(inputs.reshape(N * S, 1, W), rows)
    torch.testing.assert_close(reader._step((h, c), own, each), expected.reshape(N, S, W))
    found = reader._lstm_step(reader.recurrent, (h, c), own, each)
    torch.testing.assert_close(found, expected.reshape(N, S, W))


CASES = [(head, "lstm") for head in ("point", "quantiles", "student_t")]
CASES += [("point", cell) for cell in get_args(Cell) if cell != "lstm"]


@readers
@pytest.mark.parametrize(("head", "cell"), CASES)
@pytest.mark.parametrize("future", [0, 1])
def test_every_parameter_is_trained(reader: str, head: str, cell: str, future: int):
    network = built(reader=reader, head=head, cell=cell, num_layers=2, future=future).train()
    inputs = windows(future_x=torch.randn(N, L + H, future))
    outputs = network(**inputs)
    network.head.loss(outputs, torch.randn(N, H), torch.tensor(1.0)).sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@readers
def test_the_trace_is_that_of_the_forward_pass(reader: str):
    network, inputs = built(reader=reader, num_layers=2), windows()
    states = []
    network.reader.recurrent.register_forward_hook(lambda *call: states.append(call[2][1]))
    network(**inputs)
    trace = network.trace(**inputs)
    torch.testing.assert_close(trace.h[:, -1], states[0][0])
    torch.testing.assert_close(trace.c[:, -1], states[0][1])


@readers
def test_dropout_only_in_training(reader: str):
    network, inputs = built(reader=reader, dropout=0.5, num_layers=2), windows()
    assert torch.equal(network(**inputs), network(**inputs))
    network.train()
    assert not torch.equal(network(**inputs), network(**inputs))
