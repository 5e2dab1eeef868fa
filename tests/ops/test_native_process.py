"""The native kernels in processes of their own: the choice of instruction set, and forking."""

from __future__ import annotations

import pytest

from gatewise import _native
from support.process import run_python

SUM = """
import torch, gatewise.ops
from gatewise.ops import kernels, reference
torch.set_num_threads(2)
draw = torch.Generator().manual_seed(0)
def numbers(*shape):
    return torch.randn(shape, generator=draw)
x, state = numbers(6, 40, 48), (numbers(1, 40, 48), numbers(1, 40, 48))
weights = [numbers(192, 48) / 7, numbers(192, 48) / 7, numbers(192), numbers(192)]
exact, *_ = reference.layer(
    reference.LSTM, x.double(), tuple(s.double() for s in state), [w.double() for w in weights]
)
def right():
    y, *_ = gatewise.ops.run_layer("lstm", x, state, weights, backend="native")
    return bool((y - exact).abs().max() < 1e-5)
"""


@pytest.mark.parametrize(
    "isa", [i for i in ("avx512", "avx2", "scalar") if _native.kernels(i, _native.Dtype.float32)]
)
def test_the_instruction_set_asked_for_is_used(isa):
    done = run_python(SUM + "print(kernels.isa_name(), right())", GATEWISE_ISA=isa)
    assert done.stdout.split() == [isa, "True"], done.stderr


def test_an_unknown_instruction_set_is_an_error_that_names_it():
    done = run_python("import gatewise.ops", GATEWISE_ISA="nonsense")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "InvalidValueError: GATEWISE_ISA: expected an instruction set" in last
    assert "got 'nonsense'. Unset it" in last


def test_a_forked_child_runs_after_the_parent_has_used_threads():
    code = """
import os
assert right()
child = os.fork()
if child == 0:
    os._exit(0 if right() else 1)
assert os.waitpid(child, 0)[1] == 0
assert right()
print("both")
"""
    done = run_python(SUM + code)
    assert done.stdout == "both\n", done.stderr
