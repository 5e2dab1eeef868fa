"""XLSTM and its blocks: written out a second time with torch's convolution, and as layers."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gatewise.errors import InvalidSettingsError, InvalidStateError, InvalidValueError
from gatewise.nn import (
    XLSTM,
    MLSTMBlock,
    MLSTMBlockTrace,
    SLSTMBlock,
    SLSTMTrace,
    Stack,
    StackState,
    freeze,
)
from support.compare import assert_close
from support.sequences import assert_lengths_are_runs_alone

T, B, E = 9, 3, 12

BLOCKS = {
    "mlstm": (MLSTMBlock, {"heads": 2, "chunk_size": 4}),
    "mlstm of other sizes": (
        MLSTMBlock,
        {"heads": 3, "inner_size": 18, "block_size": 6, "conv_size": 2, "bias": True},
    ),
    "slstm": (SLSTMBlock, {"heads": 3}),
    "slstm alone": (SLSTMBlock, {"heads": 1, "feedforward_size": 0, "conv_size": 5}),
}
each_block = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS.keys())


def disturb(module: nn.Module) -> nn.Module:
    """Move every weight, so that none is zero or one any more."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=draw, dtype=weight.dtype))
    return module


def make(block, **others):
    kind, options = block
    torch.manual_seed(0)
    return disturb(kind(E, **options, **others).double())


def make_x(*shape: int, seed: int = 1) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (T, B, E)), generator=draw, dtype=torch.float64)


def norm(x: Tensor, weight: Tensor, heads: int = 1) -> Tensor:
    x = x.unflatten(-1, (heads, -1))
    x = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-5)
    return x.flatten(-2) * weight


def conv(block, x: Tensor) -> Tensor:
    size = len(block.conv.weight)
    weight = block.conv.weight.T.unsqueeze(1)
    x = F.pad(x.permute(1, 2, 0), (size - 1, 0))
    return F.conv1d(x, weight, block.conv.bias, groups=len(weight)).permute(2, 0, 1)


def mlstm_block(block: MLSTMBlock, x: Tensor) -> Tensor:
    """Figure 11 of the paper, the memory in its quadratic form."""
    u, z = F.linear(norm(x, block.norm.weight), block.up.weight, block.up.bias).chunk(2, -1)
    c = F.silu(conv(block, u))
    q, k, v = (
        torch.cat([part @ w.T for part, w in zip(given.split(len(w[0]), -1), w, strict=True)], -1)
        for given, w in zip((c, c, u), block.weight_qkv, strict=True)
    )
    gates = F.linear(torch.cat([q, k, v], -1), block.gates.weight, block.gates.bias)
    i, f = gates.chunk(2, -1)
    heads, d = block.heads, block.inner_size // block.heads
    reads = []
    for head in range(heads):
        units = slice(head * d, (head + 1) * d)
        since = F.logsigmoid(f[..., head]).cumsum(0)
        weights = torch.exp(since[:, None] - since[None] + i[None, ..., head])  # T×S×B
        past = torch.ones(len(x), len(x)).tril().double()[..., None]
        scores = torch.einsum("tbd,sbd->tsb", q[..., units], k[..., units]) / math.sqrt(d)
        scores = scores * weights * past
        read = torch.einsum("tsb,sbd->tbd", scores, v[..., units])
        reads.append(read / scores.sum(1).abs().clamp_min(1.0)[..., None])
    h = norm(torch.cat(reads, -1), block.weight_heads, heads)
    return x + F.linear((h + block.skip * c) * F.silu(z), block.down.weight, block.down.bias)


def slstm_block(block: SLSTMBlock, x: Tensor) -> Tensor:
    """Figure 10 of the paper, the cell without a stabiliser."""
    u = norm(x, block.norm.weight)
    silu = F.silu(conv(block, u))
    cell, heads, d = block.cell, block.heads, E // block.heads

    def of_heads(given: Tensor, weight: Tensor) -> Tensor:
        parts = zip(given.split(d, -1), weight.split(d), strict=True)
        return torch.cat([part @ rows.T for part, rows in parts], -1)

    w, r = cell.weight_ih_l0.chunk(4), cell.weight_hh_l0.chunk(4)
    bias = cell.bias_ih_l0.chunk(4)
    h = c = n = x.new_zeros(x.shape[1], E)
    outputs = []
    for t in range(len(x)):
        given = (silu[t], silu[t], u[t], u[t])
        i, f, z, o = (of_heads(given[g], w[g]) + of_heads(h, r[g]) + bias[g] for g in range(4))
        c = f.sigmoid() * c + i.exp() * z.tanh()
        n = f.sigmoid() * n + i.exp()
        h = o.sigmoid() * c / n
        outputs.append(h)
    y = x + norm(torch.stack(outputs), block.weight_heads, heads)
    if not block.feedforward_size:
        return y
    up = F.linear(norm(y, block.feedforward_norm.weight), block.up.weight, block.up.bias)
    a, b = up.chunk(2, -1)
    return y + F.linear(F.gelu(a) * b, block.down.weight, block.down.bias)


