"""From texts and settings to a fitted classifier with its scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gatewise.data.text import Text, Vocabulary, label_vocabulary
from gatewise.errors import InvalidValueError
from gatewise.tasks.classification.baselines import Baselines
from gatewise.tasks.classification.evaluation import evaluate
from gatewise.tasks.classification.fields import TextClassifierFields
from gatewise.tasks.classification.model import ClassifierModel, truth
from gatewise.tasks.classification.network import ClassifierNetwork, ClassifierShape
from gatewise.tasks.classification.pretrained import (
    Pretrained,
    encoder_shape,
    initialise,
    read_word_vectors,
)
from gatewise.tasks.classification.reading import TextReader, require_words
from gatewise.tasks.classification.task import ClassifierTask
from gatewise.tasks.course import Course, Fitted
from gatewise.training import fit


@dataclass(frozen=True)
class HeldOut:
    """Texts to show a model on.

    Args:
        texts: With their labels.
        name: What these texts are.
        fitted_on: Whether the fit has used them: to train, or to stop.
    """

    texts: list[Text]
    name: str
    fitted_on: bool = False


def fit_classifier(
    settings: TextClassifierFields,
    texts: list[Text],
    validation: list[Text] | None,
    *,
    directory: Path | None = None,
    resume: bool = False,
    progress: bool = False,
) -> tuple[Fitted[ClassifierModel], HeldOut]:
    """Fit a classifier to texts.

    Args:
        settings: Valid fields.
        texts: With their labels.
        validation: Texts that decide when to stop; None keeps the part that the settings say.
        directory: For checkpoints.
        resume: Go on from the checkpoint in it.
        progress: Show a progress bar.

    Raises:
        InvalidValueError: A text is blank, has no label or too many, or one that the training set
            has not; or all have the same.
    """
    require_words(texts)
    require_words(validation or [])
    several = settings.multi_label
    labels = label_vocabulary(texts)
    truth(texts, labels, multi_label=several)  # a fault is named before anything is split
    if validation is None:
        train, held = split(texts, settings.validation_size, settings.seed)
    else:
        train, held = texts, validation
    name = "validation" if held else "training"
    held = held or train
    model = _new_model(settings, train, labels)
    numbers = model.reader.numbers(train)
    task = ClassifierTask(
        settings,
        model.network,
        model.reader.vocabulary,
        numbers,
        truth(train, labels, multi_label=several),
        model.reader.numbers(held) if name == "validation" else numbers,
        truth(held, labels, multi_label=several),
    )
    result = fit(
        model.network,
        task,
        settings.fit_settings(),
        directory=directory,
        resume=resume,
        progress=progress,
        monitor=settings.monitor,
        mode="min" if settings.monitor == "loss" else "max",
    )
    model.network.to("cpu", torch.float32).eval()
    scores = evaluate(model, held).scores
    return Fitted(model, Course.of(result, scores, name)), HeldOut(held, name, fitted_on=True)


def split(texts: Sequence[Text], size: float, seed: int) -> tuple[list[Text], list[Text]]:
    """Part texts into those to train on and those to validate on, both in their order.

    Of each class the same share, where it has enough texts; at least one of each stays in training.
    A text with several labels counts with the rarest of them.

    Args:
        texts: With their labels.
        size: A share below 1, else how many; 0 for none.
        seed: Of the draw.

    Raises:
        InvalidValueError: Too many are asked for.
    """
    count = round(size * len(texts)) if size < 1 else int(size)
    often = Counter(label for text in texts for label in text.labels)
    own = [min(text.labels, key=lambda label: (often[label], label)) for text in texts]
    names = {label: number for number, label in enumerate(sorted(set(own)))}
    classes = np.array([names[label] for label in own])
    drawn = np.random.default_rng([seed, len(texts)]).permutation(len(texts))
    _, first = np.unique(classes[drawn], return_index=True)
    free = np.delete(drawn, first)
    if count > len(free):
        raise InvalidValueError(
            "validation_size", f"at most {len(free)} of {len(texts)} texts, so that one of each of"
            f" {len(names)} classes is left to learn from", str(count),
            "Lower it, or give more texts.",
        )  # fmt: skip
    # Evenly spread places in the order of the classes: each gives its share.
    ranked = free[np.argsort(classes[free], kind="stable")]
    places = ((np.arange(count) + 0.5) * len(ranked) / max(count, 1)).astype(np.int64)
    kept = set(ranked[places].tolist())
    return (
        [text for k, text in enumerate(texts) if k not in kept],
        [text for k, text in enumerate(texts) if k in kept],
    )


def _new_model(
    settings: TextClassifierFields, texts: list[Text], labels: Vocabulary
) -> ClassifierModel:
    """An untrained model for texts; its draws come from the seed alone."""
    start = None if settings.pretrained is None else Pretrained.read(Path(settings.pretrained))
    known = None if start is None else (start.tokenizer, start.vocabulary)
    reader = TextReader.fit(settings, texts, known)
    vectors = read_word_vectors(settings.vectors, reader.vocabulary)
    shape = ClassifierShape(
        encoder_shape(settings, len(reader.vocabulary), vectors, start),
        len(labels),
        settings.pooling,
        tuple(len(vocabulary) for vocabulary in reader.ngrams),
        0 if reader.parts is None else len(reader.parts.vocabulary),
        settings.pool_vectors,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = ClassifierNetwork(shape)
        initialise(network, reader.vocabulary, vectors, start, freeze=settings.freeze_vectors)
    several = settings.multi_label
    baselines = Baselines.fit(
        [reader.tokenizer.split(text.text) for text in texts],
        truth(texts, labels, multi_label=several).numpy(),
        multi_label=several,
    )
    return ClassifierModel(network, reader, labels, several, baselines)
