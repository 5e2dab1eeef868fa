"""What must hold of any cell over sequences, whatever its weights; for every kernel."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from gatewise.ops.reference import CELLS
from support.backends import BACKENDS, KERNELS, layer_of
from support.compare import assert_close, assert_equal
from support.layer_case import LayerCase

TOLERANCE = 1e-12

each_kernel = pytest.mark.parametrize(
    ("cell", "backend"),
    [(cell, b) for cell in CELLS for b in BACKENDS if b == "reference" or cell in KERNELS],
)


class Layer(NamedTuple):
    """A layer with its numbers: ``run(x, states)`` gives y, the final states and a trace."""

    cell: str
    backend: str
    case: LayerCase
    x: Tensor
    states: list[Tensor]
    weights: list[Tensor]

    def run(self, x=None, states=None, weights=None, **named):
        y, *final, trace = layer_of(self.backend, self.cell)(
            self.x if x is None else x,
            *(self.states if states is None else states),
            self.weights if weights is None else weights,
            **named,
        )
        return y, final, trace


def make(cell: str, backend: str, *, P: int = 0, **sizes) -> Layer:
    """Return a layer of float64; P where the cell may project."""
    case = LayerCase(cell=cell, P=P if cell.startswith("lstm") else 0, scale=0.7, **sizes)
    x, *others = case.tensors(torch.float64).values()
    return Layer(cell, backend, case, x, others[: case.states], others[case.states :])


def named(y: Tensor, states: list[Tensor]) -> dict[str, Tensor]:
    return {"y": y} | dict(zip(("h_n", "c_n"), states, strict=False))


@each_kernel
@pytest.mark.parametrize("split", [1, 4, 8])
def test_splitting_and_carrying_the_state_equals_the_whole(cell, backend, split):
    layer = make(cell, backend, T=9, H=17, P=5)
    first, carried, _ = layer.run(layer.x[:split])
    second, final, _ = layer.run(layer.x[split:], carried)
    whole = layer.run()
    assert_close(named(torch.cat([first, second]), final), named(*whole[:2]), tolerance=TOLERANCE)


@each_kernel
def test_step_by_step_equals_the_whole(cell, backend):
    layer = make(cell, backend, T=9, H=17)
    states, steps = layer.states, []
    for step in layer.x.split(1):
        y, states, _ = layer.run(step, states)
        steps.append(y)
    whole = layer.run()
    assert_close(named(torch.cat(steps), states), named(*whole[:2]), tolerance=TOLERANCE)


@each_kernel
def test_permuting_the_batch_permutes_the_result(cell, backend):
    layer = make(cell, backend, T=6, B=7, H=9, D=2, lengths=True, reset=True)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    options = layer.case.sequence_options()
    lengths, reset = options["lengths"], options["reset"]
    whole = named(*layer.run(lengths=lengths, reset=reset)[:2])
    states = [state[:, order] for state in layer.states]
    permuted = layer.run(layer.x[:, order], states, lengths=lengths[order], reset=reset[:, order])
    expected = {name: value[:, order] for name, value in whole.items()}
    assert_close(named(*permuted[:2]), expected, tolerance=TOLERANCE)


@each_kernel
def test_lengths_equal_each_sequence_on_its_own(cell, backend):
    layer = make(cell, backend, T=8, B=6, H=9, P=4, D=2, lengths=True, seed=5)
    lengths = layer.case.sequence_options()["lengths"]
    assert len(set(lengths.tolist())) > 3
    y, final, trace = layer.run(lengths=lengths, trace=True)
    for b, length in enumerate(lengths.tolist()):
        row = slice(b, b + 1)
        states = [state[:, row] for state in layer.states]
        alone = layer.run(layer.x[:length, row], states, trace=True)
        together = named(y[:length, row], [state[:, row] for state in final])
        together |= {name: value[:, :length, row] for name, value in trace.items()}
        assert_close(together, named(*alone[:2]) | alone[2], tolerance=TOLERANCE)
        assert (y[length:, b] == 0).all()
        assert all((value[:, length:, b] == 0).all() for value in trace.values())


@each_kernel
def test_time_turned_around_equals_the_other_direction(cell, backend):
    layer = make(cell, backend, T=7, H=9, D=2)
    count = len(layer.weights) // 2
    y, final, _ = layer.run()
    swapped = [*layer.weights[count:], *layer.weights[:count]]
    turned = layer.run(layer.x.flip(0), [state.flip(0) for state in layer.states], swapped)
    sides = y.flip(0).chunk(2, dim=-1)[::-1]
    expected = named(torch.cat(sides, dim=-1), [state.flip(0) for state in final])
    assert_close(named(*turned[:2]), expected, tolerance=TOLERANCE)


@each_kernel
@pytest.mark.parametrize("cuts", [(0,), (3,), (0, 1, 5), (2, 3, 6), (6,), range(7)], ids=str)
@pytest.mark.parametrize("length", [7, 5], ids=["whole", "padded"])
def test_reset_equals_the_pieces_run_apart(cell, backend, cuts, length):
    layer = make(cell, backend, T=7, B=1, H=9, D=2)
    reset = torch.zeros(7, 1, dtype=torch.bool)
    reset[list(cuts)] = True
    lengths = None if length == 7 else torch.tensor([length])
    y, final, _ = layer.run(lengths=lengths, reset=reset)

    begins = sorted({0, *(cut for cut in cuts if cut < length)})
    ends = [*begins[1:], length]
    pieces = []
    for begin, end in zip(begins, ends, strict=True):
        states = [part.unsqueeze(1).clone() for part in CELLS[cell].begin(layer.states)]
        for state, given in zip(states, layer.states, strict=True):
            if begin == 0 and 0 not in cuts:
                state[0] = given[0]
            if end == length:
                state[1] = given[1]
        pieces.append(layer.run(layer.x[begin:end], states))
    expected = named(
        torch.cat([*(piece[0] for piece in pieces), torch.zeros_like(y[length:])]),
        [
            torch.stack([last[0], first[1]])
            for last, first in zip(pieces[-1][1], pieces[0][1], strict=True)
        ],
    )
    assert_close(named(y, final), expected, tolerance=TOLERANCE)


@each_kernel
def test_a_repetition_gives_the_same_bits(cell, backend):
    layer = make(cell, backend, T=9, B=5, H=33, D=2, lengths=True)
    lengths = layer.case.sequence_options()["lengths"]
    first, again = (layer.run(lengths=lengths) for _ in range(2))
    assert_equal(named(*again[:2]), named(*first[:2]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_trace_holds_the_equations(backend):
    layer = make("lstm", backend, T=6, B=3, H=9, P=4, D=2, lengths=True, seed=1)
    lengths = layer.case.sequence_options()["lengths"]
    (_, c0), weights = layer.states, layer.weights
    y, (h_n, _), trace = layer.run(lengths=lengths, trace=True)
    assert {name: tuple(value.shape) for name, value in trace.items()} == {
        **dict.fromkeys("ifgoc", (2, 6, 3, 9)),
        "h": (2, 6, 3, 4),
    }
    last = lengths - 1
    before = torch.cat([c0[0][None], trace["c"][0][:-1]])
    valid = (torch.arange(6).unsqueeze(1) < lengths).unsqueeze(-1)
    c = trace["f"][0] * before + trace["i"][0] * trace["g"][0]
    h = (trace["o"] * trace["c"].tanh()) @ torch.stack([weights[4].T, weights[9].T])[:, None]
    shown = {"c": trace["c"][0], "h": trace["h"], "y": y, "h_n": h_n[0]}
    expected = {
        "c": torch.where(valid, c, 0),
        "h": h,
        "y": torch.cat([trace["h"][0], trace["h"][1]], dim=-1),
        "h_n": trace["h"][0][last, torch.arange(3)],
    }
    assert_close(shown, expected, tolerance=TOLERANCE)
