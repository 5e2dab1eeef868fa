"""Text, token by token: an iterator that carries the network's state and reads nothing twice."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from gatewise.data.text import pad
from gatewise.errors import InvalidTypeError, InvalidValueError
from gatewise.tasks.language.corpus import Language
from gatewise.tasks.language.network import LanguageNetwork
from gatewise.tasks.language.sampling import Sampling
from gatewise.tasks.text.encoder import State

_TORN = "\ufffd"
"""What bytes that are not yet a whole character decode to."""


class Generation(Iterator[list[str]]):
    """What several prompts go on with, a piece of text for each at every step.

    Pieces are whole characters: a token that ends inside of one is held back, and so is what may
    be the beginning of a stop. A prompt that has ended gets empty pieces; when all have, the
    iteration ends.

    Args:
        network: In eval mode.
        language: Its tokenizer and vocabulary.
        prompts: The beginnings; an empty one begins a text.
        sampling: How tokens are drawn.
        length: Tokens of each at most; None: no limit but ``stop``.
        stop: Texts at which a prompt ends; they are not returned.
        generator: What draws.

    Raises:
        InvalidValueError: A prompt has no token that the model knows.
    """

    def __init__(
        self,
        network: LanguageNetwork,
        language: Language,
        prompts: Sequence[str],
        sampling: Sampling,
        length: int | None,
        stop: Sequence[str],
        generator: torch.Generator,
    ) -> None:
        self._network, self._language, self._sampling = network, language, sampling
        self._left, self._generator = length, generator
        self._writers = [_Writer(language, prompt, stop) for prompt in prompts]
        unknown = language.vocabulary.unknown
        self._barred = None if unknown is None else language.vocabulary.number(unknown)
        numbers = [_prompt_numbers(language, k, prompt) for k, prompt in enumerate(prompts)]
        tokens, lengths = pad(numbers, 0)
        self._states: list[State] | None = None
        self._logits = self._read(tokens, lengths)

    def __next__(self) -> list[str]:
        pieces: list[str] = []
        while not any(pieces):
            if all(writer.ended for writer in self._writers):
                raise StopIteration
            pieces = self._close() if self._left == 0 else self._step()
        return pieces

    def _step(self) -> list[str]:
        """Draw a token for each prompt, and read it."""
        drawn = self._sampling.draw(self._logits, self._generator)
        pairs = zip(self._writers, drawn.tolist(), strict=True)
        pieces = [writer.add(token) for writer, token in pairs]
        if self._left is not None:
            self._left -= 1
        if self._left != 0 and not all(writer.ended for writer in self._writers):
            self._logits = self._read(drawn[None], None)
        return pieces

    def _close(self) -> list[str]:
        """Give out what was held back."""
        return [writer.close() for writer in self._writers]

    def _read(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        device = next(self._network.parameters()).device
        with torch.inference_mode():
            logits, self._states = self._network.logits(
                tokens.to(device), self._states, None if lengths is None else lengths.to(device)
            )
            logits = logits.float().cpu()
            if self._barred is not None:
                logits[:, self._barred] = -torch.inf
        return logits


class _Writer:
    """Turns the tokens of one prompt into pieces of text."""

    def __init__(self, language: Language, prompt: str, stop: Sequence[str]) -> None:
        self._language, self._stop = language, stop
        self._before = language.tokenizer.split(prompt)[-1:]  # decides on a space before the first
        self._tokens: list[str] = []
        # A space that the prompt ends with stands for the one before the first word.
        self._spaced = prompt[-1:].isspace() and not language.is_exact
        self._held = ""
        self.ended = False

    def add(self, number: int) -> str:
        """Take a token in; return what can be given out."""
        if self.ended:
            return ""
        token = self._language.vocabulary.tokens[number]
        if token == self._language.end and not self._language.is_exact:
            self._held += self._decoded() + "\n"
            self._before, self._tokens = [], []
        else:
            self._tokens.append(token)
            text = self._decoded()
            if not text.endswith(_TORN) or len(self._tokens) > 4:
                self._held += text
                self._before, self._tokens = [token], []
        return self._release()

    def close(self) -> str:
        """Return all that is held back, and end."""
        text = "" if self.ended else self._held + self._decoded()
        self.ended = True
        return text

    def _decoded(self) -> str:
        """The text of the tokens since the last piece."""
        join = self._language.tokenizer.join
        text = join([*self._before, *self._tokens])[len(join(self._before)) :]
        if text and self._spaced:
            text, self._spaced = text.lstrip(" "), False
        return text

    def _release(self) -> str:
        """Give out what is held back but for what a stop may begin with."""
        found = [at for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            self.ended = True
            return self._held[: min(found)]
        most = max((len(stop) - 1 for stop in self._stop), default=0)
        kept = next(
            (
                size
                for size in range(min(most, len(self._held)), 0, -1)
                if any(stop.startswith(self._held[-size:]) for stop in self._stop)
            ),
            0,
        )
        cut = len(self._held) - kept
        piece, self._held = self._held[:cut], self._held[cut:]
        return piece


def check_prompts(where: str, prompts: object) -> list[str]:
    """Return prompts as a list of texts.

    Raises:
        InvalidTypeError: They are none.
        InvalidValueError: There is none.
    """
    if isinstance(prompts, str):
        return [prompts]
    if not isinstance(prompts, Sequence) or not all(isinstance(one, str) for one in prompts):
        raise InvalidTypeError(where, "a text or a list of texts", type(prompts).__name__)
    if not prompts:
        raise InvalidValueError(where, "at least one prompt", "an empty list")
    return list(prompts)


def check_stop(where: str, stop: object) -> list[str]:
    """Return the texts at which to stop as a list.

    Raises:
        InvalidTypeError: They are none.
        InvalidValueError: One is empty.
    """
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, Sequence) or not all(isinstance(one, str) for one in stops):
        raise InvalidTypeError(where, "a text, a list of texts or None", type(stop).__name__)
    if "" in stops:
        raise InvalidValueError(where, "texts with at least one character", "an empty one")
    return list(stops)


def _prompt_numbers(language: Language, place: int, prompt: str) -> np.ndarray:
    """The numbers that the network reads before it goes on: at least one."""
    vocabulary = language.vocabulary
    numbers = language.encode(prompt)
    unknown = None if vocabulary.unknown is None else vocabulary.number(vocabulary.unknown)
    missing = int((numbers == unknown).sum()) if unknown is not None else 0
    if len(numbers) and missing == len(numbers):
        raise InvalidValueError(
            f"generate: prompt {place}", "at least one token that the model knows", repr(prompt),
            f"It was trained on {len(vocabulary):,} tokens, such as "
            f"{', '.join(map(repr, frequent_tokens(language, 5)))}.",
        )  # fmt: skip
    if missing:
        warnings.warn(
            f"generate: prompt {place}: {missing} of {len(numbers)} tokens are unknown to the "
            "model.",
            stacklevel=4,
        )
    end = language.end_number
    first = [] if end is None else [end]
    if not len(numbers) and not first:
        raise InvalidValueError(
            f"generate: prompt {place}", "a text, as the model knows no beginning of one", "''"
        )
    return np.array([*first, *numbers.tolist()], dtype=np.int64)


def frequent_tokens(language: Language, count: int) -> list[str]:
    """Return the most frequent tokens of the training text but the special ones."""
    vocabulary = language.vocabulary
    special = (vocabulary.unknown, language.end)
    order = np.argsort(-np.asarray(vocabulary.counts), kind="stable").tolist()
    known = [vocabulary.tokens[k] for k in order[: count + len(special)]]
    return [token for token in known if token not in special][:count]
