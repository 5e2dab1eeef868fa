"""Classification of texts: recurrent layers over tokens, the user's own labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gatewise.data.text import Text
from gatewise.errors import InvalidValueError
from gatewise.tasks.classification import storage
from gatewise.tasks.classification.describe import describe
from gatewise.tasks.classification.evaluation import MODEL, evaluate
from gatewise.tasks.classification.example import example
from gatewise.tasks.classification.fields import TextClassifierFields
from gatewise.tasks.classification.model import ClassifierModel
from gatewise.tasks.classification.network import ClassifierNetwork
from gatewise.tasks.classification.scores import decided
from gatewise.tasks.classification.training import HeldOut, fit_classifier
from gatewise.tasks.course import Fitted
from gatewise.tasks.estimator import AbstractEstimator, Example
from gatewise.training import Mode

if TYPE_CHECKING:
    import pandas as pd


@dataclass(kw_only=True, eq=False, repr=False)
class TextClassifier(TextClassifierFields, AbstractEstimator):
    """Classify texts with an LSTM.

    Words, characters, subwords and their n-grams; one label a text, or several; labels are the
    user's own. ``fit`` learns, ``predict`` and ``predict_proba`` classify, ``evaluate`` scores
    beside the most frequent class and naive Bayes.

    Args:
        tokens, …: The fields of ``TextClassifierFields``, by name; ``fit`` checks them all at once.

    Attributes:
        network_: The trained ``ClassifierNetwork``.
        classes_: The C labels, an array of texts in the order of their code points.
        history_: One ``EpochRecord`` an epoch.
        scores_: Scores on the validation part, of the model and of the baselines.
        split_: On what ``scores_`` were measured: ``validation`` or ``training``.

    Example:
        >>> from gatewise.tasks import TextClassifier
        >>> texts = ["a fine film", "a dull film", "fine work", "dull work"] * 5
        >>> labels = ["good", "bad", "good", "bad"] * 5
        >>> model = TextClassifier(max_epochs=4).fit(texts, labels, progress=False)
        >>> model.predict(["fine"]).shape
        (1,)
    """

    task: ClassVar[str] = "text-classifier"

    @property
    def headline(self) -> tuple[str, Mode]:
        """Accuracy; the micro-averaged F1 of several labels."""
        return ("f1_micro" if self.multi_label else "accuracy"), "max"

    @classmethod
    def example(cls) -> Example:
        """Return names of Unicode's characters with their categories, and settings for them."""
        return example()

    def fit(
        self,
        X: Any = None,
        y: Any = None,
        *,
        validation: Any = None,
        run_dir: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
    ) -> TextClassifier:
        """Learn from texts.

        Args:
            X: A path or a frame that holds texts and labels; or a list of texts.
            y: With a list of texts the label of each; a list of labels with ``multi_label``.
                Numbers become texts.
            validation: Texts to stop early and to score on: a path or a frame, or a pair of lists,
                texts and labels. None keeps a part of ``X`` for that (``validation_size``).
            run_dir: Where checkpoints and, in the end, the model are written; None for nowhere.
            resume: Go on with the interrupted fit in ``run_dir``.
            progress: Show a progress bar.

        Returns:
            The estimator.

        Raises:
            InvalidSettingsError: Fields are wrong; all faults at once.
            InvalidFileError: A file is absent, damaged or in another encoding; names the line.
            InvalidTypeError: Texts or labels are none, or not given.
            InvalidValueError: Texts or labels cannot be learned from; names the place.
        """
        settings = self._validated()
        where = "TextClassifier.fit"
        texts = list(settings.read_labelled(where, X, y))
        held = None
        if validation is not None:
            pair = validation if isinstance(validation, tuple) else (validation, None)
            if len(pair) != 2:
                raise InvalidValueError(
                    f"{where}: validation", "a pair, texts and labels", f"{len(pair)} things"
                )
            held = list(settings.read_labelled(f"{where}, validation", *pair))
        directory = None if run_dir is None else Path(run_dir)
        fitted, held_out = fit_classifier(
            settings, texts, held, directory=directory, resume=resume, progress=progress
        )
        self._adopt(fitted)
        return self._finish(held_out, directory)

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each text.

        Args:
            X: A path, a frame or a list of texts; labels that it holds are not read. Blank texts
                and blank lines are classified too, with a warning.

        Returns:
            N labels, an array of texts; with ``multi_label`` one of tuples, those with a
            probability of one half or more.

        Raises:
            InvalidStateError: The estimator is not fitted.
            GatewiseError: The texts cannot be read; names the place.
        """
        return self._labels(self._probabilities("predict", X))

    def predict_proba(self, X: Any) -> Float[np.ndarray, "N C"]:
        """Return the probability of each label for each text.

        Args:
            X: As for ``predict``.

        Returns:
            Probabilities in the order of ``classes_``; rows sum to one, except with
            ``multi_label``, where each label has a probability of its own.
        """
        return self._probabilities("predict_proba", X)

    def predict_table(self, X: Any) -> pd.DataFrame:
        """Return ``text``, ``label``, and a column ``p(LABEL)`` for each label: its probability.

        Several labels of a text are joined by ``label_separator``, or by a comma.
        """
        import pandas as pd

        texts = self._texts("predict_table", X)
        probabilities = self.model_.probabilities(texts)
        labels = list(self._labels(probabilities))
        if self.model_.multi_label:
            labels = [(self.label_separator or ",").join(several) for several in labels]
        table = {"text": [text.text for text in texts], "label": labels}
        columns = zip(self.classes_, probabilities.T, strict=True)
        return pd.DataFrame({**table, **{f"p({name})": column for name, column in columns}})

    def evaluate(self, X: Any, y: Any = None) -> dict[str, dict[str, float]]:
        """Score the model on labelled texts, beside baselines that were fitted to the same texts.

        Args:
            X: As for ``fit``.
            y: As for ``fit``.

        Returns:
            For ``model``, ``majority`` (the most frequent labels) and ``naive_bayes`` (on words and
            bigrams) the scores by name: ``accuracy`` (of several labels: all right and complete),
            ``f1_macro``, with ``multi_label`` ``f1_micro``, and for the model ``log_loss`` in nats
            and ``calibration_error``, 0 to 1.

        Raises:
            InvalidStateError: The estimator is not fitted.
            InvalidValueError: A label is none of the training set; names the place.
        """
        texts = self._labelled("evaluate", X, y)
        return evaluate(self.model_, texts).scores

    def score(self, X: Any, y: Any = None) -> float:
        """Return the accuracy; with ``multi_label`` the micro-averaged F1.

        Args:
            X: As for ``fit``.
            y: As for ``fit``.
        """
        scores = self.evaluate(X, y)[MODEL]
        return scores["f1_micro" if self.model_.multi_label else "accuracy"]

    def encode(self, X: Any) -> dict[str, Tensor]:
        """Return the arguments of ``network_`` for texts, one column a text, in one batch."""
        texts = self._texts("encode", X)
        numbers = self.model_.reader.numbers(texts)
        return numbers.batch(np.arange(len(numbers.rows)), torch.device("cpu"))

    def decode(self, outputs: Float[Tensor, "N C"]) -> np.ndarray:
        """Return what ``network_`` said as the labels that ``predict`` gives.

        Args:
            outputs: Of ``network_`` for ``encode(X)``.
        """
        self._check_fitted("decode")
        return self._labels(self.model_.to_probabilities(outputs))

    def describe(self) -> dict[str, Any]:
        """Return layers, parameters, memory and work."""
        self._check_fitted("describe")
        return describe(self.model_)

    def write_report(self, path: str | Path, X: Any = None, y: Any = None) -> Path:
        """Write scores, confusions, calibration, the hardest texts, and settings as one page.

        Args:
            path: The HTML file.
            X: Labelled texts to show, as for ``fit``; None takes the validation part, which is
                there until the model is saved and loaded.
            y: As for ``fit``.

        Returns:
            The path.
        """
        self._check_fitted("write_report")
        # Here and not above: plotly is needed by nothing else.
        from gatewise.tasks.classification.report import write_report

        held_out = self._held_out
        if X is not None:
            held_out = HeldOut(self._labelled("write_report", X, y), "given")
        self._check_shown(held_out, "labelled texts")
        fitted = Fitted(self.model_, self._course)
        return write_report(Path(path), fitted, held_out, self.get_params())

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags

        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags(multi_label=self.multi_label)
        return tags

    def _texts(self, method: str, X: Any) -> list[Text]:
        self._check_fitted(method)
        # Blank ones too: what comes out must stand beside what went in.
        return list(self.read(f"TextClassifier.{method}", X, keep_blank=True))

    def _probabilities(self, method: str, X: Any) -> Float[np.ndarray, "N C"]:
        texts = self._texts(method, X)
        return self.model_.probabilities(texts)

    def _labelled(self, method: str, X: Any, y: Any) -> list[Text]:
        self._check_fitted(method)
        return list(self.read_labelled(f"TextClassifier.{method}", X, y))

    def _labels(self, probabilities: Float[np.ndarray, "N C"]) -> np.ndarray:
        chosen = decided(probabilities, multi_label=self.model_.multi_label)
        if not self.model_.multi_label:
            return self.classes_[chosen.argmax(1)]
        labels = np.empty(len(chosen), dtype=object)
        labels[:] = [tuple(self.classes_[row].tolist()) for row in chosen]
        return labels

    def _adopt(self, fitted: Fitted[ClassifierModel]) -> None:
        self.model_: ClassifierModel = fitted.model
        self.network_: ClassifierNetwork = fitted.model.network
        self.classes_ = np.array(fitted.model.labels.tokens)
        self._adopt_course(fitted.course)

    def _write(self, directory: Path) -> None:
        storage.write(directory, Fitted(self.model_, self._course))

    def _read(self, directory: Path) -> None:
        self._adopt(storage.read(directory))
