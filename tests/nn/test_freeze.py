"""freeze: packs give what the weights give, and are not read when the weights have changed."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import gatewise as gw
import gatewise.nn
from gatewise.errors import InvalidStateError, InvalidValueError
from gatewise.nn import GRU, LSTM, RNN, Stack
from support.backends import NATIVE
from support.compare import assert_close

I, H = 5, 19  # noqa: E741 - the field's letter
TOLERANCES = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 1e-2}

LAYERS = {
    "LSTM": (LSTM, {}),
    "LSTM, deep": (LSTM, {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    "LSTM, projected": (LSTM, {"proj_size": 7, "bias": False, "bidirectional": True}),
    "LSTM, peephole": (
        LSTM,
        {"peephole": True, "zoneout": (0.1, 0.2), "learn_initial_state": True},
    ),
    "LSTM, coupled": (
        LSTM,
        {"coupled_gates": True, "activation": "relu", "num_layers": 2, "residual": True},
    ),
    "LSTM, no forget gate": (LSTM, {"forget_gate": False, "cell_clip": 0.5}),
    "LSTM, layer norm": (LSTM, {"layer_norm": True, "recurrent_dropout": 0.3}),
    "LSTM, dropped weights": (LSTM, {"weight_dropout": 0.5, "input_dropout": 0.5}),
    "GRU": (GRU, {"num_layers": 2}),
    "GRU, reset before": (GRU, {"reset_after": False, "bidirectional": True}),
    "GRU, layer norm": (GRU, {"layer_norm": True}),
    "RNN": (RNN, {"nonlinearity": "relu", "bidirectional": True}),
}

each_layer = pytest.mark.parametrize("name", LAYERS)
each_size = pytest.mark.parametrize(("T", "B"), [(1, 1), (1, 3), (7, 2), (9, 12)])


def make(name: str, dtype: torch.dtype = torch.float64, **options):
    """Return a layer that has learned something, in evaluation mode."""
    kind, own = LAYERS[name]
    layer = kind(I, H, **own, **options).to(dtype)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.rand(weight.shape, generator=draw) - 0.4)
    return layer.eval()


def make_x(T: int, B: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(T, B, I, generator=draw).to(dtype)


def flat(result) -> dict[str, torch.Tensor]:
    """The tensors of what a layer returned, by position."""
    if isinstance(result, torch.Tensor):
        return {"": result}
    return {f"{n}{key}": t for n, part in enumerate(result) for key, t in flat(part).items()}


def poison(layer: nn.Module) -> None:
    """Make every weight something that no pack holds, without a trace."""
    for name, weight in layer.named_parameters():
        # Norms' scales, peepholes and initial states are not packed.
        if not name.startswith(("weight_ln", "bias_ln_c", "weight_peephole", "initial")):
            weight.data.fill_(float("nan"))


@each_layer
@each_size
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_gives_the_same(name, T, B, dtype):
    layer = make(name, dtype)
    x = make_x(T, B, dtype)
    want = flat(layer(x))
    gw.freeze(layer)
    assert_close(flat(layer(x)), want, tolerance=TOLERANCES[dtype])
    assert not any(part.requires_grad for part in flat(layer(x)).values())


@pytest.mark.skipif(not NATIVE, reason="needs the native kernel")
@each_layer
@each_size
def test_the_weights_are_not_read_again(name, T, B):
    layer = gw.freeze(make(name))
    x = make_x(T, B)
    want = flat(layer(x))
    poison(layer)
    assert_close(flat(layer(x)), want, tolerance=0.0)
    gw.unfreeze(layer)
    assert layer(x)[0].isnan().any()


@each_layer
def test_lengths_cuts_states_and_traces(name):
    layer = make(name)
    x = make_x(6, 4)
    if layer.batch_first:
        x = x.transpose(0, 1)
    reset = torch.rand(x.shape[:2], generator=torch.Generator().manual_seed(2)) < 0.3
    call = {"lengths": [6, 1, 4, 2], "reset": reset, "trace": True}
    hx = layer(x)[1]
    want = flat(layer(x, hx, **call))
    gw.freeze(layer)
    assert_close(flat(layer(x, hx, **call)), want, tolerance=1e-13)


@pytest.mark.parametrize("options", [{}, {"precision": "bf16"}], ids=str)
def test_precisions_beside_each_other(options):
    layer = make("LSTM, deep", torch.float32, **options)
    x = make_x(9, 12, torch.float32)

    def run():
        with torch.autocast("cpu", torch.bfloat16):
            lower = layer(x)
        return flat((lower, layer(x)))

    want = run()
    gw.freeze(layer)
    assert_close(run(), want, tolerance=0.0)
    assert_close(run(), want, tolerance=0.0)


def test_gradients_of_the_input_alone():
    layer = make("LSTM, deep")
    x = make_x(7, 3).requires_grad_()
    (want,) = torch.autograd.grad(layer(x)[0].square().sum(), x)
    gw.freeze(layer)
    for recompute in (None, 3):
        y = layer(x, recompute=recompute)[0]
        (got,) = torch.autograd.grad(y.square().sum(), x)
        assert_close({"x": got}, {"x": want}, tolerance=1e-13)


def _write(layer):
    with torch.no_grad():
        layer.weight_hh_l0.add_(1.0)
    return make_x(2, 3)


def _load(layer):
    layer.load_state_dict(make("LSTM").state_dict())
    return make_x(2, 3)


def _move(layer):
    layer.float()
    return make_x(2, 3, torch.float32)


def _assign(layer):
    layer.bias_ih_l0 = nn.Parameter(torch.zeros_like(layer.bias_ih_l0))
    return make_x(2, 3)


@pytest.mark.parametrize("change", [_write, _load, _move, _assign])
def test_changed_weights_are_noticed(change):
    layer = gw.freeze(make("LSTM"))
    layer(make_x(2, 3))
    x = change(layer)
    with pytest.raises(
        InvalidStateError,
        match=r"LSTM \(frozen\): expected the weights .* Call gatewise\.freeze again",
    ):
        layer(x)
    gw.freeze(layer)
    want = layer(x)[0]
    assert_close({"y": gw.unfreeze(layer)(x)[0]}, {"y": want}, tolerance=1e-6)


def test_training_mode_reads_the_weights():
    layer = gw.freeze(make("LSTM"))
    x = make_x(2, 3)
    layer(x)
    poison(layer)
    assert layer.train()(x)[0].isnan().all()


def test_unfreeze_gives_back_what_learned():
    model = nn.Sequential(make("LSTM"), nn.Linear(H, 2)).eval()
    model[0].bias_ih_l0.requires_grad_(False)
    assert gw.freeze(model) is model
    assert gw.freeze(model) is model  # twice changes nothing
    assert not any(weight.requires_grad for weight in model[0].parameters())
    assert all(weight.requires_grad for weight in model[1].parameters())
    assert gw.unfreeze(model) is model
    learning = {name for name, weight in model[0].named_parameters() if weight.requires_grad}
    assert learning == {"weight_ih_l0", "weight_hh_l0", "bias_hh_l0"}
    gw.unfreeze(model)


def _pickled(layer):
    return pickle.loads(pickle.dumps(layer))  # noqa: S301 - our own bytes


@pytest.mark.parametrize("copied", [copy.deepcopy, _pickled])
def test_a_copy_packs_its_own(copied):
    layer = gw.freeze(make("LSTM"))
    x = make_x(7, 2)
    want = layer(x)[0]
    twin = copied(layer)
    assert_close({"y": twin(x)[0]}, {"y": want}, tolerance=0.0)
    with torch.no_grad():
        gw.unfreeze(layer).weight_hh_l0.zero_()
    assert_close({"y": twin(x)[0]}, {"y": want}, tolerance=0.0)
    assert gw.unfreeze(twin).weight_hh_l0.requires_grad


def test_layers_of_a_stack():
    stack = Stack(LSTM(I, H), nn.Dropout(0.5), GRU(H, 3 * H)).double().eval()
    x = make_x(7, 2)
    want = flat(stack(x)[0])
    gw.freeze(stack)
    assert_close(flat(stack(x)[0]), want, tolerance=1e-14)
    assert not any(weight.requires_grad for weight in stack.parameters())


def test_first_calls_from_several_threads():
    layer = gw.freeze(make("LSTM, deep"))
    x = make_x(9, 12)
    want = copy.deepcopy(layer)(x)[0]
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: layer(x)[0], range(16)):
            assert_close({"y": got}, {"y": want}, tolerance=0.0)


def test_the_reference_reads_the_weights():
    layer = make("LSTM")
    x = make_x(7, 2)
    want = layer(x)[0]
    gw.freeze(layer)
    with gw.use_backend("reference"):
        assert_close({"y": layer(x)[0]}, {"y": want}, tolerance=1e-13)


def test_a_tied_weight_and_a_second_freeze():
    layer = LSTM(4, 4, 2).eval()
    layer.weight_hh_l1 = layer.weight_hh_l0
    x = torch.randn(3, 2, 4)
    want = layer(x)[0]
    gw.freeze(layer)
    assert_close({"y": layer(x)[0]}, {"y": want}, tolerance=1e-6)
    layer.bias_ih_l0.requires_grad_(True)
    gw.unfreeze(gw.freeze(layer))
    assert all(weight.requires_grad for weight in layer.parameters())


def test_under_function_transforms():
    layer = make("LSTM, deep")
    x = make_x(5, 3).transpose(0, 1)
    weights = {name: weight.detach() for name, weight in layer.named_parameters()}

    def loss(weights):
        return torch.func.functional_call(layer, weights, (x,))[0].square().sum()

    want = torch.func.grad(loss)(weights)
    gw.freeze(layer)
    layer(x)
    assert_close(torch.func.grad(loss)(weights), want, tolerance=1e-13)


def test_refused_in_training_mode():
    with pytest.raises(InvalidStateError, match=r"got 0 in training mode. Call module.eval"):
        gw.freeze(nn.Sequential(LSTM(3, 4)))


def test_refused_with_weights_that_are_computed():
    layer = nn.utils.parametrizations.weight_norm(LSTM(3, 4), "weight_hh_l0").eval()
    with pytest.raises(InvalidStateError, match="weight_hh_l0 computed at each call"):
        gw.freeze(layer)
    assert layer.weight_ih_l0.requires_grad


@pytest.mark.parametrize("verb", [gw.freeze, gw.unfreeze])
def test_refused_without_layers(verb):
    with pytest.raises(InvalidValueError, match=r"got LSTM without one. gatewise.replace swaps"):
        verb(nn.LSTM(3, 4).eval())
