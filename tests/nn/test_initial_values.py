"""Initial values: orthogonal and chrono, the forget gate's bias, and what they leave to torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError, InvalidSettingsError, InvalidValueError
from gatewise.nn import GRU, LSTM, RNN
from support.compare import assert_close, assert_equal

I, H = 6, 8  # noqa: E741 - the field's letters
DEEP = {"num_layers": 2, "bidirectional": True}
GATES = {LSTM: "ifgo", GRU: "rzn", RNN: "h"}

each_kind = pytest.mark.parametrize("make", GATES, ids=lambda make: make.__name__)


def seeded(make, *sizes: int, **options):
    torch.manual_seed(7)
    return make(*sizes, **options)


def blocks(layer, name: str) -> list[dict[str, Tensor]]:
    """One dict for each layer and direction: the rows of each gate of a weight."""
    found = [w.detach() for key, w in layer.named_parameters() if key.startswith(name)]
    return [
        dict(zip(GATES[type(layer)], w.chunk(len(GATES[type(layer)])), strict=True)) for w in found
    ]


def assert_torch_drew(layer, twin, names: tuple[str, ...]) -> None:
    """Raise unless the named weights are those of torch's layer."""
    ours, theirs = (
        {key: w for key, w in each.state_dict().items() if key.startswith(names)}
        for each in (layer, twin)
    )
    assert_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("proj_size", [0, 3])
def test_orthogonal_in_every_gate_layer_and_direction(proj_size, dtype):
    layer = LSTM(I, H, **DEEP, proj_size=proj_size, init="orthogonal", dtype=dtype)
    found = blocks(layer, "weight_hh")
    assert len(found) == 4
    for gates in found:
        for block in gates.values():
            wide = block.double()
            width = proj_size or H
            assert wide.shape == (H, width)
            error = (wide.T @ wide - torch.eye(width, dtype=torch.float64)).abs().max()
            assert error < 30 * torch.finfo(dtype).eps
    flat = torch.stack([block.double().flatten() for gates in found for block in gates.values()])
    assert torch.corrcoef(flat).triu(1).abs().max() < 0.9  # 16 matrices, not one 16 times


@each_kind
def test_orthogonal_draws_glorots_input_weights_and_no_biases(make):
    layer = seeded(make, 400, 50, init="orthogonal")
    for gates in blocks(layer, "weight_ih"):
        for block in gates.values():
            bound = math.sqrt(6 / (400 + 50))  # not √(6/(400 + G·50)), that of the whole matrix
            assert block.abs().max() < bound
            assert block.abs().max() > 0.99 * bound
            # A uniform variable has the variance bound²/3; 20,000 draws are within 5 % of it.
            assert block.var().item() == pytest.approx(bound**2 / 3, rel=0.05)
    sums = [a + b for a, b in zip(biases(layer, "bias_ih"), biases(layer, "bias_hh"), strict=True)]
    expected = torch.zeros(len(GATES[make]), 50)
    if make is LSTM:
        expected[1] = 1
    assert_equal({"bias": sums[0]}, {"bias": expected})
    for gate in GATES[make]:
        wide = blocks(layer, "weight_hh")[0][gate]
        assert_close({"I": wide.T @ wide}, {"I": torch.eye(50)}, tolerance=1e-5)


def biases(layer, name: str) -> list[Tensor]:
    """Each a matrix, gates × H."""
    return [torch.stack([*gates.values()]) for gates in blocks(layer, name)]


def test_orthogonal_leaves_the_projection_to_torch_and_needs_no_biases():
    layer, theirs = (
        seeded(make, I, H, proj_size=3, bias=False, **options)
        for make, options in ((LSTM, {"init": "orthogonal"}), (nn.LSTM, {}))
    )
    assert_torch_drew(layer, theirs, ("weight_hr",))
    assert not torch.equal(layer.weight_hh_l0, theirs.weight_hh_l0)


def test_chrono_spreads_the_time_scales_of_an_lstm():
    layer = seeded(LSTM, 2, 4000, init="chrono", chrono_steps=101)
    assert_uniform(biases(layer, "bias_ih")[0][1].exp(), 1, 100)
    assert_equal({"i": biases(layer, "bias_ih")[0][0]}, {"i": -biases(layer, "bias_ih")[0][1]})
    assert (biases(layer, "bias_hh")[0][:2] == 0).all()


def test_chrono_spreads_the_time_scales_of_a_gru():
    """torch's z keeps the old state, so that a large bias is a long memory."""
    layer = seeded(GRU, 2, 4000, init="chrono", chrono_steps=101)
    assert_uniform(biases(layer, "bias_ih")[0][1].exp(), 1, 100)
    assert (biases(layer, "bias_hh")[0][1] == 0).all()


def assert_uniform(values: Tensor, low: float, high: float) -> None:
    """Raise unless thousands of values look like draws from U(low, high)."""
    assert values.min() >= low * (1 - 1e-5)
    assert values.max() <= high * (1 + 1e-5)
    order = ((values - low) / (high - low)).sort().values
    steps = torch.linspace(0, 1, len(values))
    # Kolmogorov-Smirnov: beyond 1.95/√n once in a thousand seeds.
    assert (order - steps).abs().max() < 1.95 / math.sqrt(len(values))


