"""The report of a tagger: how well it tags, how it learned, what it believes, where it errs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatewise.data.text import parse_tag
from gatewise.nn import CRF
from gatewise.report import Report, TaggedSentence, figures
from gatewise.tasks.course import Fitted
from gatewise.tasks.reliability import reliability
from gatewise.tasks.report_parts import add_scores, add_settings, add_training
from gatewise.tasks.tagging.evaluation import MODEL, Evaluation, evaluate, headline_score
from gatewise.tasks.tagging.model import TaggerModel
from gatewise.tasks.tagging.training import HeldOut

HARDEST = 8
"""Sentences that are shown."""

SHOWN_TOKENS = 60
"""Tokens of a sentence that are shown."""


def write_report(
    path: Path, fitted: Fitted[TaggerModel], held_out: HeldOut, settings: Mapping[str, Any]
) -> Path:
    """Write the page.

    Args:
        path: The HTML file.
        fitted: The model and its training.
        held_out: The sentences to show it on.
        settings: Fields of the estimator.
    """
    model = fitted.model
    evaluation = evaluate(model, held_out.records)
    tokens = int(evaluation.sentences.lengths.sum())
    kind = "kinds of spans" if model.tags.spans else "tags"
    report = Report(
        f"Tagger of {len(model.tags.labels)} {kind}",
        f"{len(held_out.records):,} sentences · {tokens:,} tokens · {held_out.name}",
    )
    _headline(report, model, evaluation)
    add_scores(report, evaluation.scores, _score_note(model, tokens, held_out))
    _labels(report, model, evaluation)
    _confusions(report, model, evaluation)
    add_training(report, fitted.course)
    _transitions(report, model)
    _calibration(report, model, evaluation)
    _hardest(report, model, evaluation)
    add_settings(report, settings)
    return report.write(path)


def _headline(report: Report, model: TaggerModel, evaluation: Evaluation) -> None:
    score = headline_score(spans=model.tags.spans)
    best = max(row[score] for name, row in evaluation.scores.items() if name != MODEL)
    ranked = sorted(evaluation.scores[MODEL].items(), key=lambda item: item[0] != score)
    for name, value in ranked:
        note = f"best baseline: {best:.3g}" if name == score else ""
        label = name.replace("_", " ").replace("f1", "F1")
        report.number(label[0].upper() + label[1:], value, note=note)


def _score_note(model: TaggerModel, tokens: int, held_out: HeldOut) -> str:
    counted = (
        "A span counts if its label and both its ends are right, as in CoNLL; accuracy is that of"
        " tokens."
        if model.tags.spans
        else "Accuracy is that of tokens; macro F1 is the mean over the tags."
    )
    chosen = " The best epoch was chosen on these data." if held_out.name != "given" else ""
    return f"{tokens:,} tokens, {held_out.name} data. Higher is better. {counted}{chosen}"


def _labels(report: Report, model: TaggerModel, evaluation: Evaluation) -> None:
    ranked = sorted(evaluation.by_label.items(), key=lambda item: -item[1]["support"])
    rows = [
        [label or "(none)", row["precision"], row["recall"], row["f1"], int(row["support"])]
        for label, row in ranked
    ]
    what = "spans" if model.tags.spans else "tokens"
    report.table(
        "Labels",
        ["label", "precision", "recall", "f1", "support"],
        rows,
        note=f"Support: how many {what} of the data have the label.",
    )


def _transitions(report: Report, model: TaggerModel) -> None:
    """What the conditional random field has learned of neighbours."""
    head = model.network.head
    if not isinstance(head, CRF):
        return
    size = len(model.tags.known)
    scores = np.full((size + 1, size + 1), np.nan)
    allowed = np.ones((size + 1, size + 1), dtype=bool)
    allowed[size, size] = False
    with torch.no_grad():
        scores[:size, :size] = head.transitions
        scores[size, :size] = head.start_transitions
        scores[:size, size] = head.end_transitions
    if head.constraints is not None:
        allowed[:size, :size] = head.constraints.transitions
        allowed[size, :size] = head.constraints.starts
        allowed[:size, size] = head.constraints.ends
    scores[~allowed] = np.nan
    names, order = list(model.tags.known.tokens), list(range(size))
    if model.tags.spans:
        order.sort(key=lambda k: parse_tag(names[k])[::-1])  # the parts of a span together
    places = [*order, size]
    figure = figures.transitions_figure([names[k] for k in order], scores[np.ix_(places, places)])
    report.figure("Transitions", figure)


def _confusions(report: Report, model: TaggerModel, evaluation: Evaluation) -> None:
    """Which kind of token is taken for which; of spans their labels, wherever they begin."""

    def kind(tag: str) -> str:
        return parse_tag(tag)[1] if model.tags.spans and tag != "O" else tag

    pairs = Counter(
        (kind(true), kind(taken))
        for one, tags in zip(evaluation.sentences.sentences, evaluation.said, strict=True)
        for true, taken in zip(one.tags, tags, strict=True)
    )
    names = sorted({name for pair in pairs for name in pair})
    if len(names) < 2:
        return  # spans without labels that leave nothing outside: nothing to mistake
    counts = [[pairs[true, taken] for taken in names] for true in names]
    shown = [name or "(none)" for name in names]
    report.figure("Confusions", figures.confusion_figure(counts, shown, "tokens"))


def _calibration(report: Report, model: TaggerModel, evaluation: Evaluation) -> None:
    """Whether tokens of which the model is sure to some degree are right as often."""
    held = reliability(*model.confidences(evaluation.sentences))
    figure = figures.reliability_figure(held.confidence, held.accuracy, held.count, held.error)
    note = "Tokens by the probability of their likeliest tag, all tags of the sentence considered."
    report.figure("Calibration", figure, note=note)


def _hardest(report: Report, model: TaggerModel, evaluation: Evaluation) -> None:
    """The sentences whose true tags the model finds least likely."""
    sentences, said = evaluation.sentences.sentences, evaluation.said
    lengths = np.array([len(one.tokens) for one in sentences])
    each = model.log_likelihoods(evaluation.sentences) / lengths
    shown = []
    for k in np.argsort(each, kind="stable")[:HARDEST].tolist():
        one, wrong = sentences[k], [a != b for a, b in zip(sentences[k].tags, said[k], strict=True)]
        start = _window(wrong)
        part = slice(start, start + SHOWN_TOKENS)
        cut = "" if len(wrong) <= SHOWN_TOKENS else f" · {SHOWN_TOKENS} of {len(wrong)} tokens"
        note = f"{one.place} · {each[k]:.2f} nats a token · {sum(wrong)} wrong{cut}"
        shown.append(TaggedSentence(one.tokens[part], one.tags[part], said[k][part], note))
    report.sentences(
        "Hardest sentences",
        shown,
        note="Those whose true tags the model finds least likely, by their log-likelihood a token."
        " Where it is wrong, the true tag stands above the one that it said.",
        outside="O" if model.tags.spans else None,
    )


def _window(wrong: list[bool]) -> int:
    """Where to begin so that of a long sentence as many faults as possible are shown."""
    if len(wrong) <= SHOWN_TOKENS:
        return 0
    counts = np.concatenate([[0], np.cumsum(wrong)])
    return int(np.argmax(counts[SHOWN_TOKENS:] - counts[:-SHOWN_TOKENS]))
