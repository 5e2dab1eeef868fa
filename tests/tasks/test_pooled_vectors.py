"""The vectors of tokens, pooled beside the states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gatewise.errors import InvalidSettingsError
from gatewise.tasks import TextClassifier
from gatewise.tasks.classification.network import ClassifierNetwork, ClassifierShape
from gatewise.tasks.text.encoder import EncoderShape
from tasks.cases import QUICK_TEXTS, opinions


def network_of(pooling: tuple[str, ...], output_dropout: float = 0.0) -> ClassifierNetwork:
    encoder = EncoderShape(9, 4, 3, 3, bidirectional=True, output_dropout=output_dropout)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ClassifierNetwork(ClassifierShape(encoder, 2, pooling, (7,), pool_vectors=True))


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(9, (5, 2), generator=generator)
    return tokens, torch.tensor([5, 2]), torch.randint(7, (1, 5, 2), generator=generator)


def silent(network: ClassifierNetwork) -> ClassifierNetwork:
    """Leave to the head the pooled vectors alone."""
    with torch.no_grad():
        network.head.weight[:, : network.pool.width] = 0
    return network.eval()


def test_what_is_pooled_is_what_the_layers_read():
    network = silent(network_of(("last", "max", "mean")))
    tokens, lengths, grams = inputs()
    with torch.no_grad():
        got = network(tokens, lengths, grams)
        for b, length in enumerate([5, 2]):
            own = network.encoder.embedding.weight[tokens[:length, b]]
            number = grams[0, :length, b]
            table = network.ngrams[0]
            assert isinstance(table, torch.nn.Embedding)
            own = own + table.weight[number]
            pooled = torch.cat([own.amax(0), own.mean(0)])
            head = network.head.weight[:, network.pool.width :]
            torch.testing.assert_close(got[b], head @ pooled + network.head.bias)


def test_the_states_are_still_read():
    network = network_of(("mean",)).eval()
    tokens, lengths, grams = inputs()
    with torch.no_grad():
        before = network(tokens, lengths, grams)
        network.head.weight[:, network.pool.width :] = 0
        without = network(tokens, lengths, grams)
        turned = network(tokens.flip(0)[:, :1], lengths[:1], grams.flip(1)[:, :, :1])
    assert not torch.allclose(before, without)
    # A mean of vectors does not know their order.
    assert not torch.allclose(turned[0], without[0])


def test_a_shift_moves_the_pooled_vectors():
    network = silent(network_of(("mean",)))
    tokens, lengths, grams = inputs()
    shift = torch.zeros(5, 2, 4)
    shift[1, 0] = 1.0
    with torch.no_grad():
        moved = network(tokens, lengths, grams, shift=shift) - network(tokens, lengths, grams)
        head = network.head.weight[:, network.pool.width :]
    torch.testing.assert_close(moved[0], head.sum(1) / 5)
    torch.testing.assert_close(moved[1], torch.zeros(2))


def test_their_features_are_dropped_with_those_of_the_last_layer():
    network = silent(network_of(("mean",), output_dropout=0.5)).train()
    tokens, lengths, grams = inputs()
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = {tuple(network(tokens, lengths, grams)[0].tolist()) for _ in range(20)}
    assert len(drawn) > 4


@pytest.mark.parametrize("pooling", [("mean",), ("last", "attention")])
def test_it_is_fitted_and_saved(pooling: tuple[str, ...], tmp_path: Path):
    model = TextClassifier(**QUICK_TEXTS).set_params(pooling=pooling, pool_vectors=True)
    model.fit(opinions(100), progress=False)
    assert model.network_.vector_pool is not None
    loaded = TextClassifier.load(model.save(tmp_path / "model"))
    test = opinions(30, seed=1)
    np.testing.assert_array_equal(loaded.predict_proba(test), model.predict_proba(test))


def test_there_is_no_last_vector():
    with pytest.raises(InvalidSettingsError, match=r"pool_vectors: expected False with pooling"):
        TextClassifier(pooling=("last",), pool_vectors=True).fit(opinions(30), progress=False)
