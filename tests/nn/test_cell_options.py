"""Options of the cells at the layers: parameters, modes, randomness, what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError
from gatewise.nn import GRU, LSTM
from gatewise.nn._option_faults import ACTIVATIONS
from gatewise.ops.reference.philox import PER_CALL, PER_SEQUENCE, dropout_mask
from support.backends import CHOICES
from support.compare import assert_close, assert_equal

T, B, I, H = 6, 4, 3, 5  # noqa: E741 - the field's letters
TOLERANCE = 1e-12

EVERYTHING = {
    "peephole": True,
    "layer_norm": True,
    "cell_clip": 0.5,
    "activation": "hardtanh",
    "input_dropout": 0.2,
    "recurrent_dropout": 0.3,
    "update_dropout": 0.4,
    "zoneout": (0.1, 0.2),
    "weight_dropout": 0.3,
    "residual": True,
    "learn_initial_state": True,
}
OF_GRU = {
    **{n: v for n, v in EVERYTHING.items() if n not in ("peephole", "cell_clip", "activation")},
    "zoneout": 0.2,
}
LAYERS = [
    (LSTM, EVERYTHING),
    (LSTM, EVERYTHING | {"coupled_gates": True, "proj_size": 3}),
    (LSTM, EVERYTHING | {"forget_gate": False, "bidirectional": True, "bias": False}),
    (LSTM, {"gate_activation": "hardsigmoid", "num_layers": 3}),
    (GRU, OF_GRU),
    (GRU, OF_GRU | {"bidirectional": True}),
    (GRU, OF_GRU | {"reset_after": False, "layer_norm": False}),
]
each_layer = pytest.mark.parametrize(("kind", "options"), LAYERS, ids=str)


def make(kind, backend: str = "auto", **options):
    torch.manual_seed(1)
    layer = kind(I, H, **{"num_layers": 2} | options, backend=backend).double()
    for name, weight in layer.named_parameters():
        if "_ln_" in name or name.startswith("initial"):
            nn.init.uniform_(weight, 0.5, 1.5)
    return layer


def an_input() -> Tensor:
    return torch.randn(T, B, I, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def cuts() -> Tensor:
    return torch.rand(T, B, generator=torch.Generator().manual_seed(4)) < 0.3


def run(layer, seed: int = 3, **named) -> dict:
    """Return outputs and the gradients of every parameter."""
    torch.manual_seed(seed)
    x = an_input().requires_grad_()
    y, state, *_ = layer(x, **named)
    states = state if isinstance(state, tuple) else (state,)
    loss = (y * y.detach().cos()).sum() + sum((part * part).sum() for part in states)
    weights = list(layer.parameters())
    gradients = torch.autograd.grad(loss, [x, *weights])
    return dict(enumerate([y.detach(), *(part.detach() for part in states), *gradients]))


@each_layer
@pytest.mark.parametrize("named", [{}, {"lengths": [6, 2, 4, 1]}, {"reset": True}], ids=str)
def test_kernels_and_reference_agree_under_the_same_seed(kind, options, named):
    if "reset" in named:
        named = {"reset": cuts()}
    ours, reference = (
        run(make(kind, choice, **options), **named) for choice in ("auto", "reference")
    )
    assert_close(ours, reference, tolerance=TOLERANCE)


@each_layer
def test_recomputing_changes_nothing(kind, options):
    layer = make(kind, **options)
    lengths, reset = {"lengths": [6, 2, 4, 1]}, {"reset": cuts()}
    for named in ({}, lengths, reset, lengths | reset):
        whole = run(layer, **named)
        for steps in (1, 4, 6, 100):
            assert_close(run(layer, recompute=steps, **named), whole, tolerance=TOLERANCE)


@each_layer
def test_masks_follow_torchs_seed_and_stop_in_eval_mode(kind, options):
    layer = make(kind, **options)
    random = "update_dropout" in options
    first, again, other = run(layer), run(layer), run(layer, seed=9)
    assert_equal(again, first)
    assert torch.equal(first[0], other[0]) != random
    state = torch.get_rng_state()
    layer.eval()
    still = run(layer)
    assert_equal(run(layer, seed=9), still)
    assert torch.equal(first[0], still[0]) != random
    torch.set_rng_state(state)
    layer(an_input())
    assert torch.equal(torch.get_rng_state(), state)  # nothing drawn


def test_one_number_is_drawn_in_a_forward():
    layer = make(LSTM, **EVERYTHING)
    torch.manual_seed(5)
    torch.randint(-(2**63), 2**63 - 1, (1,))
    expected = torch.get_rng_state()
    torch.manual_seed(5)
    layer(an_input())
    assert torch.equal(torch.get_rng_state(), expected)


def seed_of(number: int) -> Tensor:
    torch.manual_seed(number)
    return torch.randint(-(2**63), 2**63 - 1, (1,), dtype=torch.int64)


@pytest.mark.parametrize("backend", CHOICES)
@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_input_dropout_is_one_mask_for_a_sequence(kind, backend):
    layer = make(kind, backend, num_layers=1, input_dropout=0.4)
    plain = make(kind, backend, num_layers=1)
    seed = seed_of(7)
    mask = dropout_mask(seed, 0, PER_SEQUENCE, 1, 0.4, B, I)
    torch.manual_seed(7)
    assert_close({"y": layer(an_input())[0]}, {"y": plain(an_input() * mask)[0]}, tolerance=1e-14)


@pytest.mark.parametrize("backend", CHOICES)
@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_weight_dropout_drops_recurrent_weights(kind, backend):
    layer = make(kind, backend, bidirectional=True, weight_dropout=0.4)
    plain = make(kind, backend, bidirectional=True)
    seed = seed_of(7)
    for name, stream in (("l0", 0), ("l0_reverse", 1), ("l1", 2), ("l1_reverse", 3)):
        weight = getattr(plain, f"weight_hh_{name}")
        mask = dropout_mask(seed, stream, PER_CALL, 0, 0.4, *weight.shape)
        assert 0.2 < (mask == 0).double().mean() < 0.6
        with torch.no_grad():
            weight *= mask
    torch.manual_seed(7)
    assert_close({"y": layer(an_input())[0]}, {"y": plain(an_input())[0]}, tolerance=1e-14)
    # The parameters themselves stay whole.
    assert layer.weight_hh_l0.ne(0).all()


def test_zoneout_keeps_its_share():
    torch.manual_seed(0)
    layer = LSTM(2, 200, zoneout=(0.3, 0.6))
    _, _, trace = layer(torch.randn(50, 8, 2), trace=True)
    for state, share in ((trace.c, 0.3), (trace.h, 0.6)):
        kept = (state[0, 1:] == state[0, :-1]).float().mean()
        assert abs(kept - share) < 0.01
    layer.eval()
    _, _, trace = layer(torch.randn(50, 8, 2), trace=True)
    assert not (trace.c[0, 1:] == trace.c[0, :-1]).any()


def test_zoneout_of_one_keeps_everything():
    layer = make(LSTM, num_layers=1, zoneout=(1.0, 1.0))
    h0, c0 = torch.randn(2, 1, B, H, dtype=torch.float64)
    for mode in (True, False):
        y, (h_n, c_n) = layer.train(mode)(an_input(), (h0, c0))
        assert torch.equal(y, h0.expand(T, B, H))
        assert torch.equal(h_n, h0)
        assert torch.equal(c_n, c0)


@pytest.mark.parametrize("backend", CHOICES)
def test_traces_of_cells_with_three_gates_show_all_four(backend):
    lengths = torch.tensor([6, 2, 4, 1])
    valid = (torch.arange(T).unsqueeze(1) < lengths)[None, ..., None].expand(2, T, B, H)
    for options in ({"coupled_gates": True}, {"forget_gate": False}):
        layer = make(LSTM, backend, **options)
        trace = layer(an_input(), lengths=lengths, trace=True)[2]
        assert list(trace._fields) == ["i", "f", "g", "o", "c", "h"]
        if "coupled_gates" in options:
            assert_close({"sum": trace.i + trace.f}, {"sum": valid.double()}, tolerance=1e-15)
        else:
            assert torch.equal(trace.f, valid.double())
        before = torch.cat([torch.zeros_like(trace.c[:, :1]), trace.c[:, :-1]], dim=1)
        after = trace.f * before + trace.i * trace.g
        assert_close({"c": after}, {"c": trace.c}, tolerance=1e-14)
        assert all(not part[~valid].any() for part in trace)


def test_parameters_have_the_documented_names_and_shapes():
    def extras(layer, torchs):
        own = {name: tuple(weight.shape) for name, weight in layer.named_parameters()}
        return {n: shape for n, shape in own.items() if n not in dict(torchs.named_parameters())}

    full = LSTM(I, H, peephole=True, layer_norm=True)
    assert extras(full, nn.LSTM(I, H)) == {
        "weight_peephole_l0": (3 * H,),
        "weight_ln_ih_l0": (4 * H,),
        "bias_ln_ih_l0": (4 * H,),
        "weight_ln_hh_l0": (4 * H,),
        "bias_ln_hh_l0": (4 * H,),
        "weight_ln_c_l0": (H,),
        "bias_ln_c_l0": (H,),
    }
    coupled = LSTM(I, H, coupled_gates=True, peephole=True)
    assert coupled.weight_ih_l0.shape == (3 * H, I)
    assert coupled.weight_peephole_l0.shape == (2 * H,)
    assert extras(GRU(I, H, layer_norm=True), nn.GRU(I, H)) == {
        f"{part}_ln_{product}_l0": (3 * H,)
        for part in ("weight", "bias")
        for product in ("ih", "hh")
    }


def test_torchs_weights_are_drawn_as_without_options():
    torch.manual_seed(0)
    plain = nn.LSTM(I, H, num_layers=2, bidirectional=True).state_dict()
    torch.manual_seed(0)
    ours = LSTM(I, H, num_layers=2, bidirectional=True, peephole=True, layer_norm=True).state_dict()
    assert_equal({name: ours[name] for name in plain}, plain)


@each_layer
def test_options_travel_with_the_weights(kind, options):
    layer = make(kind, **options)
    twin = make(kind, **options)
    twin.load_state_dict(layer.state_dict())
    same = copy.deepcopy(layer)
    assert_equal(run(twin), run(layer))
    assert_equal(run(same), run(layer))


@pytest.mark.parametrize(
    "option",
    [
        {"activation": "relu"},
        {"gate_activation": "hardsigmoid"},
        {"cell_clip": 3.0},
        {"zoneout": (0.1, 0.0)},
        {"forget_gate": False},
        {"coupled_gates": True},
    ],
    ids=str,
)
def test_a_mismatch_names_the_option(option):
    state = LSTM(I, H, **option).state_dict()
    with pytest.raises(RuntimeError, match=next(iter(option))):
        LSTM(I, H).load_state_dict(state)
    with pytest.raises(RuntimeError, match=next(iter(option))):
        LSTM(I, H, **option).load_state_dict(LSTM(I, H).state_dict())


def test_explain_says_what_has_no_kernel():
    assert LSTM(I, H, activation="hardtanh", layer_norm=True).explain().startswith("native")
    soft = LSTM(I, H, activation="softsign")
    assert soft.explain().startswith(
        "reference (torch): the native kernel cannot run the activation"
    )
    y, _ = soft(torch.randn(T, B, I))
    assert y.abs().max() < 1
    with pytest.raises(GatewiseError, match="softsign"):
        LSTM(I, H, activation="softsign", backend="native")(torch.randn(T, B, I))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_torchs_function(name):
    layer = make(LSTM, num_layers=1, activation=name)
    x, found = an_input()[:1], getattr(torch, name, None) or getattr(nn.functional, name)
    bias = layer.bias_ih_l0 + layer.bias_hh_l0
    i, _, g, o = (x[0] @ layer.weight_ih_l0.T + bias).chunk(4, dim=-1)
    expected = torch.sigmoid(o) * found(torch.sigmoid(i) * found(g))
    # torch's hardsigmoid has 1 / 6 in single precision.
    assert_close({"h": layer(x)[0][0]}, {"h": expected}, tolerance=1e-7)


def test_recompute_refuses_what_it_cannot_do():
    layer, x = make(LSTM), an_input()
    with pytest.raises(GatewiseError, match=r"LSTM\(recompute\): expected at least 1"):
        layer(x, recompute=0)
    with pytest.raises(GatewiseError, match=r"LSTM\(recompute\): expected None with trace=True"):
        layer(x, recompute=2, trace=True)
    y, _ = layer(x.requires_grad_(), recompute=2)
    with pytest.raises(GatewiseError, match="recompute: expected first derivatives alone"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


def count_kept(layer, x: Tensor, steps: int | None) -> int:
    """Return how many numbers autograd holds on to after a forward."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        layer(x, recompute=steps)
    return sum(kept)


