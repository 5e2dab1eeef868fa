"""From sentences and settings to a fitted tagger with its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gatewise.data.text import Buckets, Tagged, WordVectors, read_vectors
from gatewise.errors import InvalidValueError
from gatewise.tasks.course import Course, Fitted
from gatewise.tasks.tagging.baselines import TagBaselines
from gatewise.tasks.tagging.evaluation import evaluate, headline_score
from gatewise.tasks.tagging.features import TokenFeatures
from gatewise.tasks.tagging.fields import TaggingFields
from gatewise.tasks.tagging.model import TaggerModel
from gatewise.tasks.tagging.network import TaggerNetwork, TaggerShape
from gatewise.tasks.tagging.tags import TagSet, repaired
from gatewise.tasks.tagging.task import TaggingTask
from gatewise.training import fit


@dataclass(frozen=True)
class HeldOut:
    """Sentences to show a model on.

    Args:
        records: With settled tags.
        name: What they are.
    """

    records: list[Tagged]
    name: str


def fit_tagger(
    settings: TaggingFields,
    records: Sequence[Tagged],
    validation: Sequence[Tagged] | None,
    *,
    directory: Path | None = None,
    resume: bool = False,
    progress: bool = False,
) -> tuple[Fitted[TaggerModel], HeldOut]:
    """Fit a model to sentences.

    Args:
        settings: Valid fields.
        records: Sentences with tags, as read.
        validation: Others, to stop early and to score on; None keeps some of ``records``.
        directory: For checkpoints.
        resume: Go on from the checkpoint in it.
        progress: Show a progress bar.

    Raises:
        InvalidValueError: Tags break their scheme, or those of ``validation`` are unknown; names
            the line.
    """
    scheme = settings.scheme_of(records)
    trained = None if settings.trained_scheme == "same" else settings.trained_scheme
    if scheme is not None and settings.repair:
        records = repaired(records, scheme)
    # Of all sentences at hand: which of them train is a matter of the seed.
    tags = TagSet.learn(records, scheme, trained)
    split = "validation"
    if validation is not None:
        held = tags.settled(validation, repair=settings.repair)
    else:
        records, held = _parted(list(records), settings.validation_size, settings.seed)
        if not held:
            held, split = records, "training"
    model = _new_model(settings, records, tags)
    train = model.sentences(records, tagged=True)
    buckets = Buckets(
        train.lengths,
        tokens=settings.batch_tokens,
        sequences=settings.batch_size,
        seed=settings.seed,
        place_of=train.place_of,
    )
    task = TaggingTask(
        train,
        model.sentences(held, tagged=True),
        tags,
        model.network.head,
        buckets,
        settings.unknown_share,
    )
    result = fit(
        model.network,
        task,
        settings.fit_settings(),
        directory=directory,
        resume=resume,
        progress=progress,
        monitor=headline_score(spans=tags.spans),
        mode="max",
    )
    model.network.to("cpu", torch.float32).eval()
    course = Course.of(result, evaluate(model, held).scores, split)
    return Fitted(model, course), HeldOut(list(held), split)


def _parted(records: list[Tagged], size: float, seed: int) -> tuple[list[Tagged], list[Tagged]]:
    """Keep some sentences for validation: a share of them below 1, else so many."""
    count = round(size * len(records)) if size < 1 else int(size)
    count = max(count, 1) if size > 0 else 0
    if count >= len(records):
        raise InvalidValueError(
            "validation_size", f"less than the {len(records)} sentences", str(count),
            "Give more sentences, keep fewer, or set it to 0.",
        )  # fmt: skip
    held = set(np.random.default_rng(seed).permutation(len(records))[:count].tolist())
    train = [one for k, one in enumerate(records) if k not in held]
    return train, [one for k, one in enumerate(records) if k in held]


def _new_model(settings: TaggingFields, records: Sequence[Tagged], tags: TagSet) -> TaggerModel:
    """An untrained model for sentences; its draws come from the seed alone."""
    further: tuple[str, ...] = ()
    if settings.vectors is not None and settings.vector_words:
        further = read_vectors(settings.vectors, limit=settings.vector_words).words
    features = TokenFeatures.learn(
        [one.tokens for one in records],
        lowercase=settings.lowercase,
        replace_digits=settings.replace_digits,
        minimum_count=settings.minimum_count,
        further_words=further,
        characters=settings.characters != "none",
        casing=settings.casing_size > 0,
        longest_ngram=settings.ngrams,
        ngram_minimum_count=settings.ngram_minimum_count,
    )
    vectors = None if settings.vectors is None else _vectors(settings.vectors, features)
    shape = _shape(settings, features, tags, vectors)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = TaggerNetwork(shape, tags.constraints if settings.constraints else None)
    note = ""
    if vectors is not None:
        rows, report = vectors.rows_for(features.words)
        with torch.no_grad():
            found = torch.from_numpy(report.found)
            network.encoder.embedding.weight[found] = torch.from_numpy(rows)[found]
        note = str(report)
    return TaggerModel(network, features, tags, TagBaselines.learn(records), settings.longest, note)


def _vectors(path: str, features: TokenFeatures) -> WordVectors:
    """Vectors of the known words, and of their lower case."""
    words = set(features.words.tokens)
    return read_vectors(path, words | {word.lower() for word in words})


def _shape(
    settings: TaggingFields, features: TokenFeatures, tags: TagSet, vectors: WordVectors | None
) -> TaggerShape:
    size = settings.embedding_size if vectors is None else vectors.matrix.shape[1]
    return TaggerShape(
        words=len(features.words),
        tags=len(tags.known),
        embedding_size=size,
        ngrams=tuple(len(known) for known in features.ngrams),
        ngram_size=settings.ngram_size,
        character_encoder=settings.characters,
        characters=0 if features.characters is None else len(features.characters),
        character_size=settings.character_size,
        character_hidden_size=settings.character_hidden_size,
        casing_size=settings.casing_size,
        cell=settings.cell,
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        bidirectional=settings.bidirectional,
        head=settings.head,
        word_dropout=settings.word_dropout,
        input_dropout=settings.input_dropout,
        hidden_dropout=settings.hidden_dropout,
        output_dropout=settings.output_dropout,
        weight_dropout=settings.weight_dropout,
    )
