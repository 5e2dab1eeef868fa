"""From texts and settings to a fitted language model with its scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from gatewise.errors import InvalidValueError
from gatewise.tasks.course import Course
from gatewise.tasks.language.corpus import (
    Language,
    Reader,
    TokenFile,
    learn_language,
    split_reader,
    work_directory,
    write_corpus,
)
from gatewise.tasks.language.evaluation import mean_loss, scores_of, unigram_loss
from gatewise.tasks.language.fields import LanguageFields
from gatewise.tasks.language.network import LanguageNetwork, LanguageShape, draw_uniform
from gatewise.tasks.language.task import LanguageTask
from gatewise.tasks.text.encoder import EncoderShape
from gatewise.training import fit


@dataclass(frozen=True)
class LanguageFit:
    """What a fit gives.

    Args:
        network: Trained, in eval mode.
        language: Tokenizer and vocabulary.
        course: How the fit went.
    """

    network: LanguageNetwork
    language: Language
    course: Course


def fit_language(
    settings: LanguageFields,
    train: Reader,
    validation: Reader | None,
    *,
    directory: Path | None = None,
    resume: bool = False,
    progress: bool = False,
) -> tuple[LanguageFit, Reader]:
    """Fit a model to texts; return it and what reads the texts that it was validated on.

    Args:
        settings: Valid fields.
        train: Reads the texts to learn.
        validation: Reads the texts to validate on; None keeps a part of ``train``.
        directory: For checkpoints.
        resume: Go on from the checkpoint in it.
        progress: Show a progress bar.

    Raises:
        InvalidValueError: The texts are too short.
    """
    split = "validation"
    if validation is None and settings.validation_size:
        train, validation = split_reader(train, settings.validation_size)
    elif validation is None:
        split, validation = "training", train
    language = learn_language(settings, train)
    network = _new_network(settings, language)
    with work_directory() as place:
        learned = write_corpus(language, train, Path(place, "train.npy"))
        held = learned
        if validation is not train:
            held = write_corpus(language, validation, Path(place, "validation.npy"))
        _check_length("the texts to learn", learned, settings.streams)
        _check_length("the texts to validate on", held, 1)
        result = fit(
            network,
            LanguageTask(learned, held, language.vocabulary.counts, settings),
            settings.fit_settings(),
            directory=directory,
            resume=resume,
            progress=progress,
        )
        network.to("cpu", torch.float32).eval()
        scores = score_corpus(network, language, held, count_characters(validation, language))
    return LanguageFit(network, language, Course.of(result, scores, split)), validation


def score_corpus(
    network: LanguageNetwork,
    language: Language,
    corpus: TokenFile,
    characters: int,
    streams: int | None = None,
) -> dict[str, dict[str, float]]:
    """Return scores of the model, and of the frequencies of tokens alone."""
    with torch.inference_mode():
        loss = mean_loss(network, corpus.tokens, streams)
    count = len(corpus.tokens) - 1
    return {
        "model": scores_of(loss, count, characters),
        "unigram": scores_of(unigram_loss(language.vocabulary, corpus.tokens), count, characters),
    }


def count_characters(read: Reader, language: Language) -> int:
    """Return the characters of texts, an end of each included where the model knows one."""
    return sum(len(text.text) + (language.end is not None) for text in read())


def shape_of(settings: LanguageFields, language: Language) -> LanguageShape:
    """Return what the network of these settings is built from.

    Raises:
        InvalidValueError: The clusters of the adaptive output lie beyond the vocabulary.
    """
    words = len(language.vocabulary)
    if settings.output == "adaptive" and settings.cutoffs[-1] >= words:
        raise InvalidValueError(
            "cutoffs", f"numbers below the {words:,} tokens of the vocabulary",
            repr(settings.cutoffs), "Lower them, or use output='softmax'.",
        )  # fmt: skip
    encoder = EncoderShape(
        words=words,
        embedding_size=settings.embedding_size,
        hidden_size=settings.hidden_size,
        last_size=settings.embedding_size if settings.tied else settings.hidden_size,
        num_layers=settings.num_layers,
        cell=settings.cell,
        word_dropout=settings.word_dropout,
        input_dropout=settings.input_dropout,
        hidden_dropout=settings.hidden_dropout,
        output_dropout=settings.output_dropout,
        weight_dropout=settings.weight_dropout,
    )
    cutoffs = settings.cutoffs if settings.output == "adaptive" else ()
    fresh_at = None if settings.carry_over else language.end_number
    return LanguageShape(encoder, settings.tied, settings.output, cutoffs, fresh_at)


def _new_network(settings: LanguageFields, language: Language) -> LanguageNetwork:
    """An untrained network; its draws come from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = LanguageNetwork(shape_of(settings, language))
        if settings.tied:
            # Halfway between what suits inputs, N(0, 1), and what suits outputs, N(0, 1 / E).
            std = settings.embedding_size**-0.25
            torch.nn.init.normal_(network.encoder.embedding.weight, std=std)
        if settings.init_range is not None:
            draw_uniform(network, settings.init_range)
    return network


def _check_length(what: str, corpus: TokenFile, streams: int) -> None:
    count = len(corpus.tokens)
    if count < max(2, streams + 1):
        raise InvalidValueError(
            what, f"at least {max(2, streams + 1)} tokens (streams={streams})", str(count),
            "Give more text, or fewer streams.",
        )  # fmt: skip
