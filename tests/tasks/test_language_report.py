"""The page of a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gatewise.tasks import LanguageModel, load
from tasks.cases import QUICK_LANGUAGE, sentences


@pytest.mark.parametrize("tokens", ["words", "characters"])
def test_the_page_shows_scores_samples_and_surprises(tokens: str, tmp_path: Path) -> None:
    texts = [*sentences(), "<b>bold</b> & odd"]
    model = LanguageModel(**QUICK_LANGUAGE, tokens=tokens).fit(texts, progress=False)
    page = model.write_report(tmp_path / "report.html").read_text()
    headings = ["Scores", "Training", "Samples", "Temperature 0.5:", "Surprise, token by token",
                "Hardest tokens", "Settings"]  # fmt: skip
    assert [one for one in headings if one not in page] == []
    assert "<b>bold" not in page
    assert f"{model.scores_['model']['perplexity']:.3g}"[:3] in page


def test_a_loaded_model_shows_what_it_has_and_more_with_texts(tmp_path: Path) -> None:
    model = LanguageModel(**QUICK_LANGUAGE).fit(sentences(), progress=False)
    loaded = load(model.save(tmp_path / "model"))
    assert "Hardest tokens" in (tmp_path / "model" / "report.html").read_text()
    bare = loaded.write_report(tmp_path / "bare.html").read_text()
    assert "Hardest tokens" not in bare
    assert "Temperature 0.8:" in bare
    assert "Hardest tokens" in loaded.write_report(tmp_path / "x.html", sentences(9)).read_text()


def test_samples_repeat(tmp_path: Path) -> None:
    fit: Any = LanguageModel(**QUICK_LANGUAGE, mark_ends=False).fit(sentences(), progress=False)
    first = fit.write_report(tmp_path / "a.html").read_text()
    assert fit.write_report(tmp_path / "b.html").read_text() == first
