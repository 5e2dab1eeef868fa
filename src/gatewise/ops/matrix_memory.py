"""The memory of an mLSTM over many steps: kernel, autograd, dispatch.

The kernel keeps of a pass what the memory was before each chunk, and computes the rest again in
backward, where all of a chunk fits the caches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatewise import _native
from gatewise.errors import InvalidStateError
from gatewise.ops import kernels, native
from gatewise.ops._surroundings import differentiated, is_recorded, is_transformed, learns
from gatewise.ops.backends import asked
from gatewise.ops.dispatch import KernelChoice, settled_by_request
from gatewise.ops.reference.mlstm import Read, Written, mlstm_chunks, mlstm_steps
from gatewise.ops.reference.sequence import State


class _Call(NamedTuple):
    """What one call reads but for what is learned."""

    cuts: Tensor | None
    chunk_size: int


class _Inputs(NamedTuple):
    """What one call reads and learns from, as `read_memory` has it."""

    heads: Tensor
    log_i: Tensor
    log_f: Tensor
    C: Tensor
    n: Tensor
    m: Tensor

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Return q, k, v and perhaps o, T×B×NH×d each."""
        NH, d = self.n.shape[1:]
        return self.heads.unflatten(-1, (-1, NH, d)).unbind(2)


def read_memory(
    heads: Tensor,
    log_i: Tensor,
    log_f: Tensor,
    state: State,
    restarts: Tensor | None,
    chunk_size: int,
    *,
    record: bool = False,
) -> Read:
    """Return what steps read of a memory that they write to.

    Args:
        heads: T×B×(3·H): queries, keys and values of NH heads side by side, T ≥ 1, H = NH·d, keys
            yet to be divided by √d; or T×B×(4·H) with output gates before σ behind them, by which
            what is read is multiplied.
        log_i: Logarithm of the input gates, T×B×NH; minus infinity where nothing is written.
        log_f: Logarithm of the forget gates, T×B×NH.
        state: (C, n, m) before the first step: B×NH×d×d (value × key), B×NH×d, B×NH.
        restarts: T×B: before which steps the state begins anew; None for none.
        chunk_size: Steps that are computed at once.
        record: Whether to keep n and m of every step.

    Raises:
        InvalidStateError: ``native`` was asked for, and the kernel cannot do what is asked.
    """
    name, by = asked("auto")
    C, n, m = state
    inputs = _Inputs(heads, log_i, log_f, C, n, m)
    call = _Call(restarts, min(chunk_size, len(heads)))
    obstacle = _obstacle(inputs, record=record)
    if name != "reference" and obstacle is None:
        return _run(inputs, call)
    if name == "native":
        expected = "a call that the native kernel can run"
        raise InvalidStateError(by, expected, str(obstacle), "Use backend='auto'.")
    return _through_reference(inputs, call, record=record)


def explain(weight: Tensor, chunk_size: int) -> KernelChoice:
    """Say what the memory of a layer with such a weight runs on, and why."""
    name, by = asked("auto")
    held = weight.float() if weight.dtype in (torch.float16, torch.bfloat16) else weight
    obstacle = _obstacle((held,), record=False)
    settled = settled_by_request(name, by, obstacle)
    if settled is not None:
        return settled
    products = f"products of matrices over chunks of {chunk_size} steps"
    if obstacle:
        return KernelChoice("reference", "torch", f"{products}; no native kernel for {obstacle}")
    return KernelChoice(
        "native",
        kernels.isa_name(),
        f"{held.dtype} on the CPU, {products}. Traces, compilation and function transforms "
        "take the reference, and so do second derivatives",
    )


def _obstacle(tensors: Sequence[Tensor], *, record: bool) -> str | None:
    """Say what keeps the native kernel from running, or None."""
    first = tensors[0]
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return f"tensors on {first.device}: it is for the CPU"
    if first.dtype not in kernels.DTYPES or len({tensor.dtype for tensor in tensors}) > 1:
        return f"{first.dtype}: it is for float32 and float64"
    if record:
        return "a trace"
    if any(0 in tensor.shape for tensor in tensors):
        return "an empty batch"
    if is_recorded():
        return "a call under compilation"
    if is_transformed(tensors):
        return "a function transform (torch.func, forward-mode differentiation)"
    return None


def _through_reference(inputs: _Inputs, call: _Call, *, record: bool) -> Read:
    q, k, v, *gates = inputs.parts
    written = Written(q, k / math.sqrt(k.shape[-1]), v, inputs.log_i, inputs.log_f)
    state = (inputs.C, inputs.n, inputs.m)
    if len(q) == 1:
        read = mlstm_steps(written, state, call.cuts, record=record)
    else:
        read = mlstm_chunks(written, state, call.cuts, call.chunk_size, record=record)
    return read._replace(h=read.h * torch.sigmoid(gates[0])) if gates else read


