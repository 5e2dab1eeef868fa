"""Recurrent batch norm: against torch's own at each step, and what its layer keeps."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError
from gatewise.nn import LSTM, Stack
from gatewise.ops.reference import batch_norm
from support.batch_norm_oracle import run_direction
from support.batch_norm_sabotage import WRONG
from support.compare import assert_close, assert_equal

T, B, I, H = 6, 5, 3, 4  # noqa: E741 - the field's letters
LENGTHS = [None, [6, 6, 6, 6, 6], [2, 6, 1, 3, 3], [4, 1, 2, 4, 3]]
each_lengths = pytest.mark.parametrize("lengths", LENGTHS, ids=str)


def make(**options) -> LSTM:
    torch.manual_seed(1)
    layer = LSTM(I, H, **{"batch_norm_steps": 10} | options).double()
    for name, value in layer.named_parameters():
        if "_bn_" in name:
            nn.init.uniform_(value, 0.3, 1.5)
    return layer


def an_input(seed: int = 2, steps: int = T) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(steps, B, I, dtype=torch.float64, generator=draw)


def averages(layer: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in layer.named_buffers()}


def results(layer: LSTM, run, x: Tensor) -> dict[str, Tensor]:
    """Return what ``run(x)`` returns, and all gradients."""
    x = x.clone().requires_grad_()
    named = run(x)
    loss = sum((named[name] * named[name].detach().cos()).sum() for name in ("y", "h_n", "c_n"))
    weights = dict(layer.named_parameters())
    gradients = torch.autograd.grad(
        loss, [x, *weights.values()], allow_unused=True, materialize_grads=True
    )
    named |= dict(zip((f"grad.{name}" for name in ("x", *weights)), gradients, strict=True))
    return {name: value.detach() for name, value in named.items()}


def ours(layer: LSTM, x: Tensor, lengths: list[int] | None, **named) -> dict[str, Tensor]:
    def run(x: Tensor) -> dict[str, Tensor]:
        y, (h_n, c_n) = layer(x, lengths=lengths, **named)
        return {"y": y, "h_n": h_n, "c_n": c_n}

    return results(layer, run, x) | averages(layer)


def theirs(
    layer: LSTM, x: Tensor, lengths: list[int] | None, hx: tuple[Tensor, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the same from the oracle; a direction against time turns its sequences round."""
    ends = lengths or [len(x)] * B
    after = {}

    def run(x: Tensor) -> dict[str, Tensor]:
        parts = []
        for suffix in ("l0", "l0_reverse")[: layer.num_directions]:
            turned = suffix == "l0_reverse"
            given = turn(x, ends) if turned else x
            h_0 = None if hx is None else hx[0][len(parts)]
            y, h, c, held = run_direction(layer, given, ends, suffix, h_0)
            parts.append((turn(y, ends) if turned else y, h, c))
            after.update({f"{name}_{suffix}": value for name, value in held.items()})
        y, h, c = zip(*parts, strict=True)
        return {"y": torch.cat(y, -1), "h_n": torch.stack(h), "c_n": torch.stack(c)}

    return results(layer, run, x) | after


def turn(x: Tensor, ends: list[int]) -> Tensor:
    columns = [
        torch.cat([x[:end, b].flip(0), x[end:, b]]) for b, end in zip(range(B), ends, strict=True)
    ]
    return torch.stack(columns, 1)


def trained(**options) -> LSTM:
    """Return a layer that has seen a few batches, of up to 6 steps."""
    layer = make(**options)
    for seed in (5, 6, 7):
        layer(an_input(seed), lengths=[6, 6, 3, 1, 4])
    return layer


@each_lengths
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"batch_norm_steps": 3}], ids=str)
def test_training_is_torchs_batch_norm_at_each_step(options, lengths):
    layer = trained(**options)
    expected = theirs(layer, an_input(), lengths)
    assert_close(ours(layer, an_input(), lengths), expected, tolerance=1e-12)


@each_lengths
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"batch_norm_steps": 3}], ids=str)
def test_elsewhere_running_averages_normalise(options, lengths):
    layer = trained(**options).eval()
    before = averages(layer)
    expected = theirs(layer, an_input(), lengths)
    assert_close(ours(layer, an_input(), lengths), expected, tolerance=1e-12)
    assert_equal(averages(layer), before)


