"""Language models: the probability of texts, and texts by their probability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gatewise.data.text import pad
from gatewise.errors import InvalidTypeError, InvalidValueError
from gatewise.tasks.estimator import AbstractEstimator, Example
from gatewise.tasks.language import storage
from gatewise.tasks.language.corpus import Language, work_directory, write_corpus
from gatewise.tasks.language.describe import describe
from gatewise.tasks.language.example import python_documentation
from gatewise.tasks.language.fields import LanguageFields
from gatewise.tasks.language.generation import Generation, check_prompts, check_stop
from gatewise.tasks.language.network import LanguageNetwork
from gatewise.tasks.language.sampling import Sampling
from gatewise.tasks.language.score import TextScore, score_texts
from gatewise.tasks.language.training import (
    LanguageFit,
    count_characters,
    fit_language,
    score_corpus,
)
from gatewise.training import Mode

if TYPE_CHECKING:
    import pandas as pd

_BATCH = 64
"""Texts that are read side by side for predictions."""


@dataclass(kw_only=True, eq=False, repr=False)
class LanguageModel(LanguageFields, AbstractEstimator):
    """Model a language with an LSTM: words, characters or subwords.

    Trained by truncated back-propagation through one long text, whose state is carried from window
    to window. The fields hold the recipe of Merity et al. (2018): weight dropout, dropouts with one
    mask a sequence, AR and TAR, windows of variable length, averaged stochastic gradient descent.

    Args:
        tokens, …: The fields of ``LanguageFields``, by name; ``fit`` checks them all at once.

    Attributes:
        network_: The trained ``LanguageNetwork``.
        language_: Tokenizer and vocabulary.
        history_: One ``EpochRecord`` an epoch.
        scores_: Scores on the validation text, of the model and of token frequencies alone.
        split_: On what ``scores_`` were measured: ``validation`` or ``training``.

    Example:
        >>> from gatewise.tasks import LanguageModel
        >>> texts = ["to be or not to be", "that is the question"] * 20
        >>> model = LanguageModel(tokens="characters", streams=4, hidden_size=16, max_epochs=1)
        >>> model = model.fit(texts, progress=False)
        >>> len("".join(model.generate("to ", length=10, seed=0))) <= 10
        True
    """

    task: ClassVar[str] = "language-model"

    @property
    def headline(self) -> tuple[str, Mode]:
        """The perplexity."""
        return "perplexity", "min"

    @classmethod
    def example(cls) -> Example:
        """Return the documentation that ships with Python, and settings for it."""
        texts = python_documentation()
        settings = {
            "minimum_count": 3,
            "embedding_size": 128,
            "hidden_size": 256,
            "num_layers": 1,
            "output_dropout": 0.4,
            "input_dropout": 0.3,
            "max_epochs": 8,
            "learning_rate": 4e-3,
        }
        name = f"Python's documentation of its language, {len(texts):,} paragraphs"
        return Example(name, texts, settings=settings)

    def fit(
        self,
        X: Any = None,
        y: Any = None,
        *,
        validation: Any = None,
        run_dir: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
    ) -> LanguageModel:
        """Learn from texts.

        Args:
            X: A file, a frame, or a list of texts. It is read several times, a text in memory at
                a time; the numbers of the tokens lie in a temporary file.
            y: Nothing.
            validation: Texts to stop early and to score on; None keeps the end of ``X``
                (``validation_size``).
            run_dir: Where checkpoints and, in the end, the model are written; None for nowhere.
            resume: Go on with the interrupted fit in ``run_dir``.
            progress: Show a progress bar.

        Returns:
            The estimator.

        Raises:
            InvalidSettingsError: Fields are wrong; all faults at once.
            InvalidFileError: A file cannot be read; the message names the line.
            InvalidValueError: The texts are too short.
        """
        settings = self._validated()
        if y is not None:
            where = f"{type(self).__name__}.fit: y"
            raise InvalidTypeError(where, "nothing", type(y).__name__, "Pass the texts as X.")
        directory = None if run_dir is None else Path(run_dir)
        held_out = None if validation is None else settings.reader("fit", validation)
        fitted, shown = fit_language(
            settings,
            settings.reader("fit", X),
            held_out,
            directory=directory,
            resume=resume,
            progress=progress,
        )
        self._adopt(fitted)
        return self._finish(shown, directory)

    def generate(
        self,
        prompt: str | Sequence[str] = "",
        *,
        length: int | None = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> Iterator[Any]:
        """Go on with a text, piece by piece, each as soon as it is drawn.

        The state is carried from token to token, and the prompt is read once. The unknown token is
        never drawn.

        Args:
            prompt: The beginning, or several; an empty one begins a text.
            length: Tokens at most; None: no limit but ``stop``.
            temperature: By which logits are divided, ≥ 0; 0 takes the most probable token.
            top_k: Draw from so many of the most probable tokens; None: from all.
            top_p: Draw from the fewest of the most probable tokens that together have this
                probability, 0 < p ≤ 1; None: from all.
            seed: Of the draws; None: another text each time.
            stop: Texts at which to end; they are not returned.

        Returns:
            An iterator over pieces of text; over lists of pieces, one a prompt, for several
            prompts. Prompts that have ended get empty pieces.

        Raises:
            InvalidStateError: The estimator is not fitted.
            InvalidSettingsError: Numbers are out of range.
            InvalidValueError: A prompt has no token that the model knows.
        """
        self._check_fitted("generate")
        prompts, stops = check_prompts("generate: prompt", prompt), check_stop("stop", stop)
        sampling = Sampling(temperature, top_k, top_p)
        sampling.check("generate")
        if length is not None and (not isinstance(length, int) or length < 0):
            raise InvalidValueError("generate: length", "a number of tokens or None", repr(length))
        generator = torch.Generator()
        generator.seed() if seed is None else generator.manual_seed(seed)
        pieces = Generation(
            self.network_, self.language_, prompts, sampling, length, stops, generator
        )
        return (piece for (piece,) in pieces) if isinstance(prompt, str) else pieces

    def score(self, X: str | Sequence[str], y: Any = None) -> TextScore:  # noqa: ARG002
        """Return how probable texts are, token by token, each from the beginning of a text.

        Args:
            X: A text, or a list of texts; not a file, see ``evaluate`` for those.
            y: Nothing; scikit-learn passes it.

        Returns:
            The mean log-probability of a token in nats, a float: higher is better. It has
            ``tokens``, ``log_probabilities``, ``perplexity`` and ``bits_per_character``.

        Raises:
            InvalidStateError: The estimator is not fitted.
        """
        self._check_fitted("score")
        texts = check_prompts("LanguageModel.score: X", X if isinstance(X, str) else list(X))
        return score_texts(self.network_, self.language_, texts)

    def predict(self, X: Any) -> np.ndarray:
        """Return the token that is most probable after each text.

        Args:
            X: A file, a frame, or a list of texts.

        Returns:
            As many tokens, an array of texts.

        Raises:
            InvalidStateError: The estimator is not fitted.
        """
        return self.predict_table(X)["next"].to_numpy(dtype=object)

    def predict_table(self, X: Any) -> pd.DataFrame:
        """Return each text, the token that is most probable after it, and its probability."""
        import pandas as pd

        self._check_fitted("predict")
        texts = [text.text for text in self.read("LanguageModel.predict", X)]
        rows = []
        for start in range(0, len(texts), _BATCH):
            part = texts[start : start + _BATCH]
            given = self.encode(part)
            with torch.inference_mode():
                logits, _ = self.network_.logits(given["tokens"], lengths=given["lengths"])
            best = logits.softmax(1).max(1)
            rows += zip(part, self.decode(logits), best.values.tolist(), strict=True)
        return pd.DataFrame(rows, columns=["text", "next", "probability"])

    def evaluate(self, X: Any, streams: int | None = None) -> dict[str, dict[str, float]]:
        """Score the model on texts, read one after another with the state carried over.

        Args:
            X: A file, a frame, or a list of texts.
            streams: Parts that are read side by side, each from its beginning; None: one for every
                10,000 tokens, 32 at most. 1 is exact, and slower.

        Returns:
            For ``model`` and ``unigram`` (token frequencies alone) ``perplexity``,
            ``nats_per_token`` and ``bits_per_character``.

        Raises:
            InvalidStateError: The estimator is not fitted.
            InvalidValueError: The text is too short.
        """
        self._check_fitted("evaluate")
        read = self.reader("evaluate", X)
        with work_directory() as place:
            corpus = write_corpus(self.language_, read, Path(place, "texts.npy"))
            characters = count_characters(read, self.language_)
            return score_corpus(self.network_, self.language_, corpus, characters, streams)

    def encode(self, X: Any) -> dict[str, Tensor]:
        """Return the arguments of ``network_.logits`` for texts: tokens T×B and lengths.

        Args:
            X: A list of texts.
        """
        self._check_fitted("encode")
        end = self.language_.end_number
        first = [] if end is None else [end]
        rows = [np.array([*first, *self.language_.encode(text)], dtype=np.int64) for text in X]
        if any(not len(row) for row in rows):
            raise InvalidValueError("encode: X", "texts with at least one token", "an empty one")
        tokens, lengths = pad(rows, 0)
        return {"tokens": tokens, "lengths": lengths}

    def decode(self, outputs: Tensor) -> list[str]:
        """Return the most probable token of each row of logits, B×V."""
        self._check_fitted("decode")
        return self.language_.vocabulary.decode(outputs.argmax(1).tolist())

    def describe(self) -> dict[str, Any]:
        """Return layers, parameters, memory and the work of one token."""
        self._check_fitted("describe")
        return describe(self.network_, self.language_)

    def write_report(self, path: str | Path, X: Any = None) -> Path:
        """Write scores, training, samples and what was expected least as one page.

        Args:
            path: The HTML file.
            X: Texts to show the model on; None takes the validation part, which is there until
                the model is saved and loaded.

        Returns:
            The path.
        """
        self._check_fitted("write_report")
        # Here and not above: plotly is needed by nothing else.
        from gatewise.tasks.language.report import write_report

        held_out = self._held_out if X is None else self.reader("write_report", X)
        return write_report(Path(path), self._fit, held_out, self.get_params())

    @property
    def _fit(self) -> LanguageFit:
        return LanguageFit(self.network_, self.language_, self._course)

    def _adopt(self, fitted: LanguageFit) -> None:
        self.network_: LanguageNetwork = fitted.network
        self.language_: Language = fitted.language
        self._adopt_course(fitted.course)

    def _write(self, directory: Path) -> None:
        storage.write(directory, self._fit)

    def _read(self, directory: Path) -> None:
        self._adopt(storage.read(directory))
