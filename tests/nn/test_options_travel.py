"""Options in the state dict: same keys, same mathematics, and torch's keys for plain layers."""

from __future__ import annotations

import copy
import io
import json
import pickle

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import gatewise.nn
from gatewise.nn import GRU, LSTM, RNN, Stack, replace
from gatewise.nn._options import ModuleWithOptions
from support.compare import assert_equal

KEY = "_extra_state"
MAKERS = {LSTM: nn.LSTM, GRU: nn.GRU, RNN: nn.RNN}

each_kind = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


class Squashed(ModuleWithOptions):
    """A module of nothing but options."""

    squash: str = "tanh"
    limits: tuple[float, float] | None = None
    note: str = ""
    travelling = ("squash", "limits")
    staying = ("note",)

    def __init__(self, **options) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        for name, value in options.items():
            setattr(self, name, value)


def entry(**options) -> Tensor:
    return torch.tensor(list(json.dumps(options).encode()), dtype=torch.uint8)


def weights_of(layer) -> dict[str, Tensor]:
    return {name: value for name, value in layer.state_dict().items() if name != KEY}


def saved_by_torch(state: dict[str, Tensor]) -> dict[str, Tensor]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def saved_by_safetensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return safetensors.torch.load(safetensors.torch.save(state))


WAYS = {
    "as it is": lambda state: state,
    "torch.save": saved_by_torch,
    "safetensors": saved_by_safetensors,
    "bfloat16": lambda state: {name: value.bfloat16() for name, value in state.items()},
    "double": lambda state: {name: value.double() for name, value in state.items()},
}


@each_kind
def test_a_plain_layer_has_torchs_keys_and_loads_both_ways(make):
    ours, theirs = make(4, 4, 2), MAKERS[make](4, 4, 2)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert_equal(ours.state_dict(), theirs.state_dict())
    theirs.load_state_dict(make(4, 4, 2).state_dict(), strict=True)
    model, other = (
        nn.Sequential(nn.Sequential(layer), nn.Linear(4, 2)) for layer in (ours, theirs)
    )
    assert list(model.state_dict()) == list(other.state_dict())
    model.load_state_dict(other.state_dict(), strict=True)
    other.load_state_dict(model.state_dict(), strict=True)


@pytest.mark.parametrize("way", WAYS)
@each_kind
def test_options_travel_in_every_kind_of_file(make, way):
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(make(4, 4, 2, residual=True)))
    state = model.state_dict()
    (key,) = [name for name in state if name.endswith(KEY)]
    assert key == "1.0._extra_state"
    assert state[key].dtype == torch.uint8
    assert json.loads(bytes(state[key].tolist())) == {"residual": True}
    file = WAYS[way](state)
    fresh = nn.Sequential(nn.Linear(4, 4), nn.Sequential(make(4, 4, 2, residual=True)))
    assert fresh.load_state_dict(file, strict=True) == ([], [])
    want = {name: file[name].float() for name in file if name != key}
    assert_equal({n: v for n, v in fresh.state_dict().items() if n != key}, want)
    plain = nn.Sequential(nn.Linear(4, 4), nn.Sequential(make(4, 4, 2)))
    got = (
        rf"1.0._extra_state: expected residual=False as in this {make.__name__}, got residual=True "
    )
    with pytest.raises(
        RuntimeError, match=got + "from the state dict. Build the layer with the op"
    ):
        plain.load_state_dict(file)


@pytest.mark.parametrize("strict", [True, False])
@each_kind
def test_a_mismatch_raises_both_ways_and_names_the_option(make, strict):
    plain, residual = make(4, 4, 2), make(4, 4, 2, residual=True)
    with pytest.raises(RuntimeError, match=r"expected residual=False .*, got residual=True from"):
        plain.load_state_dict(residual.state_dict(), strict=strict)
    missing = r"expected residual=True .*, got residual=False from the state dict, which has no"
    for state in (plain.state_dict(), MAKERS[make](4, 4, 2).state_dict()):
        with pytest.raises(RuntimeError, match=missing):
            residual.load_state_dict(state, strict=strict)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*_extra_state"):
        MAKERS[make](4, 4, 2).load_state_dict(residual.state_dict())


