"""Sequence tagging: a tag for each token of a sentence, or spans of tokens with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from gatewise.data.text import Tagged, tokenizer
from gatewise.errors import InvalidTypeError
from gatewise.tasks.course import Fitted
from gatewise.tasks.estimator import AbstractEstimator, Example
from gatewise.tasks.tagging import storage
from gatewise.tasks.tagging.describe import describe
from gatewise.tasks.tagging.evaluation import Evaluation, evaluate, headline_score
from gatewise.tasks.tagging.example import tagged_source
from gatewise.tasks.tagging.fields import TaggingFields
from gatewise.tasks.tagging.model import TaggerModel
from gatewise.tasks.tagging.network import TaggerNetwork
from gatewise.tasks.tagging.sentences import SentenceSet
from gatewise.tasks.tagging.training import HeldOut, fit_tagger
from gatewise.training import Mode

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TaggedSpan:
    """The tokens [start, stop) of a sentence with a label.

    Args:
        label: What they are.
        start: The first of them, counted from 0.
        stop: The one behind the last.
        text: The tokens as a text, the spaces between them a guess.
    """

    label: str
    start: int
    stop: int
    text: str


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceTagger(TaggingFields, AbstractEstimator):
    """Tag sequences with a bidirectional LSTM and a conditional random field.

    Sentences are lists of tokens; tags are the user's own words: parts of speech, or spans in one
    of the schemes IOB1, BIO, BIOES and BMES, which ``predict`` gives back in the same one. A token
    is read as a word, by its characters, its casing, and its n-grams (Lample et al. 2016; Ma & Hovy
    2016).

    Args:
        hidden_size, …: The fields of ``TaggingFields``, by name; ``fit`` checks them all at once.

    Attributes:
        network_: The trained ``TaggerNetwork``.
        tags_: What it tells apart: a ``TagSet``.
        history_: One ``EpochRecord`` an epoch.
        scores_: Scores on the validation part, of the model and of the baselines.
        split_: On what ``scores_`` were measured: ``validation`` or ``training``.

    Example:
        >>> from gatewise.tasks import SequenceTagger
        >>> X, y = [["Ada", "wrote"], ["Bob", "read"]] * 5, [["B-PER", "O"]] * 10
        >>> model = SequenceTagger(max_epochs=1).fit(X, y, progress=False)
        >>> len(model.predict([["Eve", "slept", "well"]])[0])
        3
    """

    task: ClassVar[str] = "sequence-tagger"

    @property
    def headline(self) -> tuple[str, Mode]:
        """The F1 of spans, or the accuracy of tags that are no spans."""
        return headline_score(spans=not self._fitted or self.tags_.spans), "max"

    @classmethod
    def example(cls) -> Example:
        """Return lines of Python's standard library, each token with its role."""
        X, y = tagged_source()
        tokens = sum(map(len, X))
        name = f"{len(X):,} statements of Python's standard library, {tokens:,} tokens with roles"
        return Example(name, X, y, settings={"max_epochs": 12, "hidden_size": 100})

    def fit(
        self,
        X: Any = None,
        y: Any = None,
        *,
        validation: Any = None,
        run_dir: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
    ) -> SequenceTagger:
        """Learn from tagged sentences.

        Args:
            X: A file (CoNLL, CoNLL-U, JSON Lines), or a list of lists of tokens.
            y: With lists, a list of tags for each; nothing beside a file.
            validation: Sentences to stop early and to score on: a file, or a pair of lists (X, y);
                None keeps some of ``X`` for that (``validation_size``).
            run_dir: Where checkpoints and, in the end, the model are written; None for nowhere.
            resume: Go on with the interrupted fit in ``run_dir``.
            progress: Show a progress bar.

        Returns:
            The estimator.

        Raises:
            InvalidSettingsError: Fields are wrong; all faults at once.
            InvalidFileError: A file is damaged, or no such file; names the line.
            InvalidValueError: Sentences and tags do not fit, tags break their scheme, or validation
                has tags that training has not; names the line.
        """
        settings = self._validated()
        records = settings.read("SequenceTagger.fit", X, y, tagged=True)
        held = None
        if validation is not None:
            where = "SequenceTagger.fit: validation"
            held = settings.read(where, *_pair(where, validation), tagged=True)
        directory = None if run_dir is None else Path(run_dir)
        fitted, held_out = fit_tagger(
            settings, records, held, directory=directory, resume=resume, progress=progress
        )
        self._adopt(fitted)
        return self._finish(held_out, directory)

    def predict(self, X: Any) -> list[list[str]]:
        """Return a tag for each token.

        Args:
            X: A file, or a list of lists of tokens. A file needs no tags.

        Returns:
            For each sentence as many tags as it has tokens, in the scheme of the training set.

        Raises:
            InvalidStateError: The estimator is not fitted.
            InvalidTypeError: Sentences are texts instead of lists of tokens.
        """
        sentences = self._sentences("predict", X)
        return self.model_.tag(sentences)

    def predict_spans(self, X: Any) -> list[list[TaggedSpan]]:
        """Return the spans of each sentence.

        Args:
            X: As for ``predict``.

        Returns:
            For each sentence its ``TaggedSpan``, in order; where tags are no spans, one a token.
        """
        sentences = self._sentences("predict_spans", X)
        joiner = tokenizer("words")
        return [
            [
                TaggedSpan(*span, joiner.join(one.tokens[span.start : span.stop]))
                for span in self.tags_.read_spans(tags)
            ]
            for one, tags in zip(sentences.sentences, self.model_.tag(sentences), strict=True)
        ]

    def predict_table(self, X: Any) -> pd.DataFrame:
        """Return the tags as a table with a row for each token.

        Args:
            X: As for ``predict``.

        Returns:
            ``sentence`` (counted from 0), ``token`` and ``tag``.
        """
        import pandas as pd

        sentences = self._sentences("predict_table", X)
        rows = [
            (number, token, tag)
            for number, (one, tags) in enumerate(
                zip(sentences.sentences, self.model_.tag(sentences), strict=True)
            )
            for token, tag in zip(one.tokens, tags, strict=True)
        ]
        return pd.DataFrame(rows, columns=["sentence", "token", "tag"])

    def evaluate(self, X: Any, y: Any = None) -> dict[str, dict[str, float]]:
        """Score the model beside what counting the training set gives.

        Args:
            X: A file with tags, or a list of lists of tokens.
            y: With lists, a list of tags for each.

        Returns:
            For ``model``, ``most_frequent_tag`` and ``most_frequent_tag_of_word`` (unknown words
            get the most frequent tag) the scores by name, 0 to 1: of spans ``precision``,
            ``recall``, ``f1`` as conlleval counts them and ``accuracy`` of tokens; of other tags
            ``accuracy`` and ``macro_f1``.

        Raises:
            InvalidStateError: The estimator is not fitted.
            InvalidValueError: A tag breaks its scheme, or is not in the training set; names the
                line.
        """
        return self._evaluation("evaluate", X, y).scores

    def evaluate_labels(self, X: Any, y: Any = None) -> dict[str, dict[str, float]]:
        """Score each label of the spans, or each tag, by itself.

        Args:
            X: As for ``evaluate``.
            y: As for ``evaluate``.

        Returns:
            For each label ``precision``, ``recall``, ``f1``, and ``support``, how many there are.
        """
        return self._evaluation("evaluate_labels", X, y).by_label

    def score(self, X: Any, y: Any = None) -> float:
        """Return the F1 of spans, or the accuracy of tags that are no spans, 0 to 1."""
        return self._evaluation("score", X, y).scores["model"][self.headline[0]]

    def encode(self, X: Any) -> dict[str, Tensor]:
        """Return the arguments of ``network_`` for all sentences in one batch.

        Args:
            X: As for ``predict``; a sentence longer than ``longest`` is several columns.
        """
        sentences = self._sentences("encode", X)
        return sentences.batch(range(len(sentences)))

    def decode(self, outputs: Tensor, X: Any) -> list[list[str]]:
        """Return what ``network_`` said as the tags that ``predict`` gives.

        Args:
            outputs: Of ``network_`` for ``encode(X)``, T×B×K.
            X: The sentences that were encoded.
        """
        sentences = self._sentences("decode", X)
        lengths = torch.from_numpy(sentences.lengths)
        with torch.no_grad():
            paths = self.network_.head.decode(outputs, lengths)
        return sentences.joined([self.tags_.decode(path) for path in paths])

    def describe(self) -> dict[str, Any]:
        """Return layers, parameters, vocabularies, and the work of one token."""
        self._check_fitted("describe")
        return describe(self.model_)

    def write_report(self, path: str | Path, X: Any = None, y: Any = None) -> Path:
        """Write scores, training, transitions, calibration and the hardest sentences as a page.

        Args:
            path: The HTML file.
            X: Tagged sentences to show the model on; None takes the validation part, which is there
                until the model is saved and loaded.
            y: With lists, a list of tags for each.

        Returns:
            The path.
        """
        self._check_fitted("write_report")
        # Here and not above: plotly is needed by nothing else.
        from gatewise.tasks.tagging.report import write_report

        held_out = self._held_out
        if X is not None:
            held_out = HeldOut(self._settled("write_report", X, y), "given")
        self._check_shown(held_out, "tagged sentences")
        fitted = Fitted(self.model_, self._course)
        return write_report(Path(path), fitted, held_out, self.get_params())

    def _sentences(self, method: str, X: Any) -> SentenceSet:
        self._check_fitted(method)
        records = self.read(f"SequenceTagger.{method}", X, tagged=False)
        return self.model_.sentences(records, tagged=False)

    def _settled(self, method: str, X: Any, y: Any) -> list[Tagged]:
        self._check_fitted(method)
        records = self.read(f"SequenceTagger.{method}", X, y, tagged=True)
        return self.tags_.settled(records, repair=self.repair)

    def _evaluation(self, method: str, X: Any, y: Any) -> Evaluation:
        records = self._settled(method, X, y)
        return evaluate(self.model_, records)

    def _adopt(self, fitted: Fitted[TaggerModel]) -> None:
        self.model_: TaggerModel = fitted.model
        self.network_: TaggerNetwork = fitted.model.network
        self.tags_ = fitted.model.tags
        self._adopt_course(fitted.course)

    def _write(self, directory: Path) -> None:
        storage.write(directory, Fitted(self.model_, self._course))

    def _read(self, directory: Path) -> None:
        self._adopt(storage.read(directory))


def _pair(where: str, validation: Any) -> tuple[Any, Any]:
    """A file alone, or lists of tokens with lists of tags."""
    if not isinstance(validation, Sequence) or isinstance(validation, str):
        return validation, None
    if len(validation) != 2:
        raise InvalidTypeError(where, "a file or a pair (X, y)", f"{len(validation)} things")
    return validation[0], validation[1]
