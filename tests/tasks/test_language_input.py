"""What a language model refuses, and what it says then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gatewise.errors import GatewiseError, InvalidSettingsError, InvalidStateError
from gatewise.tasks import LanguageModel
from tasks.cases import QUICK_LANGUAGE, sentences


def quick(**changes: Any) -> LanguageModel:
    return LanguageModel(**{**QUICK_LANGUAGE, **changes})


WRONG_SETTINGS = [
    ({"tokens": "syllables"}, "tokens: expected words, spaces"),
    ({"tokens": "subwords", "vocabulary_size": 100}, "vocabulary_size: expected at least 257"),
    ({"cell": "rnn", "weight_dropout": 0.5}, "weight_dropout: expected 0 with cell='rnn'"),
    ({"output": "adaptive"}, "tied: expected False with output='adaptive'"),
    ({"output": "adaptive", "tied": False}, "hidden_size: expected at least 16"),
    ({"cutoffs": (9, 3)}, "cutoffs: expected ascending numbers"),
    ({"output": "adaptive", "tied": False, "hidden_size": 16}, "cutoffs: expected numbers below"),
    ({"streams": 2000}, "the texts to learn: expected at least 2001 tokens"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_SETTINGS)
def test_wrong_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GatewiseError, match=message):
        quick(**changes).fit(sentences(), progress=False)


def test_wrong_texts(tmp_path: Path) -> None:
    latin = tmp_path / "latin.txt"
    latin.write_bytes("one\nzwölf\n".encode("latin-1"))
    with pytest.raises(GatewiseError, match=r"latin.txt, line 2: expected text in UTF-8"):
        quick().fit(latin, progress=False)
    assert quick(encoding="latin-1", streams=1, validation_size=0.0).fit(latin, progress=False)
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    with pytest.raises(GatewiseError, match="at least one text"):
        quick().fit(empty, progress=False)
    with pytest.raises(GatewiseError, match="X: expected a path, a table or a list"):
        quick().fit(None)
    with pytest.raises(GatewiseError, match="y: expected nothing"):
        quick().fit(["a"], ["b"])
    with pytest.raises(GatewiseError, match="validation_size"):
        quick().fit(["ab"], progress=False)


def test_wrong_numbers_of_streams() -> None:
    model = quick().fit(sentences(), progress=False)
    with pytest.raises(GatewiseError, match="streams: expected at least 1, got 0"):
        model.evaluate(sentences(), streams=0)
    with pytest.raises(GatewiseError, match="at least 100001 tokens for 100000 streams"):
        model.evaluate(sentences(), streams=100_000)


def test_what_is_not_fitted_says_so() -> None:
    for call in ("score", "generate", "evaluate", "predict", "encode"):
        with pytest.raises(InvalidStateError, match=f"LanguageModel.{call}"):
            getattr(LanguageModel(), call)("text")
    with pytest.raises(InvalidSettingsError):
        LanguageModel(streams=-1).fit(["a"])