def test_a_mismatch_stands_beside_all_other_faults():
    one = nn.ModuleList([LSTM(4, 4, 2, residual=True), GRU(4, 4, 2, residual=True)])
    other = nn.ModuleList([LSTM(4, 4, 2), GRU(4, 5, 2), nn.Linear(2, 2)])
    with pytest.raises(RuntimeError) as refusal:
        other.load_state_dict(one.state_dict())
    message = str(refusal.value)
    for part in ("0._extra_state: expected residual=False", "1._extra_state: expected residual"):
        assert part in message
    assert "size mismatch for 1.weight_ih_l0" in message
    assert 'Missing key(s) in state_dict: "2.weight", "2.bias"' in message
    assert "Unexpected key" not in message


def test_weights_of_another_kind_are_taken_over_on_purpose():
    residual, theirs = LSTM(4, 4, 2, residual=True), nn.LSTM(4, 4, 2)
    state = theirs.state_dict() | {KEY: residual.state_dict()[KEY]}
    residual.load_state_dict(state, strict=True)
    assert_equal(weights_of(residual), theirs.state_dict())


def test_part_of_a_state_dict_loads_without_strict():
    model = nn.ModuleDict({"rnn": LSTM(4, 4, 2, residual=True), "head": nn.Linear(4, 2)})
    head = {f"head.{name}": value for name, value in nn.Linear(4, 2).state_dict().items()}
    missing, unexpected = model.load_state_dict(head, strict=False)
    assert missing == [f"rnn.{name}" for name in weights_of(model["rnn"])]
    assert unexpected == []
    assert_equal({"w": model["head"].weight}, {"w": head["head.weight"]})


def test_several_options_and_values_that_json_changes():
    module = Squashed(squash="elu", limits=(0.0, 1.5), note="mine")
    state = module.state_dict()
    assert json.loads(bytes(state[KEY].tolist())) == {"squash": "elu", "limits": [0.0, 1.5]}
    Squashed(squash="elu", limits=(0.0, 1.5)).load_state_dict(state, strict=True)
    expected = r"expected squash='tanh', limits=None as in this Squashed, got squash='elu', "
    with pytest.raises(RuntimeError, match=expected + r"limits=\[0.0, 1.5\] from the state dict"):
        Squashed().load_state_dict(state)
    # One option differs, and it alone is named.
    with pytest.raises(
        RuntimeError, match=r"expected limits=\[0.0, 1.0\] as.*got limits=\[0.0, 1.5"
    ):
        Squashed(squash="elu", limits=(0.0, 1.0)).load_state_dict(state)
    assert KEY not in Squashed(note="mine").state_dict()
    assert module.options == {
        "squash": ("elu", "tanh"),
        "limits": ((0.0, 1.5), None),
        "note": ("mine", ""),
    }


def test_an_option_of_a_later_version_is_named():
    layer = LSTM(4, 4, 2, residual=True)
    state = weights_of(layer) | {KEY: entry(residual=True, twist=3)}
    with pytest.raises(RuntimeError, match=r"expected no option twist as.*, got twist=3 from"):
        layer.load_state_dict(state)


