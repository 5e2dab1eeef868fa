"""The output layer of a language model or classifier fused with its loss.

With many classes most of the time and memory of training goes into the outputs of this layer, N×V
numbers that nobody looks at. Here they are made, used and dropped block by block.
"""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gatewise.errors import GatewiseError, InvalidStateError, InvalidTypeError, InvalidValueError
from gatewise.nn import _validate
from gatewise.nn._option_faults import choice_faults, is_probability, type_and_value
from gatewise.nn._options import shown_changes
from gatewise.nn._precision import PRECISIONS, Precision, autocast_dtype, takes_bf16
from gatewise.ops import cross_entropy
from gatewise.ops.backends import BACKENDS, Backend

Reduction = Literal["mean", "sum", "none"]

REDUCTIONS: Final[tuple[str, ...]] = get_args(Reduction)
_USUAL: Final = {
    "ignore_index": -100,
    "label_smoothing": 0.0,
    "reduction": "mean",
    "precision": "auto",
    "backend": "auto",
}


class LinearCrossEntropy(nn.Module):
    """A linear layer and the cross-entropy of its outputs, without ever holding these.

    ::

        z = W·x + b
        loss = (1 − ε)·(lse(z) − z_target) + ε·(lse(z) − mean z),  lse(z) = log Σ exp z

    The same as ``torch.nn.CrossEntropyLoss`` of a ``torch.nn.Linear``, with the weights of the
    latter; forward and backward take the memory of a fraction of the N×V outputs. Tie it to an
    embedding as usual: ``output.weight = embedding.weight``.

    Args:
        in_features: H.
        num_classes: V.
        bias: Whether there is b.
        ignore_index: Target of rows that do not count; any int.
        label_smoothing: ε, 0 to 1.
        reduction: ``mean`` over the rows that count, ``sum``, or ``none`` for every loss (whose
            backward takes the product with W once more).
        precision: ``bf16`` takes products of operands in bfloat16, sums in float32; ``full`` does
            not; ``auto`` does in autocast to bfloat16 and with weights in it.
        backend: ``native``, ``reference`` or ``auto``.
        device: Of the weights.
        dtype: Of the weights.

    Raises:
        GatewiseError: An argument is wrong.

    Source:
        E. Wijmans et al., "Cut your losses in large-vocabulary language models", arXiv:2411.09009.

    Example:
        >>> import torch, gatewise as gw
        >>> output = gw.nn.LinearCrossEntropy(64, 10_000)
        >>> loss = output(torch.randn(35, 20, 64), torch.randint(10_000, (35, 20)))
        >>> loss.shape
        torch.Size([])
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        bias: bool = True,
        *,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
        precision: Precision = "auto",
        backend: Backend = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = {"in_features": in_features, "num_classes": num_classes}
        choices = {
            "reduction": (reduction, REDUCTIONS),
            "precision": (precision, PRECISIONS),
            "backend": (backend, BACKENDS),
        }
        faults = _validate.size_faults("LinearCrossEntropy", sizes, {"bias": bias}, 0.0)
        faults += _number_faults(ignore_index, label_smoothing)
        faults += choice_faults("LinearCrossEntropy", choices)
        _validate.raise_faults("LinearCrossEntropy", faults)
        super().__init__()
        self.in_features = in_features
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.reduction: Reduction = reduction
        self.precision: Precision = precision
        self.backend: Backend = backend
        self.weight = nn.Parameter(
            torch.empty(num_classes, in_features, device=device, dtype=dtype)
        )
        self.bias = nn.Parameter(self.weight.new_empty(num_classes)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases anew, uniform within ±1/√H, as ``torch.nn.Linear`` has them."""
        bound = 1 / math.sqrt(self.in_features)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-bound, bound)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:  # noqa: A002 - as in torch
        """Return the loss.

        Args:
            input: …×H, of any shape before.
            target: Classes, int64 of the same shape without H, 0 to V − 1 or ``ignore_index``.

        Returns:
            A scalar; with ``reduction="none"`` the losses, shaped like ``target``, zero where
            ``ignore_index`` stands.

        Raises:
            GatewiseError: An argument does not fit; the message says which and where.
        """
        return self._loss(input, target, self.reduction)

    def losses(self, input: Tensor, target: Tensor) -> Tensor:  # noqa: A002 - as in torch
        """Return every loss, whatever the ``reduction``: for scores.

        Args:
            input: As in a call.
            target: As in a call.

        Returns:
            Losses shaped like ``target``, zero where ``ignore_index`` stands.

        Raises:
            GatewiseError: An argument does not fit; the message says which and where.
        """
        return self._loss(input, target, "none")

    def logits(self, input: Tensor) -> Tensor:  # noqa: A002 - as in torch
        """Return the outputs W·x + b, …×V, all of them: for predictions.

        Args:
            input: …×H.

        Raises:
            GatewiseError: The input does not fit.
        """
        self._check_input(input)
        return F.linear(input, self.weight, self.bias)

    def explain(self) -> str:
        """Say which kernel a call runs on, and why."""
        bf16 = takes_bf16(self.precision, self.weight, autocast_dtype(self.weight, self.weight))
        choice = cross_entropy.explain(self.weight, bf16=bf16, backend=self.backend)
        return str(choice)

    def extra_repr(self) -> str:
        """Return what stands in the brackets of the module's text."""
        changes = {"bias": (self.bias is not None, True)}
        changes |= {name: (getattr(self, name), usual) for name, usual in _USUAL.items()}
        return ", ".join([f"{self.in_features}, {self.num_classes}", *shown_changes(changes)])

    def _loss(self, given: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
        self._check_input(given)
        self._check_target(given, target)
        autocast = autocast_dtype(given, self.weight)
        x = given.reshape(-1, self.in_features)
        if autocast is not None:
            x = x.to(self.weight.dtype)
        flat = target.reshape(-1)
        counts = flat != self.ignore_index
        self._check_classes(flat, counts)
        scale = None
        if reduction != "none":
            # Not in bfloat16, which has seven bits for the number of rows.
            scale = counts.to(torch.promote_types(x.dtype, torch.float32))
            scale = scale / scale.sum() if reduction == "mean" else scale
        losses = cross_entropy.linear_cross_entropy(
            x,
            self.weight,
            self.bias,
            torch.where(counts, flat, -1),
            scale=scale,
            smoothing=self.label_smoothing,
            bf16=takes_bf16(self.precision, self.weight, autocast),
            backend=self.backend,
        )
        return losses.reshape(target.shape) if scale is None else losses

    def _check_input(self, given: Tensor) -> None:
        where = "LinearCrossEntropy(input)"
        if not isinstance(given, Tensor):
            raise InvalidTypeError(where, "a tensor", type(given).__name__)
        if given.dim() == 0 or given.shape[-1] != self.in_features:
            raise InvalidStateError(
                where,
                f"a last axis of in_features={self.in_features}",
                f"shape {tuple(given.shape)}",
            )
        if given.dtype != self.weight.dtype and autocast_dtype(given, self.weight) is None:
            raise InvalidStateError(
                where,
                f"the weights' dtype {self.weight.dtype}",
                str(given.dtype),
                "Convert the input, or the layer with .to().",
            )

    def _check_target(self, given: Tensor, target: Tensor) -> None:
        where = "LinearCrossEntropy(target)"
        if not isinstance(target, Tensor):
            raise InvalidTypeError(where, "a tensor of classes", type(target).__name__)
        if target.dtype != torch.int64:
            raise InvalidTypeError(where, "torch.int64", str(target.dtype), "Use target.long().")
        if target.shape != given.shape[:-1]:
            raise InvalidStateError(
                where,
                f"shape {tuple(given.shape[:-1])}, that of the input without its last axis",
                str(tuple(target.shape)),
            )

    def _check_classes(self, flat: Tensor, counts: Tensor) -> None:
        """Refuse classes that there are not; where torch records, values cannot be looked at."""
        if torch.compiler.is_compiling() or not flat.is_cpu:
            return
        wrong = counts & ((flat < 0) | (flat >= self.num_classes))
        if bool(wrong.any()):
            place = int(wrong.nonzero()[0])
            raise InvalidValueError(
                "LinearCrossEntropy(target)",
                f"classes from 0 to {self.num_classes - 1}, or ignore_index={self.ignore_index}",
                f"{int(flat[place])} at place {place} of {len(flat)}",
                "num_classes must be larger than the largest class.",
            )


def _number_faults(ignore_index: object, smoothing: object) -> list[GatewiseError]:
    where = "LinearCrossEntropy"
    faults: list[GatewiseError] = []
    if not isinstance(ignore_index, int) or isinstance(ignore_index, bool):
        got = type_and_value(ignore_index)
        faults.append(InvalidTypeError(f"{where}(ignore_index)", "an int", got))
    if not is_probability(smoothing):
        expected, got = "a number from 0 to 1", repr(smoothing)
        faults.append(InvalidValueError(f"{where}(label_smoothing)", expected, got))
    return faults
