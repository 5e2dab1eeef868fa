"""Products in bfloat16: the reference rounds where it says, the kernels where it does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gatewise import _native
from gatewise.nn import LSTM, MinLSTM
from gatewise.ops import dispatch, kernels
from gatewise.ops.reference import CellOptions
from support.backends import BACKENDS, layer_of
from support.compare import assert_close
from support.layer_case import LayerCase, evaluate, reference_of, torch_of
from support.process import run_python

BF16 = CellOptions(bf16=True)
EVERYTHING = CellOptions(
    bf16=True,
    peephole=True,
    layer_norm=True,
    cell_clip=0.5,
    update_dropout=0.2,
    zoneout_c=0.1,
    zoneout_h=0.2,
)
OF_GRU = CellOptions(bf16=True, layer_norm=True, update_dropout=0.2, zoneout_h=0.2)
CASES = [
    *(
        LayerCase(cell=cell, T=17, B=5, I=9, H=19, D=2, options=BF16, **features)
        for cell in ("lstm", "gru", "rnn_tanh", "lstm_coupled")
        for features in ({}, {"lengths": True, "reset": True, "restart": cell != "rnn_tanh"})
    ),
    LayerCase(T=9, B=40, I=16, H=32, options=BF16),
    LayerCase(T=9, B=7, I=33, H=35, P=15, D=2, options=BF16),
    LayerCase(T=1, B=2, I=20, H=20, options=BF16, bias=False),  # so few rows that nothing is packed
    LayerCase(T=9, B=5, I=9, H=19, P=7, options=EVERYTHING, draws=True, lengths=True),
    LayerCase(cell="gru", T=9, B=5, I=9, H=19, options=OF_GRU, draws=True, reset=True),
]
# One number in thousands lies so near the middle between two of bfloat16 that the kernel's float
# and the reference's fall to different sides.
ALIKE = 1e-3


def distances(got: dict, want: dict) -> dict[str, float]:
    return {name: float((got[name] - want[name]).norm() / want[name].norm()) for name in want}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_kernels_round_where_the_reference_does(case):
    ours = evaluate(layer_of("auto", case.cell), case, torch.float32)
    reference = evaluate(reference_of(case.cell), case, torch.float32)
    assert_close(ours, reference, tolerance=ALIKE)
    unrounded = replace(case, options=case.options._replace(bf16=False))
    exact = evaluate(reference_of(case.cell), unrounded, torch.float64)
    assert max(distances(ours, exact).values()) > ALIKE  # that it has rounded at all


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_as_accurate_as_torch_in_bfloat16(cell, backend):
    plain = LayerCase(cell=cell, T=30, B=8, I=32, H=64)
    exact = evaluate(torch_of(cell), plain, torch.float64)

    def autocast(*arguments, **named):
        with torch.autocast("cpu", torch.bfloat16):
            return [
                part if part is None else part.float()
                for part in torch_of(cell)(*arguments, **named)
            ]

    theirs = distances(evaluate(autocast, plain, torch.float32), exact)
    case = LayerCase(cell=cell, T=30, B=8, I=32, H=64, options=BF16)
    ours = distances(evaluate(layer_of(backend, cell), case, torch.float32), exact)
    assert all(ours[name] < 0.01 for name in ours), ours
    assert sum(ours.values()) < sum(theirs.values()), (ours, theirs)


def test_the_reference_rounds_operands_and_nothing_else():
    """One step of a plain network, by hand."""
    case = LayerCase(cell="rnn_tanh", T=1, B=3, I=5, H=4, bias=True, options=BF16)
    tensors = case.tensors(torch.float64)
    _x, _h0, _w_ih, _w_hh, b_ih, b_hh = tensors.values()
    leaves = [value.clone().requires_grad_() for value in tensors.values()]
    y = reference_of("rnn_tanh")(leaves[0], leaves[1], leaves[2:], options=BF16)[0]
    near = {name: value.bfloat16().double() for name, value in tensors.items()}
    products = near["x"][0] @ near["w_ih0"].T + near["h0"][0] @ near["w_hh0"].T
    h = torch.tanh(products + b_ih + b_hh)
    assert_close({"y": y.detach()[0]}, {"y": h}, tolerance=1e-15)
    arrived = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(3))
    found = torch.autograd.grad(y, leaves, arrived)
    dz = arrived[0] * (1 - h * h)
    rounded = dz.bfloat16().double()
    expected = [
        (rounded @ near["w_ih0"]).unsqueeze(0),
        (rounded @ near["w_hh0"]).unsqueeze(0),
        rounded.T @ near["x"][0],
        rounded.T @ near["h0"][0],
        rounded.sum(0),
        rounded.sum(0),
    ]
    assert_close(dict(enumerate(found)), dict(enumerate(expected)), tolerance=1e-14)


def test_float64_takes_the_reference():
    x, h0, c0, *weights = LayerCase(options=BF16).tensors(torch.float64).values()
    explained = dispatch.explain(weights, "lstm", options=BF16)
    assert explained.backend == "reference"
    assert "products in bfloat16 of torch.float64" in explained.reason
    y = dispatch.run_layer("lstm", x, (h0, c0), weights, options=BF16).y
    assert y.dtype == torch.float64


@pytest.mark.skipif(kernels.isa_name(bf16=True) != "amx", reason="this machine has no AMX")
def test_cells_beyond_those_of_tile_registers_say_so():
    plain, other = CellOptions(bf16=True), CellOptions(bf16=True, peephole=True)
    for cell, options, isa in (
        ("lstm", plain, "amx"),
        ("gru", plain, "amx"),
        ("rnn_relu", plain, "amx"),
        ("min_lstm", plain, "amx"),
        ("lstm", other, "avx512_bf16"),
        ("slstm", plain, "avx512_bf16"),
    ):
        tensors = LayerCase(cell=cell, options=options).tensors(torch.float32)
        explained = dispatch.explain(tuple(tensors.values()), cell, options=options)
        assert explained.isa == isa
        assert ("no faster than in float32 here" in explained.reason) == (isa != "amx")


def test_what_saturates_has_gradients():
    layer, x = LSTM(33, 50, precision="bf16"), torch.randn(6, 20, 33)
    x[2, 4, 7] = torch.inf
    y, _ = layer(x.requires_grad_())
    assert y.isfinite().all()
    grad_x, w_ih, *others = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])
    assert all(grad.isfinite().all() for grad in (grad_x, *others))
    assert w_ih.isfinite().all(0).nonzero().flatten().tolist() == [k for k in range(33) if k != 7]


def test_what_is_infinite_does_not_reach_the_steps_before():
    layer, x = MinLSTM(33, 50, precision="bf16"), torch.randn(6, 20, 33)
    with torch.no_grad():
        layer.weight_ih_l0[:100, 7] = 1  # gates saturate: what is carried back past them is zero
    x[2, 4, 7] = torch.inf
    y, _ = layer(x.requires_grad_())
    (grad,) = torch.autograd.grad(y[:2].sum(), x)
    assert grad[:2].isfinite().all()


def test_pieces_and_traces():
    case = LayerCase(T=12, B=3, I=5, H=7, D=2, options=BF16)
    x, h0, c0, *weights = (t.requires_grad_() for t in case.tensors(torch.float32).values())

    def run(**named):
        y, _, trace = dispatch.run_layer("lstm", x, (h0, c0), weights, options=BF16, **named)
        grads = torch.autograd.grad(y.square().sum(), [x, *weights])
        return dict(enumerate([y.detach(), *grads])), trace

    whole, trace = run(trace=True)
    assert trace is not None
    assert all(part.dtype == torch.float32 for part in trace.values())
    assert_close(run(recompute=5)[0], whole, tolerance=1e-6)


# What is asked for, and what then multiplies in bfloat16: plain AVX-512 has no kernels of its own.
SETS = {
    "amx": "amx",
    "avx512_bf16": "avx512_bf16",
    "avx512": "avx2",
    "avx2": "avx2",
    "scalar": "scalar",
}


@pytest.mark.parametrize(("isa", "found"), SETS.items(), ids=SETS)
def test_instruction_sets_agree_and_say_whether_they_emulate(isa, found):
    if not _native.kernels(isa, _native.Dtype.bfloat16):
        pytest.skip(f"this machine has no {isa}")
    code = """
import torch
from gatewise.nn import LSTM
torch.manual_seed(0)
layer, x = LSTM(20, 40, precision="bf16"), torch.randn(15, 4, 20)
y = layer(x)[0].detach()
print(layer.explain())
layer.backend = "reference"
want = layer(x)[0].detach()
print(float((y - want).norm() / want.norm()))
"""
    done = run_python(code, GATEWISE_ISA=isa)
    assert done.returncode == 0, done.stderr
    explained, error = done.stdout.splitlines()
    assert explained.startswith(f"native ({found}): torch.float32 on the CPU; products in bfloat16")
    assert ("emulates" in explained) == (isa not in kernels.BF16_SETS)
    assert float(error) < ALIKE
