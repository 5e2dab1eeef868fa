"""nn.LSTMCell in the place of torch.nn.LSTMCell."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import gatewise.nn
from gatewise.ops import reference
from support.compare import assert_close, assert_equal


def _twins(bias: bool = True) -> tuple[nn.LSTMCell, gatewise.nn.LSTMCell]:
    torch.manual_seed(3)
    theirs = nn.LSTMCell(4, 5, bias, dtype=torch.float64)
    torch.manual_seed(3)
    return theirs, gatewise.nn.LSTMCell(4, 5, bias, dtype=torch.float64)


def _run(cell, x, hx) -> dict[str, torch.Tensor]:
    cell.zero_grad()
    h, c = cell(x, hx)
    (h.sum() + 2 * c.square().sum()).backward()
    return {"h": h, "c": c} | {f"grad.{n}": w.grad.clone() for n, w in cell.named_parameters()}


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_the_same_parameters_results_and_gradients(bias):
    theirs, ours = _twins(bias)
    assert_equal(ours.state_dict(), theirs.state_dict())
    assert repr(ours) == repr(theirs)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 4, dtype=torch.float64)
    hx = torch.randn(2, 3, 5, dtype=torch.float64).unbind()
    for call in ((x, None), (x, hx), (x[0], None), (x[0], tuple(s[0] for s in hx))):
        assert_equal(_run(ours, *call), _run(theirs, *call))


def test_a_loop_of_cells_is_the_reference():
    _, cell = _twins()
    h, c = torch.randn(2, 3, 5, dtype=torch.float64).unbind()
    weights = list(cell.parameters())
    for x in torch.randn(4, 3, 4, dtype=torch.float64):
        want = reference.step(reference.LSTM, x, (h, c), weights)
        h, c = cell(x, (h, c))
        assert_close({"h": h, "c": c}, {"h": want[0], "c": want[1]}, tolerance=1e-14)


BAD = {
    "input of 3 axes": lambda: (torch.zeros(1, 2, 4, dtype=torch.float64),),
    "input of another size": lambda: (torch.zeros(2, 5, dtype=torch.float64),),
    "states of 3 axes": lambda: (
        torch.zeros(2, 4, dtype=torch.float64),
        (torch.zeros(1, 2, 5, dtype=torch.float64),) * 2,
    ),
    "states of another size": lambda: (
        torch.zeros(2, 4, dtype=torch.float64),
        (torch.zeros(2, 4, dtype=torch.float64),) * 2,
    ),
    "another dtype": lambda: (torch.zeros(2, 4),),
}


@pytest.mark.parametrize("fault", BAD)
def test_it_refuses_what_torch_refuses(fault):
    theirs, ours = _twins()
    with pytest.raises((ValueError, RuntimeError)) as refusal:
        theirs(*BAD[fault]())
    with pytest.raises(type(refusal.value), match=r"expected|inconsistent|dtype"):
        ours(*BAD[fault]())


def test_copies_and_reparametrisation():
    theirs, ours = _twins()
    x = torch.randn(3, 4, dtype=torch.float64)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301 - ours
        assert_equal(_run(twin, x, None), _run(ours, x, None))
    for cell in (theirs, ours):
        nn.utils.parametrizations.spectral_norm(cell, "weight_hh").eval()
    hx = (torch.ones(3, 5, dtype=torch.float64),) * 2
    for got, want in zip(ours(x, hx), theirs(x, hx), strict=True):
        assert got.shape == want.shape
    others = {name: value * 0.5 for name, value in _twins()[0].state_dict().items()}
    got = torch.func.functional_call(_twins()[1], others, (x,))
    want = torch.func.functional_call(_twins()[0], others, (x,))
    assert_equal(dict(enumerate(got)), dict(enumerate(want)))


def test_explain_says_that_torch_runs_it():
    assert "torch.lstm_cell" in gatewise.nn.LSTMCell(3, 4).explain()
