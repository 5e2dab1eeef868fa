"""A language model's batches: one long text read as B streams side by side, window by window.

Stream b+1 begins where stream b ends, and each window goes on where the one before it stopped, so
that a state can be carried over: truncated back-propagation through time. No token is left out: the
streams differ in length by one at most, and what the shorter ones lack is marked to be ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from gatewise.errors import InvalidValueError

IGNORED = -100
"""The target of a position that counts for nothing: ``ignore_index`` of torch's cross entropy."""


@dataclass(frozen=True, eq=False)
class StreamWindow:
    """T steps of B streams.

    Args:
        inputs: The tokens read, T x B; 0 where the target is ignored.
        targets: The token after each, T x B; ``IGNORED`` beyond the end of a stream.
        begins: Whether the streams begin here, so that no state is carried over.
    """

    inputs: Int64[Tensor, "T B"]
    targets: Int64[Tensor, "T B"]
    begins: bool


class Streams:
    """Windows over a text of N tokens, N - 1 of which are predicted.

    Args:
        tokens: The numbers of the text, N ≥ 2; may be mapped from disk.
        streams: Streams side by side, B ≥ 1, N - 1 at most.
        steps: Steps of a window, T ≥ 1.
        variable: Whether the windows of an epoch have lengths drawn anew: T, or T / 2 with
            probability 0.05, plus a normal deviate of standard deviation 5, and 5 at least
            (Merity et al. 2018, section 5), so that not always the same tokens begin a window.
        seed: Of the lengths.

    Raises:
        InvalidValueError: The text is too short, or a number is not positive.
    """

    def __init__(
        self,
        tokens: Int32[np.ndarray, "N"],
        streams: int,
        steps: int,
        *,
        variable: bool = False,
        seed: int = 0,
    ) -> None:
        for name, value in (("streams", streams), ("steps", steps)):
            if value < 1:
                raise InvalidValueError(name, "at least 1", str(value))
        if len(tokens) - 1 < streams:
            raise InvalidValueError(
                "the text", f"at least {streams + 1} tokens for {streams} streams",
                str(len(tokens)), "Give a longer text, or fewer streams.",
            )  # fmt: skip
        self.tokens, self.steps, self.variable, self.seed = tokens, steps, variable, seed
        long, longer = divmod(len(tokens) - 1, streams)
        sizes = np.full(streams, long)
        sizes[:longer] += 1
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._sizes = sizes

    def epoch(self, number: int) -> Iterator[StreamWindow]:
        """Read the text once.

        Args:
            number: The epoch, ≥ 0: the lengths of variable windows are a function of it and the
                seed.

        Yields:
            The windows, in order.
        """
        start = 0
        for length in self.window_lengths(number):
            yield self.window(start, length)
            start += length

    def window_lengths(self, number: int) -> list[int]:
        """Return the steps of each window of an epoch; the last takes what is left."""
        total = int(self._sizes.max())
        if not self.variable:
            return [min(self.steps, total - start) for start in range(0, total, self.steps)]
        rng = np.random.default_rng([self.seed, number])
        lengths, left = [], total
        while left:
            mean = self.steps if rng.random() < 0.95 else self.steps / 2
            lengths.append(min(max(5, int(rng.normal(mean, 5))), left))
            left -= lengths[-1]
        return lengths

    def window(self, start: int, length: int) -> StreamWindow:
        """Return some steps of all streams.

        Args:
            start: The first step, counted from 0.
            length: Steps, ≥ 1.
        """
        B = len(self._sizes)
        inputs = torch.zeros(length, B, dtype=torch.int64)
        targets = torch.full((length, B), IGNORED, dtype=torch.int64)
        for b in range(B):
            first = int(self._starts[b]) + start
            kept = min(length, int(self._sizes[b]) - start)
            # A copy: what is mapped from disk must not be written to.
            piece = torch.from_numpy(np.array(self.tokens[first : first + kept + 1]))
            inputs[:kept, b] = piece[:-1]
            targets[:kept, b] = piece[1:]
        return StreamWindow(inputs, targets, start == 0)
