"""Scores of a tagger, beside those of the baselines, on the same sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatewise.data.text import Tagged
from gatewise.tasks.tagging.model import TaggerModel
from gatewise.tasks.tagging.sentences import SentenceSet
from gatewise.tasks.tagging.tag_scores import new_scores

MODEL = "model"


@dataclass(frozen=True)
class Evaluation:
    """Scores, and what they are scores of.

    Args:
        scores: Of the model and of the baselines, by name.
        by_label: Of the model, precision, recall, F1 and support of each label.
        sentences: With the true tags.
        said: The model's tags of each sentence.
    """

    scores: dict[str, dict[str, float]]
    by_label: dict[str, dict[str, float]]
    sentences: SentenceSet
    said: list[list[str]]


def evaluate(model: TaggerModel, records: Sequence[Tagged]) -> Evaluation:
    """Score a model and its baselines.

    Args:
        model: The model.
        records: Sentences with settled tags.
    """
    sentences = model.sentences(records, tagged=True)
    said = model.tag(sentences)
    counts = {MODEL: new_scores(spans=model.tags.spans)}
    for one, tags in zip(records, said, strict=True):
        counts[MODEL].add(one.tags, tags)
        for name, guess in model.baselines.predict(one.tokens).items():
            counts.setdefault(name, new_scores(spans=model.tags.spans)).add(one.tags, guess)
    scores = {name: each.scores() for name, each in counts.items()}
    return Evaluation(scores, counts[MODEL].by_label(), sentences, said)


def headline_score(*, spans: bool) -> str:
    """Return the score that a tagger is judged by."""
    return "f1" if spans else "accuracy"
