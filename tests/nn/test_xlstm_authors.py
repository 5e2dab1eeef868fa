"""XLSTM beside the package of its authors, on the package's plain backends, where it is installed.

It is none of our dependencies, since it brings dozens of its own. Of those only a few are needed::

    pip install --no-deps xlstm mlstm_kernels dacite einops omegaconf opt_einsum pyyaml \
        antlr4-python3-runtime==4.9.3
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gatewise.nn import XLSTM, MLSTMBlock
from support.compare import assert_close

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("xlstm") is None,
        reason="the package xlstm is not installed; the head of this file says how",
    ),
    pytest.mark.filterwarnings("ignore"),
]
T, B, E, INNER = 11, 3, 32, 64


def theirs(slstm_at: list[int], num_blocks: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import xlstm as package

    slstm = package.sLSTMLayerConfig(
        backend="vanilla", dtype="float32", enable_automatic_mixed_precision=False
    )
    model = package.xLSTMBlockStack(
        package.xLSTMBlockStackConfig(
            mlstm_block=package.mLSTMBlockConfig(),
            slstm_block=package.sLSTMBlockConfig(slstm=slstm),
            num_blocks=num_blocks,
            embedding_dim=E,
            context_length=T,
            slstm_at=slstm_at,
        )
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return model.double()


def pairs(ours: XLSTM, model: Any) -> list[tuple[Tensor, Tensor]]:
    """Every weight of ours, and what it is in theirs."""
    found = [(ours[-1].weight, 1 + model.post_blocks_norm.weight)]
    for block, other in zip(list(ours)[:-1], model.blocks, strict=True):
        own, inner = dict(block.named_parameters()), other.xlstm
        conv = inner.conv1d.conv
        made = {
            "norm.weight": 1 + other.xlstm_norm.weight,
            "conv.weight": conv.weight[:, 0].T,
            "conv.bias": conv.bias,
        }
        if isinstance(block, MLSTMBlock):
            cell = inner.mlstm_cell
            mixed = [getattr(inner, f"{part}_proj").weight for part in "qkv"]
            made |= {
                "up.weight": inner.proj_up.weight,
                "weight_qkv": torch.stack(mixed),
                "gates.weight": torch.cat([cell.igate.weight, cell.fgate.weight]),
                "gates.bias": torch.cat([cell.igate.bias, cell.fgate.bias]),
                "weight_heads": 1 + cell.outnorm.weight,
                "skip": inner.learnable_skip,
                "down.weight": inner.proj_down.weight,
            }
        else:
            width = E // block.heads
            # Their layer feeds the product that it calls fgate to the input gate, and igate to f.
            gates = [inner.fgate, inner.igate, inner.zgate, inner.ogate]
            kernel = inner.slstm_cell._recurrent_kernel_.unflatten(1, (4, width))
            made |= {
                "cell.weight_ih_l0": torch.cat([gate.weight.reshape(E, width) for gate in gates]),
                "cell.weight_hh_l0": kernel.transpose(0, 1).reshape(4 * E, width),
                "cell.bias_ih_l0": inner.slstm_cell._bias_,
                "weight_heads": 1 + inner.group_norm.weight,
                "feedforward_norm.weight": 1 + other.ffn_norm.weight,
                "up.weight": other.ffn.proj_up.weight,
                "down.weight": other.ffn.proj_down.weight,
            }
        assert own.keys() == made.keys()
        found += [(own[name], made[name]) for name in own]
    return found


def twins(slstm_at: list[int], num_blocks: int = 3) -> tuple[XLSTM, Any]:
    model = theirs(slstm_at, num_blocks)
    sizes = {"inner_size": INNER, "feedforward_size": 64, "chunk_size": 4}
    ours = XLSTM(E, num_blocks, slstm_at=slstm_at, batch_first=True, **sizes).double()
    with torch.no_grad():
        for own, other in pairs(ours, model):
            own.copy_(other)
    return ours, model


def results(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    x = x.clone().requires_grad_()
    y = model(x)
    y = y[0] if isinstance(y, tuple) else y
    (grad,) = torch.autograd.grad(y, x, y.detach().cos())
    return {"y": y.detach(), "grad": grad}


@pytest.mark.parametrize("slstm_at", [[], [1], [0, 1, 2]], ids=str)
def test_outputs_and_gradients(slstm_at):
    ours, model = twins(slstm_at)
    x = torch.randn(B, T, E, dtype=torch.float64)
    # They add 1e-6 to the normaliser of the mLSTM.
    assert_close(
        results(ours, x), results(model, x), tolerance=1e-4 if slstm_at != [0, 1, 2] else 1e-9
    )


def test_a_stream_of_theirs_is_ours():
    ours, model = twins([1])
    x = torch.randn(B, T, E, dtype=torch.float64)
    state, own = None, None
    for t in range(T):
        theirs, state = model.step(x[:, t : t + 1], state)
        y, own = ours(x[:, t : t + 1], own)
        assert_close({"y": y}, {"y": theirs}, tolerance=1e-4)


def test_another_gate_is_noticed():
    ours, model = twins([0, 1, 2])
    with torch.no_grad():
        weight = ours[0].cell.weight_ih_l0
        weight.copy_(weight.roll(E, 0))
    x = torch.randn(B, T, E, dtype=torch.float64)
    with pytest.raises(AssertionError):
        assert_close(results(ours, x), results(model, x), tolerance=1e-4)