def _run(inputs: _Inputs, call: _Call) -> Read:
    if learns(inputs):
        y, *after = _Function.apply(call, *inputs)  # pyright: ignore
    else:
        y, *after = _Kernel(call, inputs).forward(learns=False).seen
    return Read(y, tuple(after))


class _Outputs(NamedTuple):
    """What forward writes; h is y without output gates, and saved is empty if nothing learns."""

    y: Tensor
    C: Tensor
    n: Tensor
    m: Tensor
    h: Tensor
    saved: Tensor

    @property
    def seen(self) -> tuple[Tensor, ...]:
        """Return what the caller gets: y, C, n and m."""
        return self[:4]


class _Kernel:
    """The native passes over the tensors of one call."""

    def __init__(self, call: _Call, inputs: _Inputs) -> None:
        held = _Inputs(*(part.contiguous() for part in inputs))
        cuts = None if call.cuts is None else call.cuts.contiguous()
        self._held, self._cuts = held, cuts  # for as long as this
        self._parts = held.parts
        self._dtype = kernels.DTYPES[held.heads.dtype]
        self._kernels = kernels.KERNELS[self._dtype]
        T, B, NH, d = self._parts[0].shape
        self._call = _native.MatrixMemory(
            T,
            B,
            NH,
            d,
            call.chunk_size,
            *_addresses(self._parts),
            *held.heads.stride()[:2],
            1 / math.sqrt(d),
            held.log_i.data_ptr(),
            held.log_f.data_ptr(),
            0 if cuts is None else cuts.data_ptr(),
            held.C.data_ptr(),
            held.n.data_ptr(),
            held.m.data_ptr(),
        )

    def forward(self, *, learns: bool) -> _Outputs:
        """Return all that is written; what only backward reads is empty if nothing learns."""
        x, shape = self._held.heads, tuple(self._parts[0].shape)
        gated = len(self._parts) == 4
        h = native.new_large(x, shape if learns or not gated else (0,))
        y = native.new_large(x, shape) if gated else h
        C, n, m = (torch.empty_like(part) for part in self._held[3:])
        size = self._kernels.saved_memory(self._dtype, self._call) if learns else 0
        outputs = _Outputs(y, C, n, m, h, native.new_large(x, (size,)))
        threads = torch.get_num_threads()
        self._kernels.memory_forward(self._dtype, self._call, _written(outputs), threads)
        return outputs

    def backward(self, outputs: _Outputs, grads: tuple[Tensor | None, ...]) -> _Inputs:
        """Return the gradients of the inputs.

        Args:
            outputs: What ``forward`` returned.
            grads: Of y, C, n and m; None for zeros.
        """
        y, C, n, m = (None if grad is None else grad.contiguous() for grad in grads)
        y = torch.zeros_like(outputs.y) if y is None else y
        if C is not None or n is not None:
            C = torch.zeros_like(outputs.C) if C is None else C
            n = torch.zeros_like(outputs.n) if n is None else n
        heads = native.new_large(y, tuple(self._held.heads.shape))
        made = _Inputs(heads, *(torch.empty_like(part) for part in self._held[1:]))
        self._kernels.memory_backward(
            self._dtype,
            self._call,
            _written(outputs),
            *(0 if part is None else part.data_ptr() for part in (y, C, n, m)),
            *_addresses(made.parts),
            *heads.stride()[:2],
            *(part.data_ptr() for part in made[1:]),
            torch.get_num_threads(),
        )
        return made


def _addresses(parts: tuple[Tensor, ...]) -> list[int]:
    """Return those of q, k, v and o."""
    return [part.data_ptr() for part in parts] + [0] * (4 - len(parts))


def _written(outputs: _Outputs) -> _native.MatrixMemoryOutput:
    y, C, n, m, h, saved = (part.data_ptr() if part.numel() else 0 for part in outputs)
    return _native.MatrixMemoryOutput(h, y, C, n, m, saved)


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.call, ctx.count = call, len(inputs)
        ctx.set_materialize_grads(False)
        outputs = _Kernel(call, _Inputs(*inputs)).forward(learns=True)
        ctx.save_for_backward(*inputs, *outputs)
        return outputs.seen

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        held = ctx.saved_tensors  # once: a checkpoint makes them again
        inputs, outputs = _Inputs(*held[: ctx.count]), _Outputs(*held[ctx.count :])
        if torch.is_grad_enabled():
            read = _through_reference(inputs, ctx.call, record=False)
            return None, *differentiated((read.h, *read.state), grads, inputs)
        return None, *_Kernel(ctx.call, inputs).backward(outputs, grads)
