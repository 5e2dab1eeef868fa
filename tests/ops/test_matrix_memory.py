"""The memory of an mLSTM: the kernel against single steps, and when it does not run."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import gatewise as gw
from gatewise.errors import InvalidStateError
from gatewise.nn import MLSTM
from gatewise.ops.matrix_memory import read_memory
from gatewise.ops.reference.mlstm import Written, mlstm_steps
from support.compare import assert_close

T, B, NH, d = 40, 3, 2, 5


def draw(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def inputs(*, gated: bool, forget: float = 2.0) -> dict[str, Tensor]:
    """What `read_memory` learns from, by name."""
    return {
        "heads": draw(T, B, (4 if gated else 3) * NH * d, seed=0),
        "log_i": 2 * draw(T, B, NH, seed=1),
        "log_f": torch.nn.functional.logsigmoid(draw(T, B, NH, seed=2) + forget),
        "C": draw(B, NH, d, d, seed=3),
        "n": draw(B, NH, d, seed=4),
        "m": draw(B, NH, seed=5),
    }


def by_steps(given: dict[str, Tensor], restarts: Tensor | None) -> dict[str, Tensor]:
    q, k, v, *gates = given["heads"].unflatten(-1, (-1, NH, d)).unbind(2)
    written = Written(q, k / math.sqrt(d), v, given["log_i"], given["log_f"])
    read = mlstm_steps(written, (given["C"], given["n"], given["m"]), restarts)
    y = read.h * gates[0].sigmoid() if gates else read.h
    return {"y": y, **dict(zip("Cnm", read.state, strict=True))}


def by_kernel(given: dict[str, Tensor], restarts: Tensor | None, chunk: int) -> dict[str, Tensor]:
    heads, log_i, log_f, *state = given.values()
    with gw.use_backend("native"):
        read = read_memory(heads, log_i, log_f, tuple(state), restarts, chunk)
    return {"y": read.h, **dict(zip("Cnm", read.state, strict=True))}


def with_gradients(run: Any, given: dict[str, Tensor], wanted: str = "yCnm") -> dict[str, Tensor]:
    leaves = {name: value.detach().requires_grad_() for name, value in given.items()}
    found = run(leaves)
    pulls = {name: draw(*found[name].shape, seed=7).to(found[name]) for name in wanted}
    total = torch.stack([(found[name] * pull).sum() for name, pull in pulls.items()]).sum()
    grads = torch.autograd.grad(total, leaves.values(), allow_unused=True, materialize_grads=True)
    return found | {f"grad {name}": grad for name, grad in zip(leaves, grads, strict=True)}


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, 64])
@pytest.mark.parametrize("wanted", ["y", "C", "nm", "yCnm"])
def test_what_steps_do(gated, chunk, wanted):
    given = inputs(gated=gated)
    cuts = draw(T, B, seed=9) > 1.3
    for restarts in (None, cuts):
        ours = with_gradients(lambda leaves, r=restarts: by_kernel(leaves, r, chunk), given, wanted)
        steps = with_gradients(lambda leaves, r=restarts: by_steps(leaves, r), given, wanted)
        assert_close(ours, steps, tolerance=1e-11)


@pytest.mark.parametrize("forget", [-30.0, -3.0, 8.0])
def test_memories_that_fade_at_once_or_never(forget):
    exact = with_gradients(lambda leaves: by_steps(leaves, None), inputs(gated=True, forget=forget))
    narrow = {name: part.float() for name, part in inputs(gated=True, forget=forget).items()}
    ours = with_gradients(lambda leaves: by_kernel(leaves, None, 64), narrow)
    assert_close({k: part.double() for k, part in ours.items()}, exact, tolerance=2e-4)


def test_nothing_is_in_the_memory_at_first():
    given = inputs(gated=False)
    given |= {"C": torch.zeros(B, NH, d, d), "n": torch.zeros(B, NH, d)}
    given["m"] = torch.full((B, NH), -math.inf)
    given = {name: part.double() for name, part in given.items()}
    ours = with_gradients(lambda leaves: by_kernel(leaves, None, 8), given)
    del ours["grad m"]
    steps = with_gradients(lambda leaves: by_steps(leaves, None), given)
    assert_close(ours, {name: steps[name] for name in ours}, tolerance=1e-11)


@pytest.mark.parametrize("chunk", [8, 64])
def test_a_cut_forgets_even_what_is_not_finite(chunk):
    given = inputs(gated=False)
    cuts = torch.zeros(T, B, dtype=torch.bool)
    cuts[0] = True
    anew = by_kernel(given, cuts, chunk)
    spoiled = by_kernel(given | {"C": given["C"] * math.inf}, cuts, chunk)
    assert all(part.equal(anew[name]) for name, part in spoiled.items())


def test_nothing_is_learned_across_a_cut():
    given = inputs(gated=False)
    given["log_i"][20:] = -math.inf  # so that the last m is as old as it may be
    cuts = torch.zeros(T, B, dtype=torch.bool)
    cuts[20] = True
    ours = with_gradients(lambda leaves: by_kernel(leaves, cuts, 8), given, "m")
    steps = with_gradients(lambda leaves: by_steps(leaves, cuts), given, "m")
    assert ours["grad log_f"][:20].eq(0).all()
    assert steps["grad log_f"][:20].eq(0).all()
    assert_close(ours, steps, tolerance=1e-11)


def test_threads_give_the_same_to_the_bit():
    layer = MLSTM(3, 64, heads=2)  # wide enough to wake others for
    x = draw(T, B, 3, seed=0).float()
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            leaf = x.clone().requires_grad_()
            y, state = layer(leaf)
            (grad,) = torch.autograd.grad(y.square().sum(), leaf)
            found.append({"y": y, "grad": grad, **dict(zip("Cnm", state, strict=True))})
    finally:
        torch.set_num_threads(before)
    assert all(part.equal(found[0][name]) for other in found[1:] for name, part in other.items())


@pytest.mark.parametrize("width", [32, 27])  # rows of whole lines, and others
def test_a_large_batch_gives_what_small_ones_do(width):
    rows = 512  # whose results are written past the caches
    heads, weight = draw(T, rows, 4 * NH * width, seed=0), draw(T, rows, NH * width, seed=6).float()
    gates = draw(T, rows, NH, seed=1), draw(T, rows, NH, seed=2)
    states = draw(rows, NH, width, width, seed=3), draw(rows, NH, width, seed=4)
    given = [part.float() for part in (heads, *gates, *states, draw(rows, NH, seed=5))]

    def run(first: int, last: int) -> list[Tensor]:
        own = [part.narrow(0 if i > 2 else 1, first, last - first) for i, part in enumerate(given)]
        heads, log_i, log_f, *state = (part.detach().requires_grad_() for part in own)
        with gw.use_backend("native"):
            read = read_memory(heads, log_i, log_f, tuple(state), None, 16)
        (read.h.flatten(2) * weight[:, first:last]).sum().backward()
        return [read.h, heads.grad, log_i.grad, log_f.grad]  # pyright: ignore

    whole = run(0, rows)
    assert whole[0].numel() * whole[0].element_size() >= 4 << 20
    pieces = zip(*(run(first, first + 32) for first in range(0, rows, 32)), strict=True)
    for found, expected in zip(whole, pieces, strict=True):
        assert torch.equal(found, torch.cat(expected, 1))


def test_gradients_of_any_layout():
    layer = MLSTM(3, 8, heads=2).double()
    x = draw(T, B, 3, seed=0).requires_grad_()
    y = layer(x)[0]
    pull = draw(B, 8, T, seed=1).permute(2, 0, 1)
    (dense,) = torch.autograd.grad(y, x, pull.contiguous(), retain_graph=True)
    (strided,) = torch.autograd.grad(y, x, pull, retain_graph=True)
    (spread,) = torch.autograd.grad(y.sum(), x)
    assert strided.equal(dense)
    with gw.use_backend("reference"):
        (wanted,) = torch.autograd.grad(layer(x)[0].sum(), x)
    assert_close({"x": spread}, {"x": wanted}, tolerance=1e-11)


def test_second_derivatives():
    layer = MLSTM(2, 4, heads=2, chunk_size=2).double()
    x = draw(3, 1, 2, seed=0).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], (x,))


def test_second_derivatives_by_one_state_alone():
    given = inputs(gated=True)
    C = given["C"].requires_grad_()
    found = by_kernel(given, None, 8)  # m does not depend on it, and has a gradient all the same
    total = found["y"].square().sum() + found["m"].sum()
    (first,) = torch.autograd.grad(total, C, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), C)
    plain = by_steps(given, None)["y"].square().sum()
    (want,) = torch.autograd.grad(plain, C, create_graph=True)
    (curved,) = torch.autograd.grad(want.sum(), C)
    assert_close({"1": first, "2": second}, {"1": want, "2": curved}, tolerance=1e-10)


def test_function_transforms_and_traces_take_the_reference():
    layer = MLSTM(3, 8, heads=2).double()
    x = draw(T, B, 3, seed=0)
    plain = torch.func.grad(lambda x: layer(x)[0].square().sum())(x)
    leaf = x.clone().requires_grad_()
    (ours,) = torch.autograd.grad(layer(leaf)[0].square().sum(), leaf)
    assert_close({"x": ours}, {"x": plain}, tolerance=1e-11)
    with torch.no_grad():
        traced, alone = layer(x, trace=True)[0], layer(x)[0]
    assert_close({"y": alone}, {"y": traced}, tolerance=1e-12)
    with gw.use_backend("native"), pytest.raises(InvalidStateError, match="a trace"):
        layer(x, trace=True)


def test_it_says_what_runs():
    layer = MLSTM(3, 8, heads=2)
    assert layer.explain().startswith("memory: native (")
    assert "chunks of 64 steps" in layer.explain()
    with gw.use_backend("reference"):
        assert "asks for it" in layer.explain()
    assert "no native kernel for tensors on meta" in layer.to("meta").explain()
