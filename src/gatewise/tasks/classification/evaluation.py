"""A classifier on labelled texts, beside baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from gatewise.data.text import Text
from gatewise.tasks.classification.model import ClassifierModel
from gatewise.tasks.classification.scores import decided, score, score_decisions

MODEL: Final = "model"


@dataclass(frozen=True)
class Evaluation:
    """What a classifier said of N texts, and what is true.

    Args:
        texts: The texts.
        truth: Which labels they have.
        probabilities: Of each label.
        scores: Of the model and of the baselines, by name.
    """

    texts: Sequence[Text]
    truth: Bool[np.ndarray, "N C"]
    probabilities: Float[np.ndarray, "N C"]
    scores: dict[str, dict[str, float]]


def evaluate(model: ClassifierModel, texts: Sequence[Text]) -> Evaluation:
    """Score a classifier and the baselines.

    The probabilities of naive Bayes are none that one could rely on: of it, only decisions count.

    Raises:
        InvalidValueError: A text has a label that the training set had not; names the place.
    """
    truth, several = model.truth(texts), model.multi_label
    probabilities = model.probabilities(texts)
    scores = {MODEL: score(truth, probabilities, multi_label=several)}
    tokens = [model.reader.tokenizer.split(text.text) for text in texts]
    for name, predicted in model.baselines.predictions(tokens).items():
        scores[name] = score_decisions(truth, decided(predicted, multi_label=several), several)
    return Evaluation(texts, truth, probabilities, scores)
