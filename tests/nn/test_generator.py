"""A generator of one's own draws what torch's default generator would, and leaves that alone."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor

from gatewise.nn import GRU, LSTM, RNN

MASKS = {"input_dropout": 0.3, "recurrent_dropout": 0.2, "update_dropout": 0.2}
LAYERS = [
    (LSTM, {"dropout": 0.5, "num_layers": 3}),
    (LSTM, {**MASKS, "weight_dropout": 0.3, "zoneout": (0.1, 0.2), "peephole": True}),
    (LSTM, {"init": "orthogonal", "proj_size": 3, "bidirectional": True}),
    (LSTM, {"init": "chrono", "chrono_steps": 50, "zoneout": (0.1, 0.1)}),
    (GRU, {**MASKS, "zoneout": 0.2, "dropout": 0.4, "num_layers": 2}),
    (RNN, {"dropout": 0.5, "num_layers": 2, "init": "orthogonal"}),
]
each_layer = pytest.mark.parametrize(("kind", "options"), LAYERS, ids=str)


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def an_input() -> Tensor:
    return torch.randn(6, 4, 3, generator=seeded(1))


@each_layer
def test_it_draws_what_the_default_generator_would(kind, options):
    torch.manual_seed(7)
    usual = kind(3, 5, **options)
    expected = [usual(an_input())[0] for _ in range(2)]
    torch.manual_seed(8)
    untouched = torch.get_rng_state()
    own = kind(3, 5, **options, generator=seeded(7))
    found = [own(an_input())[0] for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), untouched)
    for mine, theirs in zip(
        [*own.parameters(), *found], [*usual.parameters(), *expected], strict=True
    ):
        assert torch.equal(mine, theirs)


def test_everything_dropped_is_zero_not_nan():
    layer = LSTM(3, 5, 2, dropout=1.0, generator=seeded(1))
    assert layer(an_input())[0].isfinite().all()


def test_a_copy_has_a_copy_and_sharers_share():
    shared = seeded(3)
    layers = torch.nn.ModuleList(LSTM(3, 5, recurrent_dropout=0.5, generator=shared) for _ in "ab")
    copied = copy.deepcopy(layers)
    assert copied[0].generator is copied[1].generator is not shared
    again = pickle.loads(pickle.dumps(layers[0]))  # noqa: S301 - our own bytes
    expected = layers[0](an_input())[0]
    assert torch.equal(copied[0](an_input())[0], expected)
    assert torch.equal(again(an_input())[0], expected)
    assert not torch.equal(layers[0](an_input())[0], expected)


def test_it_is_no_part_of_the_state():
    layer = LSTM(3, 5, generator=seeded(1))
    assert layer.state_dict().keys() == torch.nn.LSTM(3, 5).state_dict().keys()
    LSTM(3, 5).load_state_dict(layer.state_dict())
    assert repr(layer) == "LSTM(3, 5)"
