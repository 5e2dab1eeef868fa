"""Adversarial training of language models: what is added to the loss, and that it matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from gatewise.data.text import as_texts
from gatewise.tasks import LanguageModel
from gatewise.tasks.language.corpus import learn_language, write_corpus
from gatewise.tasks.language.network import LanguageNetwork
from gatewise.tasks.language.task import LanguageTask
from gatewise.tasks.language.training import shape_of
from gatewise.tasks.text.adversarial import embedding_spread
from support.tiny_task import assert_same_weights
from tasks.cases import QUICK_LANGUAGE, sentences

STILL = {"input_dropout": 0.0, "hidden_dropout": 0.0, "output_dropout": 0.0}


def prepared(tmp_path: Path, **changes: Any) -> tuple[LanguageTask, LanguageNetwork, Any]:
    settings = LanguageModel(**QUICK_LANGUAGE, **changes)._validated()
    language = learn_language(settings, lambda: as_texts(sentences()))
    corpus = write_corpus(language, lambda: as_texts(sentences()), tmp_path / "tokens.npy")
    torch.manual_seed(0)
    network = LanguageNetwork(shape_of(settings, language))
    task = LanguageTask(corpus, corpus, language.vocabulary.counts, settings)
    return task, network, language


def test_fgm_adds_the_loss_where_each_sequence_is_moved_most(tmp_path: Path) -> None:
    task, network, language = prepared(tmp_path, adversarial="fgm", adversarial_radius=0.3, **STILL)
    step = task.loss(network, task.batches(1, torch.Generator())[0])
    window = task._read(task._train).window(0, 8)
    weight = network.encoder.embedding.weight
    spread = embedding_spread(weight.detach(), torch.tensor(language.vocabulary.counts))
    shift = torch.zeros(*window.inputs.shape, weight.shape[1], requires_grad=True)
    loss = network(window.inputs, window.targets, shift=shift).loss
    (slope,) = torch.autograd.grad(loss, shift)
    scaled = spread * slope
    moved = spread * 0.3 * scaled / scaled.norm(dim=(0, 2), keepdim=True)
    against = network(window.inputs, window.targets, shift=moved).loss
    torch.testing.assert_close(step.total / step.weight, loss.detach())
    torch.testing.assert_close(step.objective / step.weight, loss + against, rtol=1e-4, atol=1e-5)
    assert against > loss


def test_vat_adds_how_far_the_outputs_move_without_looking_at_targets(tmp_path: Path) -> None:
    task, network, _ = prepared(tmp_path, adversarial="vat", adversarial_radius=0.5, **STILL)
    indices = task.batches(1, torch.Generator())[0]
    torch.manual_seed(3)
    first = task.loss(network, indices)
    task.carry({})
    torch.manual_seed(3)
    again = task.loss(network, indices)
    assert first.objective is not None
    assert again.objective is not None
    assert first.objective.item() == again.objective.item()
    extra = (first.objective - first.total).item() / first.weight.item()
    assert 0 < extra < 1
    window = task._read(task._train).window(0, 8)
    reading = network(window.inputs, window.targets, with_logits=True)
    assert reading.logits is not None
    want = F.cross_entropy(reading.logits.flatten(0, 1), window.targets.flatten())
    torch.testing.assert_close(reading.loss, want)


@pytest.mark.parametrize("kind", ["fgm", "vat"])
def test_it_learns_and_repeats(kind: Any) -> None:
    settings = {**QUICK_LANGUAGE, "max_epochs": 3, "learning_rate": 0.02, "adversarial": kind}
    one, two = (LanguageModel(**settings).fit(sentences(), progress=False) for _ in range(2))
    assert_same_weights(one.network_, two.network_)
    assert one.history_[-1].train_loss < one.history_[0].train_loss
    plain = LanguageModel(**{**settings, "adversarial": "none"}).fit(sentences(), progress=False)
    assert plain.scores_ != one.scores_