def with_gradients(y: Tensor, *leaves: Tensor) -> dict[str, Tensor]:
    grads = torch.autograd.grad(y, leaves, make_x(*y.shape, seed=2))
    return {"y": y.detach()} | {f"grad {n}": grad for n, grad in enumerate(grads)}


@each_block
def test_the_figures_of_the_paper(block):
    layer, x = make(block), make_x().requires_grad_()
    written = mlstm_block if isinstance(layer, MLSTMBlock) else slstm_block
    leaves = x, *layer.parameters()
    ours = with_gradients(layer(x)[0], *leaves)
    assert_close(ours, with_gradients(written(layer, x), *leaves), tolerance=1e-10)


@each_block
@pytest.mark.parametrize("moved", ["norm.weight", "conv.weight", "weight_heads"])
def test_a_weight_out_of_place_is_noticed(block, moved):
    layer, x = make(block), make_x()
    written = mlstm_block if isinstance(layer, MLSTMBlock) else slstm_block
    exact = written(layer, x)
    with torch.no_grad():
        weight = layer.get_parameter(moved)
        weight.copy_(weight.roll(1, 0))
    with pytest.raises(AssertionError):
        assert_close({"y": layer(x)[0]}, {"y": exact}, tolerance=1e-10)


@each_block
def test_nothing_is_seen_before_its_time(block):
    layer, x = make(block), make_x()
    later = x.clone()
    later[5:] += 1
    assert_close({"y": layer(later)[0][:5]}, {"y": layer(x)[0][:5]}, tolerance=1e-13)


@each_block
def test_lengths_are_sequences_run_alone(block):
    assert_lengths_are_runs_alone(make(block), make_x(), [T, 2, 5], 1e-12)


@each_block
def test_resets_are_pieces_run_apart(block):
    layer, x = make(block), make_x()
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[[2, 3], 0] = True
    reset[7] = True
    whole, states = layer(x, reset=reset)
    cuts = {0: [0, 2, 3, 7, T], 1: [0, 7, T], 2: [0, 7, T]}
    for b, places in cuts.items():
        pieces = [layer(x[a:z, b : b + 1]) for a, z in pairwise(places)]
        own = torch.cat([y for y, _ in pieces])[:, 0]
        assert_close({"y": whole[:, b]}, {"y": own}, tolerance=1e-12)
        for part, alone in zip(states, pieces[-1][1], strict=True):
            assert_close({"state": part[:, b]}, {"state": alone[:, 0]}, tolerance=1e-12)


@each_block
@pytest.mark.parametrize("lengths", [None, [T, 2, 5]], ids=str)
def test_recomputed(block, lengths):
    layer = make(block)
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[4] = True
    found = []
    for own, steps in ((layer, None), (copy.deepcopy(layer), 2)):
        x = make_x().requires_grad_()
        y, states = own(x, lengths=lengths, reset=reset, recompute=steps)
        (y.square().sum() + sum(part.square().sum() for part in states)).backward()
        grads = {name: weight.grad for name, weight in own.named_parameters()}
        found.append({"y": y.detach(), "x": x.grad, **grads})
    assert_close(*found, tolerance=1e-11)


@each_block
def test_traces(block):
    layer = make(block)
    y, states, trace = layer(make_x(), lengths=[T, 2, 5], trace=True)
    assert isinstance(trace, MLSTMBlockTrace if isinstance(layer, MLSTMBlock) else SLSTMTrace)
    assert all(part.shape[:3] == (1, T, B) for part in trace)
    assert all(part[0, 2:, 1].eq(0).all() for part in trace)
    names = list(layer.state_shapes)
    for name in ("n_0", "m_0"):
        last = getattr(trace, name[0])[0, [-1, 1, 4], range(B)]
        assert_close({name: last}, {name: states[names.index(name)][0]}, tolerance=1e-13)
    assert_close({"y": layer(make_x(), lengths=[T, 2, 5])[0]}, {"y": y}, tolerance=1e-13)


def make_stack(**options) -> XLSTM:
    torch.manual_seed(0)
    return disturb(XLSTM(E, 3, slstm_at=[1], heads=2, **options).double())


def flat(state: StackState) -> dict[str, Tensor]:
    parts = [part for layer in state.layers for part in layer]
    return {str(n): part for n, part in enumerate(parts)}


def test_the_stack_calls_its_blocks_and_goes_on():
    model, x = make_stack().eval(), make_x()
    y = x
    for block in list(model)[:3]:
        y, _ = block(y)
    assert [type(block) for block in model] == [MLSTMBlock, SLSTMBlock, MLSTMBlock, nn.LayerNorm]
    whole, last = model(x)
    assert_close({"y": whole}, {"y": model[3](y)}, tolerance=1e-13)
    state, outputs = None, []
    for part in x.split([4, 1, 4]):
        y, state = model(part, state)
        outputs.append(y)
    assert_close({"y": torch.cat(outputs)}, {"y": whole}, tolerance=1e-12)
    assert_close(flat(state), flat(last), tolerance=1e-12)


