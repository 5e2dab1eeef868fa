"""Checks that need the package as users have it: export of the network, and its own type errors."""

from __future__ import annotations

import pytest
import torch

from gatewise.errors import GatewiseError, InvalidSettingsError, InvalidTypeError
from gatewise.tasks import Forecaster, LanguageModel, SequenceTagger
from tasks.cases import QUICK, QUICK_LANGUAGE, sentences, waves


@pytest.mark.parametrize("reader", ["points", "segments"])
@pytest.mark.parametrize("embedding", [False, True])
def test_the_network_exports_with_any_number_of_windows(reader: str, embedding: bool):
    frame = waves(rows=80, series=("a", "b", "c"))
    model = Forecaster(**QUICK, reader=reader, series_embedding=embedding)
    network = model.fit(frame, progress=False).network_
    inputs = model.encode(frame)
    batch = torch.export.Dim("batch", min=1)
    shapes = {name: {0: batch} for name in inputs}
    exported = torch.export.export(network, (), kwargs=inputs, dynamic_shapes=shapes).module()
    more = model.encode(waves(rows=80, series=("a", "b", "c", "d", "e")))
    torch.testing.assert_close(exported(**more), network(**more))


def test_the_constructor_takes_anything_and_fit_refuses_it():
    model = Forecaster(horizon="24", past_covariates="x", dropout=None)
    with pytest.raises(InvalidSettingsError) as caught:
        model.fit(waves(rows=80))
    assert {fault.where for fault in caught.value.faults} == {
        "horizon",
        "past_covariates",
        "dropout",
    }


def test_texts_of_a_wrong_type_are_our_own_errors():
    model = LanguageModel(**QUICK_LANGUAGE).fit(sentences(), progress=False)
    wrong = [
        ({"top_k": 1.5}, "top_k: expected an integer ≥ 1"),
        ({"temperature": "hot"}, "temperature: expected a number"),
        ({"stop": 3}, "stop: expected a text, a list of texts or None, got int"),
        ({"prompt": 3}, "prompt: expected a text or a list of texts, got int"),
        ({"prompt": ["a", 3]}, "prompt: expected a text or a list of texts, got list"),
    ]
    for options, message in wrong:
        with pytest.raises(GatewiseError, match=message):
            model.generate(**options)
    assert "".join(model.generate("the", temperature=0, length=2))
    with pytest.raises(GatewiseError, match="the texts, number 1: expected a text"):
        LanguageModel(**QUICK_LANGUAGE).fit(["a", 3])


def test_tokens_that_are_no_texts_are_refused_by_name():
    with pytest.raises(InvalidTypeError, match="number 0: expected a text, got 3"):
        SequenceTagger().fit([["a", 3]], [["O", "B"]], progress=False)


@pytest.mark.parametrize("wrong", [3, object()])
def test_what_is_no_source_of_sentences_is_refused(wrong: object):
    with pytest.raises(InvalidTypeError, match=r"SequenceTagger\.fit: X|a list of texts"):
        SequenceTagger().fit(wrong, progress=False)
