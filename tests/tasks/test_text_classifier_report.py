"""The report of a classifier holds every part, and says where its numbers come from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gatewise.errors import InvalidValueError
from gatewise.tasks import TextClassifier, load
from tasks.cases import QUICK_TEXTS, opinions


@pytest.fixture(scope="module")
def model() -> TextClassifier:
    frame = opinions(160)
    frame.loc[0, "text"] = "<script>alert(1)</script> " + "very " * 300 + "fine"
    return TextClassifier(**QUICK_TEXTS).fit(frame, validation=frame[:60], progress=False)


def test_the_report_holds_every_part(model: TextClassifier, tmp_path: Path):
    page = model.write_report(tmp_path / "report.html").read_text()
    for heading in (
        "Scores", "Confusions", "Classes", "Calibration", "Hardest texts", "Training", "Settings",
    ):  # fmt: skip
        assert f">{heading}<" in page, heading
    for part in ("naive bayes", "majority", "Macro F1", "learning_rate", "validation data"):
        assert part in page, part
    assert "The best epoch was chosen on these texts." in page
    assert "160 training texts · 60 texts classified" in page


def test_the_hardest_texts_are_the_surest_mistakes(model: TextClassifier, tmp_path: Path):
    frame = opinions(80, seed=4)
    page = model.write_report(tmp_path / "report.html", frame).read_text()
    (part,) = re.findall(r">Hardest texts</h2>(.*?)</section>", page, re.DOTALL)
    rows = re.findall(
        r'<th scope="row"[^>]*>(.*?)</th><td[^>]*>(.*?)</td><td[^>]*>(.*?)%</td>',
        part,
    )
    assert len(rows) == 12
    assert all(true != predicted for true, predicted, _ in rows)
    shares = [float(share) for _, _, share in rows]
    assert shares == sorted(shares)
    wrong = model.predict(frame) != frame["label"]
    own = [model.classes_.tolist().index(label) for label in frame["label"]]
    least = model.predict_proba(frame)[range(80), own][wrong].min()
    assert shares[0] == pytest.approx(100 * least, abs=0.06)
    assert f"12 of {wrong.sum()}" in part


def test_texts_are_escaped_and_cut(model: TextClassifier, tmp_path: Path):
    texts = ["<script>alert(1)</script> " + "very " * 300 + "fine", "the film is fine"]
    # Labels that cannot be right both: one of the two is among the mistakes.
    page = "".join(
        model.write_report(tmp_path / "report.html", [texts[0], texts[1]], pair).read_text()
        for pair in (["good", "bad"], ["bad", "good"], ["none", "none"])
    )
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; very very" in page
    assert "very " * 60 not in page
    assert "given data" in page
    assert "The best epoch was chosen" not in page


def test_a_loaded_model_needs_texts_to_report_on(model: TextClassifier, tmp_path: Path):
    loaded = load(model.save(tmp_path / "model"))
    with pytest.raises(InvalidValueError, match="write_report: X: expected labelled texts"):
        loaded.write_report(tmp_path / "report.html")
    page = loaded.write_report(tmp_path / "again.html", opinions(40)).read_text()
    assert "40 texts classified" in page


def test_a_perfect_model_says_so(tmp_path: Path):
    texts, labels = ["one one", "two two"] * 30, ["1", "2"] * 30
    fields = {**QUICK_TEXTS, "max_epochs": 8}
    model = TextClassifier(**fields).fit(texts, labels, progress=False)
    assert model.score(texts, labels) == 1
    assert (
        "All texts were classified rightly." in model.write_report(tmp_path / "a.html").read_text()
    )
