"""What estimators of texts share: fields, dropouts, the encoder and its states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.nn import LSTM
from gatewise.tasks.text.dropout import SequenceDropout, WordDropout
from gatewise.tasks.text.encoder import (
    EncoderShape,
    TokenEncoder,
    detached,
    from_tensors,
    of_sequences,
    to_tensors,
)
from gatewise.tasks.text.fields import LabelFields, SourceFields, TokenFields, is_list

CELLS = ["lstm", "gru", "rnn", "min_gru", "min_lstm", "slstm", "mlstm", "xlstm"]


@dataclass(kw_only=True)
class Sources(SourceFields):
    """The fields with a constructor."""


@dataclass(kw_only=True)
class Labels(LabelFields):
    """The fields with a constructor."""


@dataclass(kw_only=True)
class Tokens(TokenFields):
    """The fields with a constructor."""


def encoder(**changes: Any) -> TokenEncoder:
    torch.manual_seed(0)
    sizes = {"words": 20, "embedding_size": 6, "hidden_size": 8, "last_size": 4, "num_layers": 2}
    return TokenEncoder(EncoderShape(**sizes | changes)).eval()


def tokens(T: int = 7, B: int = 3) -> Tensor:
    return torch.randint(20, (T, B), generator=torch.Generator().manual_seed(1))


def test_the_encoder_is_its_layers_one_above_the_other() -> None:
    ours, x = encoder(), tokens()
    first, second = LSTM(6, 8), LSTM(8, 4)
    first.load_state_dict(ours.layers[0].state_dict())
    second.load_state_dict(ours.layers[1].state_dict())
    y, state = first(ours.embedding(x))
    y, last = second(y)
    output, raw, states = ours(x)
    torch.testing.assert_close(output, y)
    assert raw is output
    torch.testing.assert_close(states, [state, last])
    both = encoder(bidirectional=True)
    assert both(x).output.shape == (7, 3, both.shape.width) == (7, 3, 8)


@pytest.mark.parametrize("cell", CELLS)
def test_states_go_on_and_survive_a_file(cell: Any) -> None:
    ours, x = encoder(cell=cell), tokens()
    whole = ours(x)
    first = ours(x[:4])
    named = to_tensors(detached(first.states))
    assert not any(value.requires_grad for value in named.values())
    rest = ours(x[4:], from_tensors(named))
    torch.testing.assert_close(torch.cat([first.output, rest.output]), whole.output)
    chosen = torch.tensor([2, 0])
    some = ours(x[4:, chosen], of_sequences(first.states, chosen))
    torch.testing.assert_close(some.output, rest.output[:, chosen])


@pytest.mark.parametrize("cell", ["lstm", "xlstm"])
def test_lengths_are_heeded(cell: Any) -> None:
    ours, x = encoder(bidirectional=True, cell=cell), tokens()
    lengths = torch.tensor([7, 2, 5])
    together = ours(x, lengths=lengths).output
    for b, length in enumerate(lengths.tolist()):
        alone = ours(x[:length, b : b + 1]).output
        torch.testing.assert_close(together[:length, b : b + 1], alone)


def test_features_are_dropped_at_every_step_alike() -> None:
    torch.manual_seed(0)
    x = torch.rand(5, 40, 50) + 1
    y = SequenceDropout(0.3)(x)
    dropped = y == 0
    assert dropped.equal(dropped[:1].expand_as(dropped))
    assert dropped[0].float().mean() == pytest.approx(0.3, abs=0.04)
    torch.testing.assert_close(y[~dropped], x[~dropped] / 0.7)
    assert SequenceDropout(0.3).eval()(x) is x
    assert SequenceDropout(0.0)(x) is x
    assert repr(SequenceDropout(0.3)) == "SequenceDropout(p=0.3)"


def test_words_are_dropped_wherever_they_occur() -> None:
    torch.manual_seed(0)
    numbers = torch.randint(200, (30, 20))
    vectors = torch.rand(30, 20, 6) + 1
    y = WordDropout(0.4)(vectors, numbers, 200)
    gone = (y == 0).all(-1)
    assert gone.equal((y == 0).any(-1))
    words = {int(n) for n in numbers[gone]}
    assert words.isdisjoint({int(n) for n in numbers[~gone]})
    assert len(words) / len(numbers.unique()) == pytest.approx(0.4, abs=0.1)
    torch.testing.assert_close(y[~gone], vectors[~gone] / 0.6)
    assert WordDropout(0.4).eval()(vectors, numbers, 200) is vectors


def test_texts_come_from_files_frames_and_lists(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    frame = pd.DataFrame({"body": ["one", "two"], "kind": ["a", "b"]}, index=[7, 9])
    frame.to_csv(path, index=False)
    fields = Labels(text_column="body", label_column="kind")
    for source, labels in ((path, None), (frame, None), (frame["body"], frame["kind"])):
        read = list(fields.read_labelled("Test.fit", source, labels))
        assert [(one.text, one.labels) for one in read] == [("one", ("a",)), ("two", ("b",))]
    assert [one.text for one in fields.read("Test.fit", path)] == ["one", "two"]
    lines = tmp_path / "lines.txt"
    lines.write_text("a|one two\nb|three\n")
    first = Labels(layout="label-first", separator="|")
    assert [one.labels for one in first.read_labelled("Test.fit", lines)] == [("a",), ("b",)]
    blank = Sources()
    assert [one.text for one in blank.read("T", ["a", "", "b"], keep_blank=True)] == ["a", "", "b"]


def test_what_cannot_be_read_is_said() -> None:
    with pytest.raises(GatewiseError, match=r"Test.fit: X: expected a path, a table or a list"):
        list(Sources().read("Test.fit", None))
    with pytest.raises(GatewiseError, match=r"Test.fit: y: expected a label for each text"):
        list(Labels().read_labelled("Test.fit", ["a"]))
    frame = pd.DataFrame({"text": ["a"], "label": ["x"]})
    with pytest.raises(GatewiseError, match=r"Test.fit: y: expected nothing beside a file"):
        list(Labels().read_labelled("Test.fit", frame, ["x"]))
    assert is_list("T", ("a",))
    assert not is_list("T", frame)
    assert not is_list("T", "path.txt")


def test_tokenizers_by_their_fields() -> None:
    assert Tokens().fit_tokenizer(["x"]).split("Don't go") == ["Don't", "go"]
    assert Tokens(lowercase=True).fit_tokenizer(["x"]).split("A b") == ["a", "b"]
    subwords = Tokens(tokens="subwords", vocabulary_size=258).fit_tokenizer(["abab abab"] * 3)
    assert subwords.split("ab") == ["ab"]
    assert Tokens().token_faults() == []
    assert "tokens: expected words" in str(Tokens(tokens="x").token_faults()[0])
    assert "257" in str(Tokens(tokens="subwords", vocabulary_size=9).token_faults()[0])
