"""The cross-entropy of a linear layer's outputs without holding them: kernel, autograd, dispatch.

The kernel makes the gradients in the same pass as the losses, from outputs that it drops at once.
It must know by then what every loss weighs, so the weighted sum is one function, and the losses
themselves are another, which runs the kernel again in backward.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatewise import _native
from gatewise.errors import InvalidStateError, InvalidValueError
from gatewise.ops import kernels, native
from gatewise.ops._surroundings import differentiated, is_recorded, is_transformed, learns
from gatewise.ops.backends import Backend, asked
from gatewise.ops.dispatch import KernelChoice, products_in_parts, settled_by_request
from gatewise.ops.kernels import IN_PARTS
from gatewise.ops.reference.cross_entropy import linear_cross_entropy as reference

LARGE = (192, 128, 500)
"""Rows, features and classes from which float32 is multiplied in tile registers, where there are
any: packing costs more below (measured)."""

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Of x, weight and bias; None for those not wanted."""


class _Call(NamedTuple):
    """What one call reads but for x, weight and bias."""

    target: Tensor
    scale: Tensor | None
    smoothing: float
    bf16: bool


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    *,
    scale: Tensor | None = None,
    smoothing: float = 0.0,
    bf16: bool = False,
    backend: Backend = "auto",
) -> Tensor:
    """Return -log softmax(W·x + b) at the target for every row, or the weighted sum of these.

    Args:
        x: N×H.
        weight: V×H, of the dtype of x.
        bias: V, or None.
        target: int64 [N], each below V; negative for rows that do not count.
        scale: What each row weighs, [N], without a gradient, of the dtype of x but at least
            float32; None for the losses themselves, whose backward costs the product with W once
            more.
        smoothing: ε of the labels, 0 to 1.
        bf16: Whether products take operands rounded to bfloat16.
        backend: The kernel to use; ``auto`` chooses.

    Returns:
        A scalar with ``scale``, else N losses, zero where rows do not count.

    Raises:
        InvalidStateError: ``native`` was asked for, and no native kernel can do what is asked.
        InvalidValueError: A target is not below V.
    """
    name, by = asked(backend)
    call = _Call(target, scale, smoothing, bf16)
    obstacle = _obstacle(x, weight, bias, bf16=bf16) if name != "reference" else None
    if obstacle and name == "native":
        expected = "a call that the native kernel can run"
        raise InvalidStateError(by, expected, obstacle, "Use backend='auto'.")
    if name == "reference" or obstacle:
        return _through_reference(x, weight, bias, call)
    if x.dtype is torch.bfloat16:  # which the kernel takes in float32
        wide = [None if part is None else part.float() for part in (weight, bias)]
        return _run(x.float(), *wide, call).bfloat16()  # pyright: ignore
    return _run(x, weight, bias, call)


def explain(weight: Tensor, *, bf16: bool, backend: Backend = "auto") -> KernelChoice:
    """Say what `linear_cross_entropy` runs on with such a weight, and why."""
    name, by = asked(backend)
    obstacle = _obstacle(weight, weight, None, bf16=bf16)
    settled = settled_by_request(name, by, obstacle)
    if settled is not None:
        return settled
    if obstacle:
        return KernelChoice("reference", "torch", f"the native kernel cannot run {obstacle}")
    products = "products in bfloat16, sums in float32; " if bf16 else ""
    sizes = (LARGE[0], weight.shape[1], len(weight))
    # The kernel takes bfloat16 in float32.
    dtype = torch.float32 if weight.dtype is torch.bfloat16 else weight.dtype
    if product_precision(dtype, sizes, bf16=bf16) is IN_PARTS:
        products = products_in_parts(f"{LARGE[0]} rows")
    others = "take the reference" if name == "auto" else f"raise, since {by} asks for native"
    return KernelChoice(
        "native",
        kernels.isa_name(bf16=bf16),
        f"{weight.dtype} on the CPU; {products}compilation and function transforms {others}; "
        "second derivatives take the reference, which holds the outputs of all classes",
    )


def _obstacle(x: Tensor, weight: Tensor, bias: Tensor | None, *, bf16: bool) -> str | None:
    tensors = [x, weight] if bias is None else [x, weight, bias]
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return f"tensors on {x.device}: it is for the CPU"
    if len({tensor.dtype for tensor in tensors}) > 1:
        return " together with ".join(str(tensor.dtype) for tensor in tensors)
    if x.dtype not in kernels.DTYPES and x.dtype is not torch.bfloat16:
        return f"{x.dtype}: it is for float32, float64 and bfloat16"
    if bf16 and x.dtype is torch.float64:
        return "products in bfloat16 of torch.float64"
    if 0 in x.shape:
        return "an empty input"
    if is_recorded():
        return "a call under compilation"
    if is_transformed(tensors):
        return "a function transform (torch.func, forward-mode differentiation)"
    return None