def test_recompute_keeps_borders_only():
    layer, x = LSTM(8, 64), torch.randn(2000, 4, 8)
    assert count_kept(layer, x, None) > 5 * 2000 * 4 * 64
    # The input and the weights; the states at borders are no saved tensors, nor are the gates.
    weights = sum(weight.numel() for weight in layer.parameters())
    assert count_kept(layer, x, 100) < x.numel() + weights + 5000


def test_the_gru_of_the_paper_resets_before_the_product():
    layer = make(GRU, num_layers=1, reset_after=False, recurrent_dropout=0.3)
    assert layer.explain().startswith("native")
    normed = make(GRU, reset_after=False, layer_norm=True)
    assert "layer norms with the reset gate before the product" in normed.explain()
    layer.eval()
    h, x = torch.zeros(B, H, dtype=torch.float64), an_input()
    w_ih, w_hh = layer.weight_ih_l0.chunk(3), layer.weight_hh_l0.chunk(3)
    b = (layer.bias_ih_l0 + layer.bias_hh_l0).chunk(3)
    for step in x:
        r, z = (torch.sigmoid(step @ w_ih[k].T + h @ w_hh[k].T + b[k]) for k in (0, 1))
        n = torch.tanh(step @ w_ih[2].T + (r * h) @ w_hh[2].T + b[2])
        h = (1 - z) * n + z * h
    assert_close({"h_n": layer(x)[1][0]}, {"h_n": h}, tolerance=1e-14)
    with pytest.raises(RuntimeError, match="reset_after"):
        GRU(I, H).load_state_dict(layer.state_dict())