DAMAGED = {
    "no tensor": {"residual": True},
    "no JSON": torch.tensor([1, 2, 3], dtype=torch.uint8),
    "no UTF-8": torch.tensor([255, 254], dtype=torch.uint8),
    "no names": torch.tensor(list(b"[1]"), dtype=torch.uint8),
    "a matrix": entry(residual=True).unsqueeze(0),
    "no data": entry(residual=True).to("meta"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_entry_is_named(damage):
    layer = LSTM(4, 4, 2, residual=True)
    with pytest.raises(RuntimeError, match="_extra_state: expected a uint8 tensor that holds opt"):
        layer.load_state_dict(weights_of(layer) | {KEY: DAMAGED[damage]})


def test_keys_renamed_on_loading_are_judged_by_their_new_names():
    model = nn.Sequential(LSTM(4, 4, 2, residual=True))

    def rename(module, state, prefix, *_) -> None:
        for name in [name for name in state if name.startswith("old.")]:
            state[prefix + name.removeprefix("old.")] = state.pop(name)

    model[0].register_load_state_dict_pre_hook(rename)
    state = {
        f"old.{name}": value for name, value in LSTM(4, 4, 2, residual=True).state_dict().items()
    }
    layer = model[0]
    layer.load_state_dict(state, strict=False)
    assert_equal(weights_of(layer), {n[4:]: v for n, v in state.items() if KEY not in n})


def test_the_entry_is_written_where_tensors_have_no_data():
    with torch.device("meta"):
        layer = LSTM(4, 4, 2, residual=True)
        state = layer.state_dict()
    assert bytes(state[KEY].tolist()) == b'{"residual": true}'
    filled = LSTM(4, 4, 2, residual=True).state_dict()
    layer.load_state_dict(filled, assign=True)
    assert_equal(layer.state_dict(), filled)


def test_copies_pickles_and_stacks():
    torch.manual_seed(0)
    stack = Stack(nn.Linear(3, 4), LSTM(4, 4, 2, residual=True, learn_initial_state=True))
    x = torch.randn(5, 2, 3)
    saved = io.BytesIO()
    torch.save(stack, saved)
    saved.seek(0)
    copies = [
        copy.deepcopy(stack),
        pickle.loads(pickle.dumps(stack)),  # noqa: S301 - our own bytes
        torch.load(saved, weights_only=False),
    ]
    for twin in copies:
        assert repr(twin) == repr(stack)
        assert_equal(twin.state_dict(), stack.state_dict())
        assert_equal({"y": twin(x)[0]}, {"y": stack(x)[0]})


@each_kind
def test_a_layer_pickled_before_there_were_options_is_a_plain_one(make):
    old = make(4, 4, 2)
    for name in old.options:
        vars(old).pop(name)
    fresh = pickle.loads(pickle.dumps(old))  # noqa: S301 - our own bytes
    x = torch.randn(3, 2, 4)
    new = make(4, 4, 2)
    new.load_state_dict(fresh.state_dict(), strict=True)
    assert repr(fresh) == repr(new)
    assert_equal({"y": fresh(x)[0]}, {"y": new(x)[0]})
    fresh.reset_parameters()
    assert not torch.equal(fresh.weight_hh_l0, new.weight_hh_l0)


@each_kind
def test_a_replaced_layer_has_every_option_at_its_default(make):
    layer = replace(MAKERS[make](4, 4, 2, bidirectional=True))
    made = make(4, 4, 2, bidirectional=True)
    assert layer.options == made.options
    assert all(value == usual for value, usual in layer.options.values())
    assert repr(layer) == repr(made)
    torch.manual_seed(0)
    layer.reset_parameters()
    torch.manual_seed(0)
    made.reset_parameters()
    assert_equal(layer.state_dict(), made.state_dict())
    x = torch.randn(3, 2, 4)
    twins = (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)))  # noqa: S301 - ours
    for twin in (layer, *twins):
        assert_equal({"y": twin(x)[0]}, {"y": made(x)[0]})
    states = layer.initial_state(2)
    assert (states[0] if make is LSTM else states).shape == (4, 2, 4)


@pytest.mark.parametrize("value", [True, nn.Linear(2, 2)], ids=["attribute", "module"])
def test_an_attribute_that_would_become_an_option_is_left_and_listed(value):
    model = nn.Sequential(nn.LSTM(4, 4), nn.GRU(4, 4))
    model[0].residual = value
    with pytest.warns(UserWarning, match=r"left as they were: 0 \(its residual would be an option"):
        replace(model)
    assert type(model[0]) is nn.LSTM
    assert model[0].residual is value
    assert type(model[1]) is gatewise.nn.GRU


@each_kind
def test_the_representation_shows_what_is_not_default(make):
    name = make.__name__
    assert repr(make(3, 4, learn_initial_state=True)) == f"{name}(3, 4, learn_initial_state=True)"
    layer = make(4, 4, residual=True, init="orthogonal", backend="reference")
    assert repr(layer) == f"{name}(4, 4, residual=True, init=orthogonal, backend=reference)"