def test_steps_beyond_those_seen_in_training_use_the_last_of_them():
    layer = trained().eval()
    assert layer.steps_tracked_l0 == 6
    expected = theirs(layer, an_input(steps=13), None)
    assert_close(ours(layer, an_input(steps=13), None), expected, tolerance=1e-12)
    changed = copy.deepcopy(layer)
    changed.running_mean_hh_l0[6:] = 1e6  # never averaged, never read
    assert_equal(ours(changed, an_input(), None) | averages(layer), ours(layer, an_input(), None))


@each_lengths
@pytest.mark.parametrize("training", [True, False])
def test_each_sequence_with_a_state_of_its_own(training, lengths):
    layer = trained(bidirectional=True).train(training)
    h_0 = torch.randn(2, B, H, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    hx = h_0, torch.zeros_like(h_0)
    for _ in range(2):  # then with averages of the first step as well
        expected = theirs(layer, an_input(), lengths, hx)
        assert_close(ours(layer, an_input(), lengths, hx=hx), expected, tolerance=1e-12)


@each_lengths
def test_a_learned_state_acts_and_learns(lengths):
    layer = trained(bidirectional=True, learn_initial_state=True)
    for name, value in layer.named_parameters():
        if name.startswith("initial"):
            nn.init.uniform_(value, -1, 1)
    expected = theirs(layer, an_input(), lengths)
    assert_close(ours(layer, an_input(), lengths), expected, tolerance=1e-12)
    assert expected["grad.initial_h_l0"].norm() > 1e-2
    layer.eval()
    still = theirs(layer, an_input(), lengths)
    assert_close(ours(layer, an_input(), lengths), still, tolerance=1e-12)


def test_the_first_moment_of_a_step_is_its_average():
    layer = make(batch_norm_steps=8)
    for seed in range(3):
        layer(an_input(seed, steps=4))
    twin = make(batch_norm_steps=8)
    x = an_input(7, steps=12)
    twin(x)
    early = averages(layer)
    layer(x)
    for name in ("running_mean_c_l0", "running_var_ih_l0"):
        late, first = getattr(layer, name), getattr(twin, name)
        torch.testing.assert_close(late[4:], first[4:])
        torch.testing.assert_close(late[:4], early[name][:4].lerp(first[:4], batch_norm.MOMENTUM))


def test_later_averages_do_not_reach_an_earlier_call():
    layer = trained().eval()
    x = an_input()
    expected = torch.autograd.grad(layer(x)[0].square().sum(), layer.weight_hh_l0)
    loss = layer(x, recompute=2)[0].square().sum()
    layer.train()(3 * an_input(8))
    found = torch.autograd.grad(loss, layer.weight_hh_l0)
    torch.testing.assert_close(found, expected)


def test_no_sequences():
    layer = make(bidirectional=True).eval()
    none = torch.zeros(T, 0, dtype=torch.bool)
    y, _ = layer(an_input()[:, :0], reset=none)
    assert y.shape == (T, 0, 2 * H)


def test_without_training_nothing_is_normalised():
    """Averages of 0 and 1 leave products alone but for eps."""
    plain = LSTM(I, H, 2, bidirectional=True, peephole=True, proj_size=2, zoneout=(0.1, 0.2))
    layer = make(
        num_layers=2, bidirectional=True, peephole=True, proj_size=2, zoneout=(0.1, 0.2)
    ).eval()
    for name, value in layer.named_parameters():
        if "_bn_" in name:
            nn.init.constant_(value, (1 + batch_norm.EPS) ** 0.5 if "weight" in name else 0)
    plain = plain.double().eval()
    weights = {n: v for n, v in layer.named_parameters() if "_bn_" not in n}
    options = {"_extra_state": plain.state_dict()["_extra_state"]}
    plain.load_state_dict(weights | options)
    reset = torch.rand(T, B, generator=torch.Generator().manual_seed(4)) < 0.4
    for named in ({}, {"lengths": [2, 6, 1, 3, 3]}, {"reset": reset}):
        whole = plain(an_input(), trace=True, **named)
        found = layer(an_input(), trace=True, **named)
        for a, b in zip(
            (found[0], *found[1], *found[2]), (whole[0], *whole[1], *whole[2]), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_pieces_between_cuts_are_sequences_of_the_batch(bidirectional):
    layer = trained(bidirectional=bidirectional)
    apart = copy.deepcopy(layer)
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[2, 0] = reset[5, 0] = reset[3, 3] = True
    x = an_input()
    pieces = [
        (0, 0, 2),
        (0, 2, 5),
        (0, 5, 6),
        (1, 0, 6),
        (2, 0, 6),
        (3, 0, 3),
        (3, 3, 6),
        (4, 0, 6),
    ]
    rows = torch.zeros(T, len(pieces), I, dtype=torch.float64)
    for n, (b, start, stop) in enumerate(pieces):
        rows[: stop - start, n] = x[start:stop, b]
    lengths = [stop - start for _, start, stop in pieces]
    for _ in range(2):
        whole, _ = layer(x, reset=reset)
        parts, _ = apart(rows, lengths=lengths)
        for n, (b, start, stop) in enumerate(pieces):
            torch.testing.assert_close(whole[start:stop, b], parts[: stop - start, n])
        assert_close(averages(layer), averages(apart), tolerance=1e-13)
        layer.eval(), apart.eval()


@each_lengths
@pytest.mark.parametrize("steps", [1, 4, 6])
def test_recomputing_changes_nothing_and_averages_once(lengths, steps):
    layer = trained(bidirectional=True, batch_norm_steps=3, zoneout=(0.1, 0.2))
    other = copy.deepcopy(layer)
    torch.manual_seed(3)
    whole = ours(layer, an_input(), lengths)
    torch.manual_seed(3)
    assert_close(ours(other, an_input(), lengths, recompute=steps), whole, tolerance=1e-12)


def test_derivatives_and_second_derivatives():
    layer = LSTM(2, 2, batch_norm_steps=3).double()
    for name, value in layer.named_parameters():
        if "_bn_" in name:
            nn.init.uniform_(value, 0.5, 1.5)
    x = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    weights = [layer.weight_hh_l0, layer.weight_bn_hh_l0, layer.bias_bn_c_l0]

    def run(x: Tensor, *_: Tensor) -> Tensor:
        return layer(x, lengths=[3, 1, 2, 3])[0]

    assert torch.autograd.gradcheck(run, (x, *weights))
    assert torch.autograd.gradgradcheck(run, (x, *weights))


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_one_is_rejected(wrong, monkeypatch):
    layer, lengths = trained(batch_norm_steps=4), [2, 6, 1, 3, 3]
    expected = theirs(layer, an_input(), lengths)
    assert_close(ours(copy.deepcopy(layer), an_input(), lengths), expected, tolerance=1e-12)
    WRONG[wrong](monkeypatch)
    with pytest.raises(AssertionError):
        assert_close(ours(layer, an_input(), lengths), expected, tolerance=1e-12)


def test_it_begins_with_a_tenth_and_unmoved_averages():
    layer = LSTM(I, H, 2, bidirectional=True, batch_norm_steps=7)
    for name, value in (*layer.named_parameters(), *layer.named_buffers()):
        if name.startswith("weight_bn"):
            assert torch.equal(value, torch.full_like(value, 0.1))
        elif name.startswith(("bias_bn", "running_mean", "steps_tracked")):
            assert not value.any()
        elif name.startswith("running_var"):
            assert torch.equal(value, torch.ones_like(value))
    assert layer.running_var_hh_l1_reverse.shape == (7, 4 * H)
    assert layer.running_mean_c_l0.shape == (7, H)
    layer(torch.randn(3, 2, I))
    assert layer.steps_tracked_l1_reverse == 3
    layer.reset_parameters()
    assert layer.steps_tracked_l1_reverse == 0


def test_averages_travel():
    layer = trained(bidirectional=True)
    state = layer.state_dict()
    other = make(bidirectional=True)
    other.load_state_dict(state)
    for copied in (other, copy.deepcopy(layer)):
        assert_equal(averages(copied), averages(layer))
        copied.eval(), layer.eval()
        assert torch.equal(copied(an_input())[0], layer(an_input())[0])
    with pytest.raises(RuntimeError, match="batch_norm_steps=4 as in this LSTM"):
        make(bidirectional=True, batch_norm_steps=4).load_state_dict(state)
    with pytest.raises(RuntimeError, match="batch_norm_steps=None as in this LSTM"):
        LSTM(I, H, bidirectional=True).double().load_state_dict(state)


def test_what_is_refused():
    layer = make()
    with pytest.raises(GatewiseError, match=r"at least 2 sequences in train mode.*got 1.*eval\(\)"):
        layer(an_input()[:, :1])
    with pytest.raises(GatewiseError, match="at least 2 sequences in train mode"):
        layer(an_input()[:, 0])
    assert layer.eval()(an_input()[:, 0])[0].shape == (T, H)
    assert "cannot run recurrent batch norm" in layer.explain()
    with pytest.raises(GatewiseError, match="recurrent batch norm"):
        make(backend="native")(an_input())


def test_function_transforms_in_eval_mode_only():
    layer = make()
    weights = dict(layer.named_parameters())

    def loss(weights):
        return torch.func.functional_call(layer, weights, (an_input(),))[0].square().sum()

    with pytest.raises(GatewiseError, match=r"updates running averages in place.*eval\(\)"):
        torch.func.grad(loss)(weights)
    layer.eval()
    found = torch.func.grad(loss)(weights)
    expected = torch.autograd.grad(loss(weights), [*weights.values()])
    assert_close(found, dict(zip(weights, expected, strict=True)), tolerance=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype):
    exact = make()
    layer = copy.deepcopy(exact).to(dtype)
    y, _ = layer(an_input().to(dtype))
    expected, _ = exact(an_input())
    assert y.dtype == layer.running_var_hh_l0.dtype == dtype
    near = max(20 * torch.finfo(dtype).eps, 1e-4)
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=near)
    torch.testing.assert_close(
        layer.running_mean_hh_l0.double(), exact.running_mean_hh_l0, rtol=0, atol=near
    )
    weights = layer.state_dict()
    layer.eval(), exact.load_state_dict(weights), exact.eval()  # rounded, but for the computation
    y, expected = layer(an_input().to(dtype))[0], exact(an_input().to(dtype).double())[0]
    torch.testing.assert_close(
        y.double(), expected, rtol=0, atol=max(4 * torch.finfo(dtype).eps, 1e-5)
    )


def test_products_in_bfloat16_are_normalised_in_float32():
    exact, rounded = make(), make(precision="bf16").float()
    y, _ = rounded(an_input().float())
    expected, _ = exact(an_input())
    assert y.dtype == torch.float32
    difference = (y - expected).abs().max()
    assert 1e-3 < difference < 0.3  # divided by small deviations


def test_in_a_stack():
    stack = Stack(LSTM(I, H, batch_norm_steps=4), nn.Linear(H, 2))
    y, state = stack(torch.randn(T, B, I), lengths=[6, 2, 3, 4, 1])
    stack(torch.randn(T, B, I), state.detach())
    assert y.shape == (T, B, 2)
    assert stack[0].steps_tracked_l0 == 4


def test_it_learns_what_a_sequence_began_with():
    """Outside training too, once the averages have settled on the weights that came out."""
    torch.manual_seed(0)
    layer, head = LSTM(2, 16, batch_norm_steps=20, batch_first=True), nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.005)

    def miss() -> Tensor:
        x, lengths = torch.randn(64, 12, 2), torch.randint(6, 13, (64,))
        _, (h_n, _) = layer(x, lengths=lengths)
        return nn.functional.softplus(-x[:, 0, 0].sign() * head(h_n[0]).squeeze(1)).mean()

    for _ in range(150):
        optimizer.zero_grad()
        miss().backward()
        optimizer.step()
    with torch.no_grad():
        for _ in range(30):
            miss()
        layer.eval()
        assert sum(miss() for _ in range(5)) / 5 < 0.35  # 0.69 by chance
