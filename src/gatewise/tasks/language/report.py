"""The report of a language model: scores, training, samples, and what it expected least."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatewise.report import Report, figures
from gatewise.tasks.language.corpus import Language, Reader, work_directory, write_corpus
from gatewise.tasks.language.evaluation import token_losses
from gatewise.tasks.language.generation import Generation, frequent_tokens
from gatewise.tasks.language.network import LanguageNetwork
from gatewise.tasks.language.sampling import Sampling
from gatewise.tasks.language.training import LanguageFit
from gatewise.tasks.report_parts import add_scores, add_settings, add_training

TEMPERATURES = (0.5, 0.8, 1.0)
SAMPLE_TOKENS = {True: 400, False: 100}
"""Tokens of a sample: characters and subwords, else words."""

PASSAGE = 40
"""Tokens of the passage that is drawn."""

SCORED = 200_000
"""Tokens that are scored for the report at most."""

HARDEST = 12
CONTEXT = 8
GROUPS = (0, 1, 10, 100, 1_000, 10_000, 100_000)
"""Where groups of tokens by their count in training begin."""


def write_report(
    path: Path, fitted: LanguageFit, held_out: Reader | None, settings: Mapping[str, Any]
) -> Path:
    """Write the page.

    Args:
        path: The HTML file.
        fitted: The model and its training.
        held_out: Reads the texts to show it on; None shows none.
        settings: Fields of the estimator.
    """
    network, language, course = fitted.network, fitted.language, fitted.course
    parameters = sum(weight.numel() for weight in network.parameters())
    report = Report(
        "Language model",
        f"{language.tokenizer.name} · {len(language.vocabulary):,} tokens known ·"
        f" {parameters:,} parameters",
    )
    model, unigram = course.scores["model"], course.scores["unigram"]
    for name in ("perplexity", "bits_per_character"):
        note = f"frequencies alone: {unigram[name]:.4g}"
        report.number(name.replace("_", " "), model[name], note=note)
    add_scores(report, course.scores, f"On {course.split} text. Lower is better.")
    add_training(report, course)
    samples = (
        f"Temperature {value:g}:\n\n{sample(network, language, value)}" for value in TEMPERATURES
    )
    report.text("Samples", "\n\n".join(samples))
    if held_out is not None:
        _add_passages(report, network, language, held_out)
    add_settings(report, settings)
    return report.write(path)


def sample(network: LanguageNetwork, language: Language, temperature: float) -> str:
    """Return a text that the model draws, always the same."""
    generation = Generation(
        network,
        language,
        frequent_tokens(language, 1) if language.end is None else [""],
        Sampling(temperature),
        SAMPLE_TOKENS[language.is_exact],
        (),
        torch.Generator().manual_seed(0),
    )
    text = "".join(piece for (piece,) in generation).strip()
    return text.replace("\n", " ↵ ")


def _add_passages(
    report: Report, network: LanguageNetwork, language: Language, held_out: Reader
) -> None:
    """Add what each token of a passage cost, what rare tokens cost, and what cost most."""
    tokens, bits = _bits(network, language, held_out)
    names = language.vocabulary.decode(tokens.tolist())
    start = _middle_start(tokens, language.end_number)
    stop = min(start + PASSAGE, len(names))
    figure = figures.surprise_figure(names[start:stop], bits[start:stop])
    report.figure("Surprise, token by token", figure)
    groups = _groups(np.asarray(language.vocabulary.counts)[tokens], bits)
    if len(groups) > 1:
        named = [name for name, _, _ in groups]
        costs, shares = [cost for _, cost, _ in groups], [share for _, _, share in groups]
        report.figure("Rare tokens", figures.rarity_figure(named, costs, shares))
    rows = []
    for place in np.argsort(-bits, kind="stable")[:HARDEST]:
        before = language.tokenizer.join(names[max(0, place - CONTEXT) : place])
        rows.append([before.replace("\n", " ↵ "), names[place].replace("\n", "↵"), bits[place]])
    note = "The tokens of the text that the model expected least, after what it had read."
    report.table("Hardest tokens", ["after", "token", "bits"], rows, note=note)


def _bits(
    network: LanguageNetwork, language: Language, held_out: Reader
) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of the beginning of a text but the first, and what each cost."""
    with work_directory() as place:
        corpus = write_corpus(language, held_out, Path(place, "held.npy"))
        tokens = np.array(corpus.tokens[: SCORED + 1])
    with torch.inference_mode():
        losses = token_losses(network, tokens)
    return tokens[1:], losses / math.log(2)


def _middle_start(tokens: np.ndarray, end: int | None) -> int:
    """The first token after an end in the second half, or the middle."""
    middle = len(tokens) // 2
    ends = np.flatnonzero(tokens[middle:-1] == (-1 if end is None else end))
    return middle + int(ends[0]) + 1 if len(ends) else middle


def _groups(counts: np.ndarray, bits: np.ndarray) -> list[tuple[str, float, float]]:
    """Name, mean cost and share of each group of tokens by their count in training."""
    found = []
    for low, high in itertools.pairwise((*GROUPS, math.inf)):
        inside = (counts >= low) & (counts < high)
        if inside.any():
            name = f"{low:,}" if high - low == 1 else f"{low:,} to {high - 1:,}"
            name = f"{low:,} and more" if math.isinf(high) else name
            found.append((name, float(bits[inside].mean()), float(inside.mean())))
    return found