def _run(x: Tensor, weight: Tensor, bias: Tensor | None, call: _Call) -> Tensor:
    if not learns([x, weight] if bias is None else [x, weight, bias]):
        losses, _ = _kernel(x, weight, bias, call, None, wants=(False, False, False))
        return losses if call.scale is None else _weighted(losses, call.scale)
    return _Function.apply(x, weight, bias, call)  # pyright: ignore


def _through_reference(x: Tensor, weight: Tensor, bias: Tensor | None, call: _Call) -> Tensor:
    losses = reference(x, weight, bias, call.target, call.smoothing, bf16=call.bf16)
    return losses if call.scale is None else _weighted(losses, call.scale)


def _weighted(losses: Tensor, scale: Tensor) -> Tensor:
    return (losses * scale).sum().to(losses.dtype)


def _kernel(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    call: _Call,
    scale: Tensor | None,
    wants: tuple[bool, bool, bool],
) -> tuple[Tensor, Gradients]:
    """Return the losses, and with ``scale`` the gradients that are wanted of their weighted sum."""
    dtype = product_precision(x.dtype, (x.shape[0], x.shape[1], len(weight)), bf16=call.bf16)
    x = x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()
    weight, target = weight.contiguous(), call.target.contiguous()
    bias = None if bias is None else bias.contiguous()
    scale = None if scale is None else scale.contiguous()
    losses = x.new_empty(len(x))
    shapes = (x.shape, weight.shape, None if bias is None else bias.shape)
    grads = [
        native.new_large(x, tuple(shape)) if scale is not None and wanted and shape else None
        for shape, wanted in zip(shapes, wants, strict=True)
    ]
    status = kernels.KERNELS[dtype].cross_entropy(
        dtype,
        *x.shape,
        len(weight),
        x.data_ptr(),
        x.stride(0),
        weight.data_ptr(),
        _address(bias),
        target.data_ptr(),
        call.smoothing,
        _address(scale),
        losses.data_ptr(),
        *map(_address, grads),
        torch.get_num_threads(),
    )
    if status == _native.BAD_TARGET:
        row = int((target >= len(weight)).nonzero()[0])
        raise InvalidValueError(
            f"linear_cross_entropy(target[{row}])",
            f"a class from 0 to {len(weight) - 1}, or a negative one for a row that does not count",
            str(int(target[row])),
        )
    return losses, (grads[0], grads[1], grads[2])


def product_precision(
    dtype: torch.dtype, sizes: tuple[int, int, int], *, bf16: bool
) -> _native.Dtype:
    """Return what the kernels call the precision of a call: how float32 is multiplied, too."""
    if bf16:
        return _native.Dtype.bfloat16
    large = all(size >= least for size, least in zip(sizes, LARGE, strict=True))
    in_parts = dtype is torch.float32 and large and IN_PARTS in kernels.KERNELS
    return IN_PARTS if in_parts else kernels.DTYPES[dtype]


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


class _Function(torch.autograd.Function):
    """The weighted sum makes gradients in forward, the losses make theirs in backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, call: _Call) -> Tensor:
        ctx.call, ctx.gradients = call._replace(target=None, scale=None), None
        ctx.save_for_backward(x, weight, bias, call.target, call.scale)
        losses, made = _kernel(x, weight, bias, call, call.scale, ctx.needs_input_grad[:3])
        if call.scale is None:
            return losses
        ctx.gradients = made
        return _weighted(losses, call.scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, target, scale = ctx.saved_tensors
        call, wants = ctx.call._replace(target=target, scale=scale), ctx.needs_input_grad[:3]
        (grad,) = grads
        if torch.is_grad_enabled():
            output = _through_reference(x, weight, bias, call)
            return *differentiated([output], [grad], [x, weight, bias]), None
        made, ctx.gradients = ctx.gradients, None
        if made is None:  # of the losses; or of their sum for a second time
            each = grad if scale is None else grad * scale
            _, made = _kernel(x, weight, bias, call, each, wants)
        elif grad != 1:
            for part in made:
                if part is not None:
                    part.mul_(grad)
        return *made, None
