"""The operators gatewise::recurrent and gatewise::recurrent_backward, called directly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import gatewise.nn
from gatewise.errors import InvalidStateError, InvalidValueError
from gatewise.nn import LSTM
from support.compare import assert_close, assert_equal
from support.layer_case import LayerCase

recurrent = torch.ops.gatewise.recurrent
recurrent_backward = torch.ops.gatewise.recurrent_backward
CASE = LayerCase(T=4, B=3, I=5, H=6, D=2)
# Worth two threads, with rows shared out and with units shared out.
LARGE = [
    LayerCase(T=6, B=64, I=40, H=48, D=2),
    LayerCase(T=6, B=4, I=90, H=130, lengths=True),
    LayerCase(cell="gru", T=6, B=4, I=90, H=130, D=2),
]


class Operands(NamedTuple):
    cell: str
    x: Tensor
    states: list[Tensor]
    weights: list[Tensor]
    lengths: Tensor | None
    reset: Tensor | None
    seed: Tensor | None = None
    restart_h: Tensor | None = None
    restart_c: Tensor | None = None


def operands(
    case: LayerCase, dtype: torch.dtype = torch.float32, *, grad: bool = False
) -> Operands:
    x, *others = (t.requires_grad_(grad) for t in case.tensors(dtype).values())
    states, weights = others[: case.states], others[case.states :]
    return Operands(case.cell, x, states, weights, **case.sequence_options())


def backward_operands(case: LayerCase, dtype: torch.dtype = torch.float32) -> tuple:
    given = operands(case, dtype)
    y, final, saved = recurrent(*given, save=True)
    grads = (torch.ones_like(y), [torch.ones_like(state) for state in final])
    return (*grads, *given, y, saved, True, True)


def train(case: LayerCase) -> dict[str, Tensor]:
    """Return outputs and all gradients of one call."""
    given = operands(case, grad=True)
    y, final, _ = recurrent(*given, save=True)
    inputs = [given.x, *given.states, *given.weights]
    grads = torch.autograd.grad((y * y).sum() + sum(state.sum() for state in final), inputs)
    named = {"y": y} | {f"final{n}": state for n, state in enumerate(final)}
    return {n: v.detach() for n, v in named.items()} | {f"grad{n}": g for n, g in enumerate(grads)}


@pytest.fixture
def set_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


# torch says so when it first meets a dual number.
first_dual = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

VARIANTS = {
    "plain": CASE,
    "projected": LayerCase(T=4, B=3, I=5, H=6, P=4, D=2),
    "no bias": LayerCase(T=4, B=3, bias=False),
    "reset": LayerCase(T=4, B=3, D=2, reset=True),
    "strided": LayerCase(T=4, B=3, contiguous=False),
    "gru": LayerCase(cell="gru", T=4, B=3, D=2),
    "rnn": LayerCase(cell="rnn_tanh", T=4, B=3, D=2, bias=False),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("variant", VARIANTS)
def test_opcheck(variant, dtype):
    case = VARIANTS[variant]
    torch.library.opcheck(recurrent.default, operands(case, dtype, grad=True), {"save": True})
    torch.library.opcheck(recurrent.default, operands(case, dtype))
    torch.library.opcheck(recurrent_backward.default, backward_operands(case, dtype))


def test_opcheck_with_lengths():
    case = LayerCase(T=4, B=3, D=2, lengths=True, reset=True)
    torch.library.opcheck(recurrent.default, operands(case))
    torch.library.opcheck(recurrent_backward.default, backward_operands(case))
    # The saved rows beyond the lengths are never written, so two calls differ there.
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    saving = operands(case, grad=True), {"save": True}
    torch.library.opcheck(recurrent.default, *saving, test_utils=tests)


def dual(t: Tensor) -> Tensor:
    return forward_ad.make_dual(t, torch.ones_like(t))


@first_dual
def test_transforms_raise_instead_of_giving_zeros():
    given = operands(CASE)

    def run(x: Tensor) -> Tensor:
        return recurrent(given.cell, x, *given[2:])[0]

    x = given.x
    for transformed in (
        lambda: torch.func.jvp(run, (x,), (torch.ones_like(x),)),
        lambda: torch.func.vmap(run)(x.expand(2, *x.shape)),
        lambda: torch.func.grad(lambda x: run(x).sum())(x),
        lambda: torch.func.jacfwd(run)(x),
        lambda: torch.func.jacrev(run)(x),
    ):
        with pytest.raises(InvalidStateError, match="function transform"):
            transformed()


@first_dual
@pytest.mark.parametrize("place", ["x", "states", "weights"])
def test_forward_mode_raises_instead_of_giving_zeros(place):
    given = operands(CASE)
    with forward_ad.dual_level():
        value = getattr(given, place)
        value = dual(value) if place == "x" else [*value[:-1], dual(value[-1])]
        with pytest.raises(InvalidStateError, match="function transform"):
            recurrent(*given._replace(**{place: value}))
        recurrent(*given)  # without a tangent there is nothing to lose


@first_dual
def test_forward_mode_of_the_backward_raises():
    grad_y, *rest = backward_operands(CASE)
    with (
        forward_ad.dual_level(),
        pytest.raises(InvalidStateError, match="function transform"),
    ):
        recurrent_backward(dual(grad_y), *rest)
    with pytest.raises(InvalidStateError, match="function transform"):
        torch.func.vmap(lambda g: recurrent_backward(g, *rest)[0])(grad_y.expand(2, *grad_y.shape))


@first_dual
def test_forward_mode_of_the_backward_of_a_layer_raises():
    layer = LSTM(3, 5)
    y, _ = layer(torch.randn(4, 2, 3))
    with (
        forward_ad.dual_level(),
        pytest.raises(InvalidStateError, match="function transform"),
    ):
        y.backward(dual(torch.ones_like(y)))


def test_a_large_output_keeps_its_size_and_its_copy_need_not():
    layer = LSTM(64, 128)
    with torch.no_grad():
        y, _ = layer(torch.randn(64, 32, 64))  # 1 MB
    assert y.clone().resize_(2 * y.numel()).numel() == 2 * y.numel()
    with pytest.raises(RuntimeError, match="not resizable"):
        y.resize_(2 * y.numel())


def test_backward_twice_gives_the_same():
    given = operands(CASE, grad=True)
    y = recurrent(*given, save=True)[0]
    inputs = [given.x, *given.states, *given.weights]
    first = torch.autograd.grad(y.sum(), inputs, retain_graph=True)
    again = torch.autograd.grad(y.sum(), inputs)
    assert_equal(dict(enumerate(again)), dict(enumerate(first)))
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y.sum(), inputs)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_backward_frees_what_forward_saved():
    case = LayerCase(T=200, B=64, I=16, H=256)
    given = operands(case, grad=True)
    saved = 200 * 64 * 5 * 256 * 4  # gates and cells
    y = recurrent(*given, save=True)[0]
    y.sum().backward()
    before = resident_bytes()
    again = recurrent(*given, save=True)[0]  # finds the memory that the backward gave back
    assert y.grad_fn is not None
    assert again.grad_fn is not None
    assert resident_bytes() - before < saved / 2


def test_a_backward_without_saving_says_so():
    given = operands(CASE, grad=True)
    y = recurrent(*given, save=False)[0]
    with pytest.raises(InvalidStateError, match="save=True"):
        y.sum().backward()


@pytest.mark.parametrize("length", [-1, 5])
def test_lengths_out_of_range_raise(length):
    given = operands(CASE)._replace(lengths=torch.tensor([1, length, 4]))
    with pytest.raises(InvalidValueError, match="lengths: expected values from 0 to T"):
        recurrent(*given)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_row_without_steps_hands_its_state_on(cell):
    given = operands(replace(CASE, cell=cell), grad=True)
    given = given._replace(lengths=torch.tensor([2, 0, 4]))
    y, final, _ = recurrent(*given, save=True)
    assert not y[:, 1].any()
    for before, after in zip(given.states, final, strict=True):
        assert torch.equal(before[:, 1], after[:, 1])
    pull = [torch.randn_like(after) for after in final]
    grad_x, *grads = torch.autograd.grad(
        (y.sum(), *final), [given.x, *given.states], (torch.ones(()), *pull)
    )
    assert not grad_x[:, 1].any()
    for grad, pulled in zip(grads, pull, strict=True):
        assert torch.equal(grad[:, 1], pulled[:, 1])
    # The others are as they are without it.
    others = [0, 2]
    less = given._replace(
        x=given.x[:, others],
        states=[state[:, others] for state in given.states],
        lengths=torch.tensor([2, 4]),
    )
    assert torch.equal(recurrent(*less)[0], y[:, others])


WRONG_OPERANDS = {
    "x of two axes": lambda g: g._replace(x=g.x[0]),
    "x of no steps": lambda g: g._replace(x=g.x[:0]),
    "x of another dtype": lambda g: g._replace(x=g.x.double()),
    "x of integers": lambda g: g._replace(x=g.x.long()),
    "an unknown cell": lambda g: g._replace(cell="nonsense"),
    "a cell of other gates": lambda g: g._replace(cell="gru"),
    "h0 of two axes": lambda g: g._replace(states=[g.states[0][0], g.states[1]]),
    "h0 of another batch": lambda g: g._replace(states=[g.states[0][:, :2], g.states[1]]),
    "three directions": lambda g: g._replace(states=[s[[0, 0, 1]] for s in g.states]),
    "no direction": lambda g: g._replace(states=[s[:0] for s in g.states]),
    "c0 of two axes": lambda g: g._replace(states=[g.states[0], g.states[1][0]]),
    "c0 of another size": lambda g: g._replace(states=[g.states[0], g.states[1][..., :5]]),
    "h0 alone": lambda g: g._replace(states=g.states[:1]),
    "a state too many": lambda g: g._replace(states=[*g.states, g.states[1]]),
    "no weights": lambda g: g._replace(weights=[]),
    "a weight too few": lambda g: g._replace(weights=g.weights[:-1]),
    "weights swapped": lambda g: g._replace(weights=[g.weights[1], g.weights[0], *g.weights[2:]]),
    "a recurrent weight of no axes": lambda g: g._replace(
        weights=[g.weights[0], g.weights[1].sum(), *g.weights[2:]]
    ),
    "weights of one direction": lambda g: g._replace(weights=g.weights[:4]),
    "lengths of another batch": lambda g: g._replace(lengths=torch.ones(2, dtype=torch.int64)),
    "lengths of int32": lambda g: g._replace(lengths=torch.ones(3, dtype=torch.int32)),
    "reset of floats": lambda g: g._replace(reset=torch.zeros(4, 3)),
    "reset of another shape": lambda g: g._replace(reset=torch.zeros(3, 4, dtype=torch.bool)),
}


@pytest.mark.parametrize("wrong", WRONG_OPERANDS)
def test_operands_that_do_not_fit_raise(wrong):
    with pytest.raises(InvalidStateError, match=r"gatewise::recurrent: expected a cell of"):
        recurrent(*WRONG_OPERANDS[wrong](operands(CASE)))


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("wrong", [lambda g: g[..., :-1], lambda g: g.double()])
def test_gradients_that_do_not_fit_raise(place, wrong):
    grad_y, grad_states, *rest = backward_operands(CASE)
    grads = [grad_y, *grad_states]
    grads[place] = wrong(grads[place])
    with pytest.raises(InvalidStateError, match="gatewise::recurrent_backward: expected grad_y"):
        recurrent_backward(grads[0], grads[1:], *rest)


def test_a_gradient_too_many_raises():
    grad_y, grad_states, *rest = backward_operands(CASE)
    with pytest.raises(InvalidStateError, match="gatewise::recurrent_backward: expected grad_y"):
        recurrent_backward(grad_y, [*grad_states, grad_states[0]], *rest)


@pytest.mark.parametrize("place", [-4, -3])
def test_saved_tensors_that_do_not_fit_raise(place):
    given = list(backward_operands(CASE))
    given[place] = given[place][:1, ..., :-1]
    with pytest.raises(InvalidStateError, match="Pass what gatewise::recurrent returned"):
        recurrent_backward(*given)


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_the_same_bits_from_run_to_run_and_rounding_between_threads(case, set_threads):
    runs = {}
    for threads in (1, 2, 3):
        set_threads(threads)
        runs[threads] = train(case)
        for _ in range(3):
            assert_equal(train(case), runs[threads])
    assert_close(runs[2], runs[1], tolerance=1e-5)
    assert_close(runs[3], runs[1], tolerance=1e-5)


def test_many_python_threads_at_once(set_threads):
    cases = [LayerCase(T=6, B=40 + n, I=40, H=48, seed=n, lengths=n % 2 == 0) for n in range(8)]

    def run(case: LayerCase) -> dict[str, Tensor]:
        torch.set_num_threads(2)  # the number is kept for each thread apart
        return train(case)

    expected = [run(case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for got, want in zip(pool.map(run, cases), expected, strict=True):
                assert_equal(got, want)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN", "MinGRU", "SLSTM"])
def test_gradients_that_fade_end_in_zero(kind):
    # Processors may take a hundred cycles for each number that is too small for a full mantissa.
    layer, x = getattr(gatewise.nn, kind)(16, 32), torch.randn(700, 4, 16, requires_grad=True)
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            if "bias" in name:
                weight.zero_()
    tiny = torch.finfo(torch.float32).tiny
    faded = {}
    for backend in ("native", "reference"):
        layer.backend = backend
        (grad,) = torch.autograd.grad(layer(x)[0][-1].sum(), x)
        assert grad[-1].abs().max() > 1e-3
        faded[backend] = bool(((grad != 0) & (grad.abs() < tiny)).any())
    assert faded == {"native": False, "reference": True}
    assert torch.tensor(tiny) / 4 > 0  # the caller's arithmetic is as it was


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "MinLSTM"])
def test_gradients_of_a_block_that_outgrow_the_cache(kind, threads, set_threads):
    set_threads(threads)
    given = torch.randn(4, 192, 40, generator=torch.Generator().manual_seed(0))
    layer = getattr(gatewise.nn, kind)(40, 256, generator=torch.Generator().manual_seed(1))
    grads = []
    for dtype in (torch.float32, torch.float64):
        x = given.to(dtype).requires_grad_()
        with gatewise.use_backend("native" if dtype is torch.float32 else "reference"):
            y, _ = layer.to(dtype)(x)
        grads.append(torch.autograd.grad(y.square().sum(), [x, *layer.parameters()]))
    for found, expected in zip(*grads, strict=True):
        assert_close({"grad": found.double()}, {"grad": expected}, tolerance=1e-5)
