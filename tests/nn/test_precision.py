"""`precision` of the layers: when products are taken in bfloat16, and the dtypes that come back."""

from __future__ import annotations

import pytest
import torch

from gatewise.errors import GatewiseError
from gatewise.nn import GRU, LSTM, RNN, Stack
from support.compare import assert_close, assert_equal

each_kind = pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
T, B, I, H = 7, 3, 6, 10  # noqa: E741 - the field's letters


def make(kind, **options):
    torch.manual_seed(1)
    return kind(I, H, **{"num_layers": 2, "bidirectional": True} | options)


def an_input(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(T, B, I, generator=torch.Generator().manual_seed(2)).to(dtype)


def run(layer, x: torch.Tensor, **named) -> dict:
    y, state = layer(x, **named)
    states = state if isinstance(state, tuple) else (state,)
    grads = torch.autograd.grad(y.float().square().sum(), list(layer.parameters()))
    return dict(enumerate([y.detach(), *(part.detach() for part in states), *grads]))


@each_kind
def test_it_changes_the_products_and_no_dtype(kind):
    full, bf16 = make(kind), make(kind, precision="bf16")
    x = an_input()
    got, want = run(bf16, x), run(full, x)
    assert all(value.dtype == torch.float32 for value in got.values())
    assert_close(got, want, tolerance=0.02)
    assert not torch.equal(got[0], want[0])
    assert_equal(run(make(kind, precision="full"), x), want)


@each_kind
def test_autocast_asks_for_it(kind):
    auto, bf16, full = (make(kind, precision=name) for name in ("auto", "bf16", "full"))
    x = an_input()
    exact, near = full(x)[0], bf16(x)[0]
    assert not torch.equal(exact, near)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, kept = auto(x)[0], full(x)[0]
        assert_equal(
            {"y": got, "kept": kept}, {"y": near.to(got.dtype), "kept": exact.to(got.dtype)}
        )
        assert "products in bfloat16" in auto.explain()
        assert "products" not in full.explain()
    with torch.autocast("cpu", dtype=torch.float16):
        assert_equal(
            {"y": auto(x)[0]}, {"y": exact.to(got.dtype if kind is GRU else torch.float16)}
        )
    assert_equal({"y": auto(x)[0]}, {"y": exact})


@each_kind
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_bfloat16_layers_stay_bfloat16(kind, backend):
    layer, x = make(kind, backend=backend).bfloat16(), an_input(torch.bfloat16)
    got = run(layer, x)
    assert all(value.dtype == torch.bfloat16 for value in got.values())
    wide = make(kind)
    wide.load_state_dict(layer.state_dict())
    assert_close(got, run(wide, x.float()), tolerance=0.02)
    if backend == "native":
        assert layer.explain().startswith("native")
    *_, trace = layer(x, trace=True)
    assert all(part.dtype == torch.bfloat16 for part in trace)


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_with_all_else(kind):
    zoneout = (0.1, 0.2) if kind is LSTM else 0.1
    options = {"layer_norm": True, "zoneout": zoneout, "recurrent_dropout": 0.2, "residual": True}
    x = an_input()
    reset = torch.rand(T, B, generator=torch.Generator().manual_seed(4)) < 0.3
    named = {"lengths": [7, 2, 5], "reset": reset}
    found = []
    for backend, recompute in (("native", None), ("native", 3), ("reference", None)):
        layer = make(kind, precision="bf16", backend=backend, **options)
        torch.manual_seed(7)
        found.append(run(layer, x, recompute=recompute, **named))
    assert_close(found[1], found[0], tolerance=1e-5)
    # Norms magnify where two roundings differ.
    assert_close(found[2], found[0], tolerance=0.01)


def test_pieces_of_a_bfloat16_layer_are_added_up_in_float32():
    layer, x = LSTM(4, 8).bfloat16(), torch.randn(400, 2, 4).bfloat16()
    whole, pieces = run(layer, x), run(layer, x, recompute=2)
    assert_close(pieces, whole, tolerance=0.004)


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_dropouts_of_bfloat16_layers(kind):
    options = dict.fromkeys(
        ("input_dropout", "recurrent_dropout", "update_dropout", "weight_dropout"), 0.3
    )
    x, found = an_input(torch.bfloat16), []
    for backend in ("auto", "reference"):
        layer = make(kind, backend=backend, **options).bfloat16()
        torch.manual_seed(7)
        found.append(run(layer, x))
    assert_close(found[0], found[1], tolerance=0.03)


def test_it_learns_as_float32_does():
    """Sums of the numbers that are marked: what rounding costs does not show in the loss."""
    losses = []
    for precision in ("full", "bf16"):
        torch.manual_seed(0)
        model = Stack(LSTM(2, 32, precision=precision), torch.nn.Linear(32, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
        for _ in range(250):
            x = torch.rand(10, 64, 2)
            wanted = (x[..., 0] * (x[..., 1] > 0.5)).sum(0).unsqueeze(-1)
            loss = (model(x)[0][-1] - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(float(loss.detach()))
    full, bf16 = losses
    assert full < 0.4  # from 1.1
    assert bf16 < 1.3 * full


def test_how_it_shows():
    assert "precision=bf16" in repr(GRU(I, H, precision="bf16"))
    assert "_extra_state" not in "".join(LSTM(I, H, precision="bf16").state_dict())
    native = make(LSTM, precision="bf16", backend="native").double()
    with pytest.raises(GatewiseError, match=r"products in bfloat16 of torch\.float64"):
        native(an_input(torch.float64))
