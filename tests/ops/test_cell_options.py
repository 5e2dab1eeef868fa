"""Options of the cells: every kernel against the float64 reference."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

from gatewise.ops.reference import CellOptions
from support.backends import BACKENDS, layer_of
from support.compare import assert_as_accurate, assert_equal
from support.layer_case import LayerCase, evaluate, reference_of, torch_of
from support.options_sabotage import wrong_options

LSTMS = ("lstm", "lstm_coupled", "lstm_no_forget")

EVERYTHING = CellOptions(
    peephole=True,
    layer_norm=True,
    cell_clip=0.6,
    update_dropout=0.3,
    recurrent_dropout=0.4,
    zoneout_c=0.2,
    zoneout_h=0.3,
    stream=4,
)
ONE_BY_ONE = [
    CellOptions(peephole=True),
    CellOptions(layer_norm=True),
    CellOptions(cell_clip=0.3),
    CellOptions(activation="relu"),
    CellOptions(activation="hardtanh", gate_activation="hardsigmoid"),
    CellOptions(activation="sigmoid", gate_activation="tanh"),
    CellOptions(gate_activation="relu"),
    CellOptions(update_dropout=0.5),
    CellOptions(recurrent_dropout=0.5),
    CellOptions(zoneout_c=0.4),
    CellOptions(zoneout_h=0.4),
]
FOR_GRU = [
    option
    for option in ONE_BY_ONE
    if option._replace(activation="tanh", gate_activation="sigmoid") == option
    and not option.peephole
    and not option.cell_clip
]
EVERYTHING_OF_GRU = EVERYTHING._replace(peephole=False, cell_clip=0.0)
# With its gate before the product the kernel has no norms.
EVERYTHING_BEFORE = EVERYTHING_OF_GRU._replace(layer_norm=False)
EVERYTHING_OF = {
    "lstm": EVERYTHING,
    "gru": EVERYTHING_OF_GRU,
    "gru_before": EVERYTHING_BEFORE,
}
ALL = (EVERYTHING, EVERYTHING_OF_GRU)

SHAPES = [
    LayerCase(T=5, B=3, I=4, H=6, D=2),
    LayerCase(T=4, B=2, I=7, H=17, D=1, bias=False),
    LayerCase(T=3, B=33, I=9, H=33, D=1, lengths=True),
    LayerCase(T=7, B=5, I=16, H=16, D=2, lengths=True, reset=True, trace=True),
    LayerCase(T=1, B=1, I=3, H=35, D=2),
]


def expand():
    for cell in LSTMS:
        yield from (replace(case, cell=cell, options=EVERYTHING) for case in SHAPES)
        yield from (replace(case, cell=cell, options=EVERYTHING, P=5) for case in SHAPES[:4])
        for number, options in enumerate(ONE_BY_ONE if cell == "lstm" else ONE_BY_ONE[:4]):
            yield replace(SHAPES[number % 4], cell=cell, options=options)
            yield replace(SHAPES[number % 3 + 1], cell=cell, options=options, P=number % 2 * 4)
    yield from (replace(case, cell="gru", options=EVERYTHING_OF_GRU) for case in SHAPES)
    yield from (replace(case, cell="gru_before", options=EVERYTHING_BEFORE) for case in SHAPES)
    for number, options in enumerate(FOR_GRU):
        yield replace(SHAPES[number % 4], cell="gru", options=options)
        if not options.layer_norm:
            yield replace(SHAPES[number % 4], cell="gru_before", options=options)


CASES = [
    case
    for plain in expand()
    for case in (plain, replace(plain, draws=True))
    if plain.options.masked or not case.draws
] + [
    *(replace(case, cell=cell, restart=True, reset=True) for cell in LSTMS for case in SHAPES),
    *(
        replace(case, cell=c, restart=True, reset=True)
        for c in ("gru", "gru_before", "rnn_tanh")
        for case in SHAPES
    ),
    *(
        replace(case, cell=cell, restart=True, reset=True, options=options, draws=True)
        for cell, options in EVERYTHING_OF.items()
        for case in SHAPES
    ),
    # Worth two threads, with rows shared out and with units shared out.
    *(
        replace(case, cell=cell, options=options, draws=True)
        for cell, options in EVERYTHING_OF.items()
        for case in (
            LayerCase(T=6, B=64, I=20, H=33),
            LayerCase(T=5, B=4, I=90, H=130, lengths=True),
        )
    ),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_all_gradients(case, backend):
    exact = evaluate(reference_of(case.cell), case, torch.float64)
    # Some are ill-conditioned: moved by a rounding error, torch's own results differ tenfold.
    yardsticks = [evaluate(torch_of(case.cell), case, torch.float32, moved) for moved in range(6)]
    for dtype in (torch.float32, torch.float64):
        ours = evaluate(layer_of(backend, case.cell), case, dtype)
        assert_as_accurate(ours, exact, *yardsticks)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", [c for c in CASES if c.options in ALL], ids=str)
def test_inference_is_training_without_the_gradients(case, backend):
    tensors = list(case.tensors(torch.float32).values())
    restarts = case.states if case.restart else 0
    x, *others = tensors[: len(tensors) - restarts]
    states, weights = others[: case.states], others[case.states :]
    named = case.sequence_options() | ({"restart": tensors[-restarts:]} if restarts else {})

    def run(*, learns: bool):
        given = [weight.requires_grad_(learns) for weight in weights]
        y, *final, _ = layer_of(backend, case.cell)(x, *states, given, **named)
        return dict(enumerate([y.detach(), *(state.detach() for state in final)]))

    assert_equal(run(learns=False), run(learns=True))


WRONG = {cell: wrong_options(cell) for cell in (*LSTMS, "gru")}


@cache
def sabotaged_case(cell: str) -> LayerCase:
    """Everything at once, so that nothing can hide."""
    return LayerCase(
        cell=cell,
        T=7,
        B=5,
        H=7,
        D=2,
        lengths=True,
        reset=True,
        options=EVERYTHING_OF_GRU if cell == "gru" else EVERYTHING,
        draws=True,
        seed=3,
    )


@cache
def exact(cell: str):
    return evaluate(reference_of(cell), sabotaged_case(cell), torch.float64)


@cache
def yardsticks(cell: str):
    case = sabotaged_case(cell)
    return [evaluate(torch_of(cell), case, torch.float32, moved) for moved in range(3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize(("cell", "wrong"), [(c, wrong) for c in WRONG for wrong in WRONG[c]])
def test_a_wrong_one_is_rejected(cell, wrong, dtype):
    candidate = evaluate(WRONG[cell][wrong], sabotaged_case(cell), dtype)
    with pytest.raises(AssertionError, match="relative error"):
        assert_as_accurate(candidate, exact(cell), *yardsticks(cell))
