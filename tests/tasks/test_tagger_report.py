"""The report and the description of a tagger."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatewise.tasks import SequenceTagger
from gatewise.tasks.tagging.report import SHOWN_TOKENS
from tasks.tagging_cases import LEARNS, QUICK_TAGGER, tagged_names

PARTS = (
    "Scores", "Labels", "Confusions", "Training", "Transitions", "Calibration",
    "Hardest sentences", "Settings",
)  # fmt: skip


@pytest.mark.parametrize("head", ["crf", "softmax"])
def test_the_report_holds_every_part(head: str, tmp_path: Path):
    X, y = tagged_names()
    model = SequenceTagger(**{**QUICK_TAGGER, "head": head}).fit(X, y, progress=False)
    page = model.write_report(tmp_path / "report.html").read_text()
    for heading in PARTS:
        assert (f">{heading}<" in page) == (heading != "Transitions" or head == "crf"), heading
    for part in ("most frequent tag of word", "learning_rate", "nats a token", "validation data"):
        assert part in page, part
    assert ("Empty cells are impossible" in page) == (head == "crf")


def test_the_hardest_sentence_comes_first_and_its_faults_are_marked(tmp_path: Path):
    model = SequenceTagger(**LEARNS).fit(*tagged_names(), progress=False)
    X, y = tagged_names(20, seed=1)
    X.append(["in", "Alva", "<Brin>"])
    y.append(["O", "B-PER", "I-PER"])  # against all that training has shown
    page = model.write_report(tmp_path / "report.html", X, y).read_text()
    hardest = page[page.index('class="sentences"') :]
    first = hardest[: hardest.index("</li>")]
    assert "the sentences, number 20" in first
    assert "&lt;Brin&gt;" in first
    assert "<small>true B-PER</small><small>said B-LOC</small>" in first


def test_confusions_are_those_of_labels_wherever_spans_begin(tmp_path: Path):
    model = SequenceTagger(**LEARNS).fit(*tagged_names(), progress=False)
    X = [["in", "Alva"], ["in", "Brin"], ["Mr", "Alva", "Brin"]]
    y = [["O", "B-PER"], ["O", "B-LOC"], ["O", "B-PER", "B-PER"]]  # the last is said in one span
    page = model.write_report(tmp_path / "report.html", X, y).read_text()
    assert "Most often mistaken: PER for LOC, 1 of 3 tokens." in page


def test_of_a_long_sentence_the_faults_are_shown(tmp_path: Path):
    model = SequenceTagger(**LEARNS).fit(*tagged_names(), progress=False)
    X, y = ([[one for each in part for one in each]] for part in tagged_names(60, seed=1))
    X[0] += ["in", "Wrong"]
    y[0] += ["O", "B-PER"]
    page = model.write_report(tmp_path / "report.html", X, y).read_text()
    assert f"{SHOWN_TOKENS} of {len(X[0])} tokens" in page
    assert 'class="token wrong"' in page


def test_what_is_described_adds_up():
    fields = {**QUICK_TAGGER, "casing_size": 3, "ngrams": 2, "ngram_size": 5, "max_epochs": 1}
    model = SequenceTagger(**fields).fit(*tagged_names(), progress=False)
    facts = model.describe()
    rows = {row["layer"]: row for row in facts["layers"]}
    width = 8 + 5 + 8 + 3  # of word, bigram, characters and casing
    assert rows["layer 1"]["size"] == f"{width} x 8"
    assert rows["layer 1"]["flops"] == 2 * 2 * 4 * 8 * (width + 8)
    assert rows["output"]["flops"] == 2 * 16 * len(facts["tags"])
    assert facts["flops_a_token"] == rows["layer 1"]["flops"] + rows["output"]["flops"]
    assert facts["scheme"] == "BIO"
    assert facts["trained_scheme"] == "BIOES"
    words = next(row for row in facts["vocabularies"] if row["of"] == "words")
    assert rows["words"]["size"] == f"{words['known']} x 8"
