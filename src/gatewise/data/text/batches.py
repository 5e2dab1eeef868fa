"""Batches of sequences of unequal length: buckets by length, padding, and what is too long.

Sequences of like length share a batch, so that little is padding; a batch holds as many as its
budget of tokens allows. Each sequence is in exactly one batch of an epoch, and the batches of an
epoch are a function of the seed and its number.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from gatewise.errors import InvalidValueError

_POOL = 50
"""Batches whose sequences are sorted together: enough to fill them evenly, few enough to mix."""


class Buckets:
    """Batches of N sequences by length.

    Args:
        lengths: Tokens of each sequence, N, each ≥ 0.
        tokens: Tokens of a batch at most, padding included; a longer sequence is alone, with a
            warning.
        sequences: Sequences of a batch at most, ≥ 1; None: any number.
        seed: Of the order.
        place_of: Names a sequence in the warning.

    Raises:
        InvalidValueError: There is no sequence, or a budget is none.
    """

    def __init__(
        self,
        lengths: Sequence[int] | Int[np.ndarray, "N"],
        *,
        tokens: int,
        sequences: int | None = None,
        seed: int = 0,
        place_of: Callable[[int], object] | None = None,
    ) -> None:
        self.lengths = np.asarray(lengths, dtype=np.int64)
        if not len(self.lengths):
            raise InvalidValueError("Buckets", "at least one sequence", "none")
        for name, value in (("tokens", tokens), ("sequences", sequences)):
            if value is not None and value < 1:
                raise InvalidValueError(name, "at least 1", str(value))
        self.tokens, self.sequences, self.seed = tokens, sequences, seed
        over = np.flatnonzero(self.lengths > tokens)
        if len(over):
            first = int(over[0])
            name = f"sequence {first}" if place_of is None else str(place_of(first))
            warnings.warn(
                f"{len(over)} sequence(s) longer than the {tokens:,} tokens of a batch; each is a "
                f"batch of its own. The first: {name}, {self.lengths[first]:,} tokens.",
                stacklevel=2,
            )

    def epoch(self, number: int) -> list[Int64[np.ndarray, "n"]]:
        """Return the batches of an epoch in an order of its own.

        Args:
            number: The epoch, ≥ 0.

        Returns:
            For each batch the numbers of its sequences, the longest first.
        """
        rng = np.random.default_rng([self.seed, number])
        order = rng.permutation(len(self.lengths))
        mean = max(float(self.lengths.mean()), 1.0)
        size = max(int(self.tokens / mean), 1)
        if self.sequences is not None:
            size = min(size, self.sequences)
        pool = size * _POOL
        pools = [order[k : k + pool] for k in range(0, len(order), pool)]
        batches = [batch for part in pools for batch in self._fill(part)]
        return [batches[k] for k in rng.permutation(len(batches))]

    def in_order(self) -> list[Int64[np.ndarray, "n"]]:
        """Return batches by length alone, the longest first: for prediction."""
        return list(self._fill(np.arange(len(self.lengths))))

    def _fill(self, numbers: Int64[np.ndarray, "n"]) -> Iterator[Int64[np.ndarray, "m"]]:
        """Fill batches with sequences by length, the longest first."""
        ranked = numbers[np.argsort(-self.lengths[numbers], kind="stable")]
        start = 0
        while start < len(ranked):
            # The first is the longest, so it says how long all rows of the batch are.
            room = max(self.tokens // max(int(self.lengths[ranked[start]]), 1), 1)
            room = room if self.sequences is None else min(room, self.sequences)
            yield ranked[start : start + room]
            start += room


def pad(
    sequences: Sequence[Int[np.ndarray, "_"] | Int[Tensor, "_"]], filling: int
) -> tuple[Int64[Tensor, "T B"], Int64[Tensor, "B"]]:
    """Lay B sequences side by side.

    Args:
        sequences: The numbers of each.
        filling: The number to fill up with.

    Returns:
        The numbers, as many steps as the longest has; the lengths.

    Raises:
        InvalidValueError: There is no sequence.
    """
    if not sequences:
        raise InvalidValueError("pad", "at least one sequence", "none")
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    columns = torch.full((int(lengths.max()), len(sequences)), filling, dtype=torch.int64)
    for column, sequence in enumerate(sequences):
        columns[: len(sequence), column] = torch.as_tensor(sequence)
    return columns, lengths


def split_long(
    length: int, longest: int, *, where: object, breaks: Sequence[int] = ()
) -> list[tuple[int, int]]:
    """Part a sequence that is too long into pieces, with a warning.

    Args:
        length: Its tokens.
        longest: Tokens of a piece at most, ≥ 1.
        where: Its place, for the warning.
        breaks: Positions before which it may best be parted, ascending: between sentences, or
            outside of spans. Where a piece has none, it is parted at ``longest``.

    Returns:
        The pieces, [start, stop), in order; one if it is not too long.

    Raises:
        InvalidValueError: ``longest`` is less than 1.
    """
    if longest < 1:
        raise InvalidValueError("longest", "at least 1", str(longest))
    pieces, start = [], 0
    at = np.asarray(breaks, dtype=np.int64)
    while length - start > longest:
        below = int(np.searchsorted(at, start + longest, side="right"))
        stop = int(at[below - 1]) if below and at[below - 1] > start else start + longest
        pieces.append((start, stop))
        start = stop
    pieces.append((start, length))
    if len(pieces) > 1:
        warnings.warn(
            f"{where}: {length:,} tokens, more than {longest:,}; read in {len(pieces)} pieces.",
            stacklevel=2,
        )
    return pieces