@pytest.mark.parametrize(
    ("make", "theirs", "rows"), [(LSTM, nn.LSTM, [2, 3]), (GRU, nn.GRU, [0, 2])]
)
def test_chrono_leaves_all_else_to_torch_in_every_layer_and_direction(make, theirs, rows):
    layer = seeded(make, I, H, **DEEP, init="chrono", chrono_steps=50)
    plain, twin = seeded(theirs, I, H, **DEEP), seeded(make, I, H, **DEEP)
    assert_torch_drew(layer, plain, ("weight",))
    keeps = []
    for name in ("bias_ih", "bias_hh"):
        for got, want in zip(biases(layer, name), biases(twin, name), strict=True):
            assert_equal({"others": got[rows]}, {"others": want[rows]})
            keeps.append(got[1])
    assert all((keep >= 0).all() and keep.max() <= math.log(49) for keep in keeps)
    assert len({tuple(keep.tolist()) for keep in keeps[:4]}) == 4
    assert all((keep == 0).all() for keep in keeps[4:])


def test_chrono_over_two_steps_is_no_bias_at_all():
    layer = LSTM(I, H, init="chrono", chrono_steps=2)
    assert (biases(layer, "bias_ih")[0][:2] == 0).all()


def test_chrono_over_a_million_steps_in_half_precision():
    bias = biases(LSTM(2, 400, init="chrono", chrono_steps=10**6, dtype=torch.float16), "bias_ih")
    assert math.log(1e5) < bias[0][1].max() < math.log(1e6) + 0.01


@pytest.mark.parametrize("init", ["torch", "orthogonal"])
def test_a_forget_bias_is_the_sum_of_both(init):
    layer = seeded(LSTM, I, H, **DEEP, init=init, forget_bias=2.5)
    for ih, hh in zip(biases(layer, "bias_ih"), biases(layer, "bias_hh"), strict=True):
        assert (ih[1] == 2.5).all()
        assert (hh[1] == 0).all()
    twin = seeded(LSTM, I, H, **DEEP, init=init)
    assert_torch_drew(layer, twin, ("weight",))
    for name in ("bias_ih", "bias_hh"):
        for got, want in zip(biases(layer, name), biases(twin, name), strict=True):
            assert_equal({"others": got[[0, 2, 3]]}, {"others": want[[0, 2, 3]]})


def test_a_forget_bias_of_zero_is_one():
    bias = biases(LSTM(I, H, init="orthogonal", forget_bias=0.0), "bias_ih")[0]
    assert (bias == 0).all()


@pytest.mark.parametrize(
    "options",
    [
        {"init": "orthogonal"},
        {"init": "chrono", "chrono_steps": 30},
        {"forget_bias": -1.0},
        {"learn_initial_state": True, "init": "orthogonal"},
    ],
    ids=str,
)
def test_reset_parameters_does_what_the_constructor_did(options):
    layer = seeded(LSTM, I, H, **DEEP, proj_size=3, **options)
    first = {name: value.clone() for name, value in layer.state_dict().items()}
    with torch.no_grad():
        for weight in layer.parameters():
            weight.fill_(9)
    torch.manual_seed(7)
    layer.reset_parameters()
    assert_equal(layer.state_dict(), first)
    empty = nn.utils.skip_init(LSTM, I, H, **DEEP, proj_size=3, **options)
    torch.manual_seed(7)
    empty.reset_parameters()
    assert_equal(empty.state_dict(), first)


def test_reset_parameters_reaches_reparametrised_weights():
    layer = LSTM(I, H, init="orthogonal", dtype=torch.float64)
    nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    with torch.no_grad():
        layer.parametrizations.weight_hh_l0.original0.fill_(3)
    layer.reset_parameters()
    for block in layer.weight_hh_l0.chunk(4):
        eye = torch.eye(H, dtype=torch.float64)
        assert_close({"I": block.T @ block}, {"I": eye}, tolerance=1e-12)


REFUSED = {
    "chrono without steps": (
        {"init": "chrono"},
        "chrono_steps",
        "the longest dependency.*got None",
    ),
    "steps without chrono": ({"chrono_steps": 9}, "chrono_steps", "None with init='torch', got 9"),
    "one step": ({"init": "chrono", "chrono_steps": 1}, "chrono_steps", "at least 2, got 1"),
    "chrono, no bias": (
        {"init": "chrono", "chrono_steps": 9, "bias": False},
        "init",
        "bias=True with 'chrono'",
    ),
    "two for one bias": (
        {"init": "chrono", "chrono_steps": 9, "forget_bias": 1.0},
        "forget_bias",
        "None with init='chrono', got 1.0. Chrono sets the biases",
    ),
    "no bias to set": ({"forget_bias": 1.0, "bias": False}, "forget_bias", "None with bias=False"),
    "infinite": ({"forget_bias": float("inf")}, "forget_bias", "a finite number, got inf"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_contradictions_are_refused(fault):
    options, argument, message = REFUSED[fault]
    with pytest.raises(InvalidValueError, match=rf"^LSTM\({argument}\): expected .*{message}"):
        LSTM(I, H, **options)


def test_all_contradictions_are_listed_at_once():
    with pytest.raises(InvalidSettingsError) as refusal:
        LSTM(0, H, bias=False, init="chrono", chrono_steps=1, forget_bias=float("nan"))
    assert [(fault.where, type(fault)) for fault in refusal.value.faults] == [
        (f"LSTM({name})", InvalidValueError)
        for name in ("input_size", "init", "chrono_steps", *["forget_bias"] * 3)
    ]
    with pytest.raises(GatewiseError, match=r"GRU\(chrono_steps\): expected None"):
        GRU(I, H, chrono_steps=4, init="orthogonal")


def test_what_does_not_travel_is_shown():
    shown = repr(LSTM(I, H, init="orthogonal", forget_bias=2.0))
    assert shown == "LSTM(6, 8, init=orthogonal, forget_bias=2.0)"
    assert "init=chrono, chrono_steps=9" in repr(GRU(I, H, init="chrono", chrono_steps=9))
    theirs = nn.LSTM(I, H)
    theirs.load_state_dict(LSTM(I, H, init="chrono", chrono_steps=9).state_dict(), strict=True)
