"""MLSTM: the paper's equations written out, chunks against steps, everything a layer can do."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from gatewise.errors import InvalidSettingsError, InvalidStateError, InvalidValueError
from gatewise.nn import MLSTM, MLSTMTrace, Stack
from gatewise.ops.reference.mlstm import Written, mlstm_chunks, mlstm_steps
from support.compare import assert_close, relative_error
from support.sequences import assert_lengths_are_runs_alone

T, B, I, H = 7, 3, 5, 8  # noqa: E741 - the field's letter

each_gate = pytest.mark.parametrize("forget_gate", ["sigmoid", "exponential"])
each_chunk = pytest.mark.parametrize("chunk_size", [1, 3, 64])


def make(*sizes: int, **options) -> MLSTM:
    draw = torch.Generator().manual_seed(0)
    return MLSTM(*(sizes or (I, H)), generator=draw, **options).double()


def make_x(*shape: int, seed: int = 1) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (T, B, I)), generator=draw, dtype=torch.float64)


SABOTAGE = {
    "keys not divided": {"scale": 1.0},
    "values and keys swapped": {"swapped": True},
    "no lower bound": {"least": 0.0},
    "input gate forgotten": {"written": 0.0},
    "forgets one step late": {"late": True},
}


def unstabilised(
    layer: MLSTM,
    x: Tensor,
    *,
    scale: float | None = None,
    swapped: bool = False,
    least: float = 1.0,
    written: float = 1.0,
    late: bool = False,
) -> Tensor:
    """Equations (19) to (27) of the paper, without a stabiliser, head by head.

    The keywords make wrong versions.
    """
    heads, width = layer.heads, layer.hidden_size // layer.heads
    raw = x @ layer.weight_ih_l0.T + layer.bias_ih_l0
    q, k, v, o, i, f = raw.split([layer.hidden_size] * 4 + [heads] * 2, -1)
    k = k * (1.0 / math.sqrt(width) if scale is None else scale)
    k, v = (v, k) if swapped else (k, v)
    i = torch.exp(written * i)
    f = f.sigmoid() if layer.forget_gate == "sigmoid" else f.exp()
    outputs = []
    for b in range(x.shape[1]):
        rows = []
        for head in range(heads):
            units = slice(head * width, (head + 1) * width)
            C, n = x.new_zeros(width, width), x.new_zeros(width)
            steps = []
            for t in range(len(x)):
                key, value, query = k[t, b, units], v[t, b, units], q[t, b, units]
                forget = f[max(t - 1, 0) if late else t, b, head]
                C = forget * C + i[t, b, head] * torch.outer(value, key)
                n = forget * n + i[t, b, head] * key
                norm = torch.clamp((n @ query).abs(), min=least)
                steps.append(C @ query / norm)
            rows.append(torch.stack(steps))
        outputs.append(torch.cat(rows, -1))
    return o.sigmoid() * torch.stack(outputs, 1)


def with_gradients(y: Tensor, *leaves: Tensor) -> dict[str, Tensor]:
    grads = torch.autograd.grad(y, leaves, make_x(*y.shape, seed=2))
    return {"y": y.detach()} | {f"grad {n}": grad for n, grad in enumerate(grads)}


@each_gate
@each_chunk
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_equations_of_the_paper(forget_gate, chunk_size, heads):
    layer = make(heads=heads, forget_gate=forget_gate, chunk_size=chunk_size)
    x = make_x().requires_grad_()
    leaves = x, *layer.parameters()
    ours = with_gradients(layer(x)[0], *leaves)
    assert_close(ours, with_gradients(unstabilised(layer, x), *leaves), tolerance=1e-12)


@pytest.mark.parametrize("wrong", SABOTAGE.values(), ids=SABOTAGE.keys())
def test_wrong_versions_are_rejected(wrong):
    layer = make(heads=2)
    with torch.no_grad():
        layer.weight_ih_l0.mul_(3)
    x = make_x()
    assert_close({"y": layer(x)[0]}, {"y": unstabilised(layer, x)}, tolerance=1e-12)
    with pytest.raises(AssertionError):
        assert_close({"y": layer(x)[0]}, {"y": unstabilised(layer, x, **wrong)}, tolerance=1e-12)


def written(
    length: int, *, forget: float = 3.0, spread: float = 2.0, dtype=torch.float64
) -> Written:
    heads, width = 2, 4
    q, k, v = (make_x(length, B, heads, width, seed=seed) for seed in (3, 4, 5))
    i, f = (spread * make_x(length, B, heads, seed=seed) for seed in (6, 7))
    parts = (q, k / 2, v, i, torch.nn.functional.logsigmoid(f + forget))
    return Written(*(part.to(dtype).requires_grad_() for part in parts))


def begin(dtype=torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    parts = make_x(B, 2, 4, 4, seed=8), make_x(B, 2, 4, seed=9), make_x(B, 2, seed=10)
    C, n, m = (part.to(dtype).requires_grad_() for part in parts)
    return C, n, m


@pytest.mark.parametrize("length", [1, 4, 16, 50])
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("record", [False, True])
def test_chunks_compute_what_steps_do(length, cut, record):
    given, state = written(33), begin()
    draw = torch.Generator().manual_seed(0)
    restarts = torch.rand(33, B, generator=draw) < 0.15 if cut else None
    found = []
    for read in (
        mlstm_chunks(given, state, restarts, length, record=record),
        mlstm_steps(given, state, restarts, record=record),
    ):
        parts = {"h": read.h, **dict(zip("Cnm", read.state, strict=True))}
        if record:
            parts |= {"ns": read.n, "ms": read.m}
        pulls = [make_x(*part.shape, seed=11) for part in parts.values()]
        grads = torch.autograd.grad(list(parts.values()), [*given, *state], pulls)
        found.append(parts | {f"grad {n}": grad for n, grad in enumerate(grads)})
    assert_close(*found, tolerance=1e-11)


@pytest.mark.parametrize("forget", [-10.0, 0.0, 3.0, 12.0])
@pytest.mark.parametrize("spread", [0.1, 5.0])
def test_chunks_are_as_exact_in_float32(forget, spread):
    exact = mlstm_steps(written(300, forget=forget, spread=spread), begin(), None).h
    given = written(300, forget=forget, spread=spread, dtype=torch.float32)
    state = begin(torch.float32)
    chunks, steps = mlstm_chunks(given, state, None, 64).h, mlstm_steps(given, state, None).h
    allowed = 4 * relative_error(steps, exact) + 5e-6
    assert_close({"h": chunks.double()}, {"h": exact}, tolerance=allowed)
    if spread < 1:
        assert_close({"h": chunks}, {"h": steps}, tolerance=1e-5)


def test_a_restart_forgets_what_is_not_finite():
    given, (C, n, m) = written(6), begin()
    restarts = torch.zeros(6, B, dtype=torch.bool)
    restarts[0] = True
    for C_0 in (C, C * math.inf):
        h = mlstm_steps(given, (C_0, n, m), restarts).h
        assert_close({"h": h}, {"h": mlstm_steps(given, begin(), restarts).h}, tolerance=0.0)


@each_gate
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("steps", [1, 9])
def test_gates_that_no_exponential_holds(forget_gate, dtype, steps):
    layer = make(2, 8, heads=4, forget_gate=forget_gate, chunk_size=4).to(dtype)
    with torch.no_grad():
        layer.bias_ih_l0[-8:] = torch.tensor([1e4, -1e4, 1e4, -1e4, 1e4, 1e4, -1e4, -1e4])
    x = make_x(steps, B, 2).to(dtype)
    y, states, trace = layer(x, trace=True)
    assert all(part.isfinite().all() for part in (y, *states, *trace))
    (y.sum() + states[0].sum()).backward()
    assert all(weight.grad.isfinite().all() for weight in layer.parameters())
    exact = make(2, 8, heads=4, forget_gate=forget_gate, chunk_size=4)
    with torch.no_grad():
        for name, weight in exact.named_parameters():
            weight.copy_(layer.get_parameter(name))
    state, outputs = None, []
    for t in range(steps):
        h, state = exact(x.double()[t : t + 1], state)
        outputs.append(h)
    # A float32 of 1e4 is a thousandth from the next, and so is its exponential.
    tolerance = 0.05 if dtype == torch.float32 else 1e-9
    assert_close({"y": y.double()}, {"y": torch.cat(outputs)}, tolerance=tolerance)
    if forget_gate == "sigmoid":  # what is never written is never read
        assert y[..., 2:4].eq(0).all()


@each_chunk
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}], ids=str)
def test_lengths_are_sequences_run_alone(chunk_size, options):
    layer = make(heads=2, chunk_size=chunk_size, **options)
    assert_lengths_are_runs_alone(layer, make_x(), [T, 2, 5], 1e-13)


@each_chunk
def test_resets_are_pieces_run_apart(chunk_size):
    layer = make(heads=2, chunk_size=chunk_size, bidirectional=True)
    x = make_x()
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[[2, 6]] = True
    whole, states = layer(x, reset=reset)
    pieces = [layer(part) for part in (x[:2], x[2:6], x[6:])]
    assert_close({"y": torch.cat([y for y, _ in pieces])}, {"y": whole}, tolerance=1e-13)
    for part, last, first in zip(states, pieces[2][1], pieces[0][1], strict=True):
        assert_close({"state": part[0]}, {"state": last[0]}, tolerance=1e-13)
        assert_close({"state": part[1]}, {"state": first[1]}, tolerance=1e-13)


def test_against_time():
    layer, x = make(heads=2, chunk_size=3), make_x()
    y, states = layer(x.flip(0))
    layer.reverse = True
    back, after = layer(x)
    assert_close({"y": back}, {"y": y.flip(0)}, tolerance=1e-13)
    assert_close({"C": after[0]}, {"C": states[0]}, tolerance=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_streaming_equals_the_whole_sequence(dtype):
    layer = make(heads=2, num_layers=2, chunk_size=16).to(dtype)
    x = make_x(100, B, I).to(dtype)
    whole, last = layer(x)
    state, outputs = None, []
    for t in range(100):
        y, state = layer(x[t : t + 1], state)
        outputs.append(y)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert_close({"y": torch.cat(outputs)}, {"y": whole}, tolerance=tolerance)
    assert_close(
        dict(zip("Cnm", state, strict=True)),
        dict(zip("Cnm", last, strict=True)),
        tolerance=tolerance,
    )


def test_trace():
    layer = make(heads=2, chunk_size=3)
    y, (C, n, m), trace = layer(make_x(), lengths=[T, 2, 5], trace=True)
    assert isinstance(trace, MLSTMTrace)
    d = H // 2
    shapes = {"q": (2, d), "k": (2, d), "v": (2, d), "n": (2, d), "o": (H,), "h": (H,)}
    for name, part in trace._asdict().items():
        assert part.shape == (1, T, B, *shapes.get(name, (2,))), name
        assert part[0, 2:, 1].eq(0).all()
    assert_close({"h": trace.h[0]}, {"h": y}, tolerance=0.0)
    assert_close({"n": trace.n[0, -1, 0]}, {"n": n[0, 0]}, tolerance=1e-14)
    assert_close({"m": trace.m[0, 1, 1]}, {"m": m[0, 1]}, tolerance=1e-14)
    memory = torch.zeros(2, d, d, dtype=torch.float64)
    before = torch.full((2,), -math.inf, dtype=torch.float64)
    for t in range(T):
        i = (trace.log_i[0, t, 0] - trace.m[0, t, 0]).exp()
        f = (trace.log_f[0, t, 0] + before - trace.m[0, t, 0]).exp()
        outer = trace.v[0, t, 0, :, :, None] * trace.k[0, t, 0, :, None, :]
        memory = f[:, None, None] * memory + i[:, None, None] * outer
        before = trace.m[0, t, 0]
    assert_close({"C": C[0, 0]}, {"C": memory}, tolerance=1e-13)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "batch_first": True}], ids=str)
def test_recomputed(options):
    layer = make(heads=2, chunk_size=2, num_layers=2, **options)
    other = copy.deepcopy(layer)
    found = []
    for own, steps in ((layer, None), (other, 3)):
        x = make_x().requires_grad_()
        given = x.transpose(0, 1) if own.batch_first else x
        y, (C, _, m) = own(given, lengths=[T, 2, 4], recompute=steps)
        (y.square().sum() + C.sum() + m.sum()).backward()
        grads = {name: weight.grad for name, weight in own.named_parameters()}
        found.append({"y": y.detach(), "x": x.grad, **grads})
    assert_close(*found, tolerance=1e-12)


def test_residual():
    layer = make(H, H, heads=2, residual=True, num_layers=2)
    below, above = make(H, H, heads=2), make(H, H, heads=2)
    for own, suffix in ((below, "l0"), (above, "l1")):
        for name, weight in own.named_parameters():
            weight.data = layer.get_parameter(name.replace("l0", suffix)).data
    x, lengths = make_x(T, B, H), [T, 2, 4]
    padding = torch.arange(T)[:, None, None] >= torch.tensor(lengths)[:, None]
    h = below(x, lengths=lengths)[0] + x.masked_fill(padding, 0.0)
    h = above(h, lengths=lengths)[0] + h
    assert_close({"y": layer(x, lengths=lengths)[0]}, {"y": h}, tolerance=1e-13)


def test_in_a_stack():
    stack = Stack(make(), nn.LayerNorm(H), make(H, H, heads=4, bidirectional=True)).double()
    y, state, traces = stack(make_x(), lengths=[T, 2, 4], trace=True)
    assert y.shape == (T, B, 2 * H)
    assert [type(trace) for trace in traces] == [MLSTMTrace, MLSTMTrace]
    assert [len(states) for states in state.detach().layers] == [3, 3]


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_derivatives_of_every_kind():
    layer = make(2, 4, heads=2, chunk_size=2)
    x = make_x(3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], x)
    weights = dict(layer.named_parameters())

    def loss(weights, x):
        return torch.func.functional_call(layer, weights, (x.unsqueeze(1),))[0].square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(weights, x.detach())
    for b in range(2):
        alone = torch.func.grad(loss)(weights, x[:, b].detach())
        assert_close({name: grad[b] for name, grad in each.items()}, alone, tolerance=1e-12)


def test_half_precision_is_computed_in_float32():
    layer = make(heads=2).float()
    x = make_x().float()
    exact = layer(x)[0]
    y, states = copy.deepcopy(layer).bfloat16()(x.bfloat16())
    assert y.dtype == states[0].dtype == torch.bfloat16
    assert_close({"y": y.float()}, {"y": exact}, tolerance=2e-2)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x)[0].dtype == torch.bfloat16


def test_forget_bias():
    layer = MLSTM(3, 8, heads=4, forget_bias=2.0)
    assert layer.bias_ih_l0[-4:].eq(2.0).all()
    assert layer.bias_ih_l0[-8:-4].ne(2.0).all()


@pytest.mark.parametrize("heads", [0, 5, 16, True, 2.0])
def test_heads_divide_the_units(heads):
    with pytest.raises((InvalidValueError, TypeError)):
        MLSTM(I, H, heads=heads)


def test_refused():
    with pytest.raises(InvalidSettingsError, match="chunk_size"):
        MLSTM(I, H, dropout=3.0, chunk_size=0)
    with pytest.raises(InvalidSettingsError, match=r"MLSTM\(reverse\)"):
        MLSTM(I, H, bidirectional=True, reverse=True, heads=3)
    with pytest.raises(InvalidStateError, match=r"hx\): C_0: expected shape \(1, 3, 2, 4, 4"):
        MLSTM(I, H, heads=2)(torch.zeros(T, B, I), MLSTM(I, H).initial_state(B))
    with pytest.raises(RuntimeError, match=r"heads=1.*as in this"):
        MLSTM(I, H).load_state_dict(MLSTM(I, H, heads=2).state_dict())
