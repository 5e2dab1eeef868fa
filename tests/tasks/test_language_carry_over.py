"""Language models that begin each text anew rather than from the state after the one before."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from gatewise.errors import InvalidSettingsError
from gatewise.tasks import LanguageModel, load
from gatewise.tasks.recurrent_cells import Cell
from tasks.cases import QUICK_LANGUAGE, sentences


def fitted(**changes: Any) -> LanguageModel:
    settings = {**QUICK_LANGUAGE, "learning_rate": 0.03, **changes}
    return LanguageModel(**settings).fit(sentences(), progress=False)


def nats(model: LanguageModel, texts: list[str]) -> list[float]:
    """−ln p of each token of texts that are read as one stream."""
    network, language = model.network_, model.language_
    end = language.end_number
    row = [end] + [number for text in texts for number in (*language.encode(text).tolist(), end)]
    tokens = torch.tensor(row).view(-1, 1)
    with torch.inference_mode():
        return network.losses(tokens[:-1], tokens[1:])[0].flatten().tolist()


@pytest.mark.parametrize("cell", get_args(Cell))
def test_a_text_is_read_as_if_it_were_alone(cell: str) -> None:
    texts = sentences(3, seed=5)
    for carry_over in (False, True):
        model = fitted(cell=cell, carry_over=carry_over)
        alone = [loss for text in texts for loss in nats(model, [text])]
        same = torch.allclose(torch.tensor(nats(model, texts)), torch.tensor(alone), atol=1e-5)
        assert same != carry_over


def test_training_reads_so_too_and_files_keep_it(tmp_path: Any) -> None:
    one, other = fitted(carry_over=False), fitted(carry_over=True)
    assert one.history_[0].train_loss != other.history_[0].train_loss
    one.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert again.carry_over is False
    text = sentences(2, seed=8)
    assert nats(again, text) == nats(one, text)


def test_a_prompt_hides_what_stands_before_its_last_line() -> None:
    model = fitted(tokens="characters", carry_over=False)
    pieces = [
        "".join(model.generate(prompt, length=20, seed=3)) for prompt in ("Ada", "a dog .\nAda")
    ]
    assert pieces[0] == pieces[1]
    after, alone = (
        model.network_.logits(model.encode([prompt])["tokens"])[0]
        for prompt in ("a dog .\nAda", "Ada")
    )
    torch.testing.assert_close(after, alone)


def test_texts_without_ends_cannot_begin_anew() -> None:
    with pytest.raises(
        InvalidSettingsError, match="carry_over: expected True with mark_ends=False"
    ):
        fitted(carry_over=False, mark_ends=False)