def test_a_stack_inside_a_stack():
    inner = make_stack()
    model = Stack(nn.Linear(4, E), inner, nn.Linear(E, 2), batch_first=True).double().eval()
    x = make_x(B, T, 4)
    whole, _, traces = model(x, lengths=[T, 3, 5], trace=True)
    h, _ = inner(model[0](x).transpose(0, 1), lengths=[T, 3, 5])
    y = model[2](h.transpose(0, 1))
    assert_close({"y": whole[0]}, {"y": y[0]}, tolerance=1e-13)
    assert whole[1, 3:].eq(0).all()
    assert len(traces) == 1
    assert [type(trace) for trace in traces[0]] == [MLSTMBlockTrace, SLSTMTrace, MLSTMBlockTrace]
    begun, state = model(x[:, :4], model.initial_state(B))
    rest, state = model(x[:, 4:], state.detach())
    assert_close({"y": torch.cat([begun, rest], 1)[0]}, {"y": whole[0]}, tolerance=1e-12)
    assert state.to(torch.float32).layers[0].layers[1][2].dtype == torch.float32
    with pytest.raises(InvalidValueError, match=r"layers\[0\].*batch_first"):
        Stack(XLSTM(E, 1, batch_first=True))


def test_trained_frozen_and_loaded():
    torch.manual_seed(0)
    model = Stack(nn.Linear(1, 8), XLSTM(8, 2, slstm_at=[1], heads=2), nn.Linear(8, 1))
    x = torch.randn(30, 16, 1)
    target = x.cumsum(0) * 0.2
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = F.mse_loss(model(x)[0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    other = Stack(nn.Linear(1, 8), XLSTM(8, 2, slstm_at=[1], heads=2), nn.Linear(8, 1))
    other.load_state_dict(model.state_dict())
    y = model.eval()(x)[0]
    assert_close({"y": other.eval()(x)[0]}, {"y": y}, tolerance=0.0)
    assert_close({"y": freeze(other)(x)[0]}, {"y": y}, tolerance=1e-6)
    with pytest.raises(RuntimeError, match="heads=4"):
        XLSTM(8, 2, slstm_at=[1]).load_state_dict(model[1].state_dict())


def test_forget_gates_begin_open():
    block = MLSTMBlock(8, heads=4)
    assert_close(
        {"f": block.gates.bias.detach()[4:]}, {"f": torch.linspace(3, 6, 4)}, tolerance=1e-6
    )
    first, last = (SLSTMBlock(8, heads=2, num_blocks=3, position=n) for n in (0, 2))
    biases = [block.cell.bias_ih_l0.detach()[8:12] for block in (first, last)]
    assert all(bias[0] == 5 and bias[-1] == -7 for bias in biases)
    assert (biases[1][1:-1] > biases[0][1:-1]).all()


@each_block
def test_dropout_acts_in_training_alone(block):
    layer, x = make(block, dropout=0.5), make_x()
    torch.manual_seed(0)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_unbatched_and_batch_first():
    for block in BLOCKS.values():
        layer, x = make(block), make_x()
        whole, states = layer(x)
        y, own = layer(x[:, 1])
        assert_close({"y": y}, {"y": whole[:, 1]}, tolerance=1e-13)
        assert all(a.shape == b[:, 1].shape for a, b in zip(own, states, strict=True))
        layer = make(block, batch_first=True)
        assert_close({"y": layer(x.transpose(0, 1))[0]}, {"y": whole.transpose(0, 1)}, tolerance=0)


def test_refused():
    with pytest.raises(InvalidSettingsError, match=r"inner_size.*\n.*chunk_size"):
        MLSTMBlock(E, inner_size=0, chunk_size=0)
    with pytest.raises(InvalidValueError, match=r"MLSTMBlock\(heads\): .* divides inner_size=24"):
        MLSTMBlock(E, heads=5)
    with pytest.raises(InvalidValueError, match=r"block_size.* divides inner_size=24"):
        MLSTMBlock(E, heads=2, block_size=5)
    with pytest.raises(InvalidValueError, match=r"conv_size\): expected at least 2"):
        SLSTMBlock(E, conv_size=1)
    with pytest.raises(InvalidValueError, match=r"SLSTMBlock\(heads\): .* divides size=12"):
        SLSTMBlock(E, heads=5)
    with pytest.raises(InvalidValueError, match=r"slstm_at.*positions from 0 to 1"):
        XLSTM(E, 2, slstm_at=[2])
    with pytest.raises(InvalidValueError, match=r"position\): expected a place from 0 to 2, got 3"):
        SLSTMBlock(E, num_blocks=3, position=3)
    with pytest.raises(InvalidValueError, match="num_blocks"):
        XLSTM(E, 0)
    with pytest.raises(InvalidStateError, match=r"hx\): expected 5 tensors"):
        SLSTMBlock(E)(make_x().float(), (torch.zeros(1, B, E),))
