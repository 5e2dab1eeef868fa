"""What the training loop asks of a classifier: batches by length, the loss, scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from gatewise.data.text import Buckets, Vocabulary
from gatewise.tasks.classification.fields import TextClassifierFields
from gatewise.tasks.classification.model import logits, to_probabilities
from gatewise.tasks.classification.network import ClassifierNetwork
from gatewise.tasks.classification.reading import NumberedTexts
from gatewise.tasks.classification.scores import score
from gatewise.tasks.text.adversarial import (
    bernoulli_divergence,
    categorical_divergence,
    embedding_spread,
    fgm_loss,
    vat_loss,
)
from gatewise.training import StepLoss


class ClassifierTask:
    """What the training loop asks for.

    Args:
        fields: Settings of loss and batches.
        network: Whose embedding says how long a shift is, where training is adversarial.
        vocabulary: Of its tokens.
        train: Texts to train on.
        train_truth: Their labels.
        held: Texts that decide when to stop.
        held_truth: Their labels.
    """

    def __init__(
        self,
        fields: TextClassifierFields,
        network: ClassifierNetwork,
        vocabulary: Vocabulary,
        train: NumberedTexts,
        train_truth: Bool[Tensor, "N C"],
        held: NumberedTexts,
        held_truth: Bool[Tensor, "M C"],
    ) -> None:
        self.fields, self.network = fields, network
        self.counts = torch.tensor(vocabulary.counts)
        self.train, self.train_truth = train, train_truth
        self.held, self.held_truth = held, held_truth
        self.buckets = Buckets(
            train.lengths,
            tokens=fields.batch_tokens,
            sequences=fields.batch_size,
            seed=fields.seed,
            place_of=lambda k: train.texts[k].place,
        )
        texts = train_truth.sum(0).clamp_min(1)
        self.weight = torch.ones(len(texts))
        if fields.class_weight == "balanced":
            # As in scikit-learn; of several labels, a yes weighs as much as all that is no.
            yes = len(train_truth) / (len(texts) * texts)
            self.weight = (len(train_truth) - texts) / texts if fields.multi_label else yes

    def batches(self, epoch: int, generator: torch.Generator) -> Sequence[Tensor]:  # noqa: ARG002
        """Return all texts, those of like length together, in an order of seed and epoch."""
        return [torch.from_numpy(batch) for batch in self.buckets.epoch(epoch)]

    def loss(self, network: nn.Module, indices: Tensor) -> StepLoss:
        """Return the sum of the loss over texts, and their number or weight."""
        embedding = self.network.encoder.embedding.weight
        batch = self.train.batch(indices.numpy(), embedding.device)
        truth = self.train_truth[indices].to(embedding.device)
        kind, radius = self.fields.adversarial, self.fields.adversarial_radius
        if kind == "none":
            return self._step(self._loss_of(network(**batch), truth), truth)
        spread = embedding_spread(embedding.detach(), self.counts.to(embedding.device))
        T, B = batch["tokens"].shape
        if kind == "fgm":
            total, against = fgm_loss(
                lambda shift: self._loss_of(network(**batch, shift=shift), truth),
                (T, B), spread, radius,
            )  # fmt: skip
            return self._step(total, truth, against)
        valid = torch.arange(T, device=spread.device)[:, None] < batch["lengths"]
        divergence = bernoulli_divergence if self.fields.multi_label else categorical_divergence
        outputs, moved = vat_loss(
            lambda shift: network(**batch, shift=shift), valid, spread, radius, divergence
        )
        return self._step(self._loss_of(outputs, truth), truth, moved)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return loss and scores of the held-out texts."""
        several = self.fields.multi_label
        probabilities = to_probabilities(logits(network, self.held), multi_label=several)
        scores = score(self.held_truth.numpy(), probabilities, multi_label=several)
        kept = {name: scores[name] for name in ("accuracy", "f1_macro")}
        return {"loss": scores["log_loss"], **kept}

    def _step(
        self, total: Tensor, truth: Bool[Tensor, "n C"], further: Tensor | None = None
    ) -> StepLoss:
        """A sum, with what it is over; what is added for the gradient is no part of it."""
        if self.fields.multi_label:
            weight = torch.tensor(float(len(truth)), device=total.device)
        else:
            weight = self.weight.to(total.device).expand(truth.shape)[truth].sum()
        return StepLoss(total, weight, None if further is None else total + further)

    def _loss_of(
        self, outputs: Float[Tensor, "n C"], truth: Bool[Tensor, "n C"]
    ) -> Float[Tensor, ""]:
        """The sum of torch's cross-entropy over texts; of several labels, of its mean over them."""
        smoothing, weight = self.fields.label_smoothing, self.weight.to(outputs)
        if self.fields.multi_label:
            wanted = truth.to(outputs) * (1 - smoothing) + smoothing / 2
            losses = F.binary_cross_entropy_with_logits(
                outputs, wanted, pos_weight=weight, reduction="none"
            )
            return losses.mean(1).sum()
        numbers = truth.int().argmax(1)
        return F.cross_entropy(outputs, numbers, weight, label_smoothing=smoothing, reduction="sum")
