"""What a fit of a tagger works on: batches, the likelihood of their tags, and the scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gatewise.data.text import Buckets
from gatewise.nn import CRF
from gatewise.tasks.tagging.model import runs
from gatewise.tasks.tagging.sentences import SentenceSet
from gatewise.tasks.tagging.softmax import SoftmaxTags
from gatewise.tasks.tagging.tag_scores import new_scores
from gatewise.tasks.tagging.tags import TagSet
from gatewise.training import StepLoss


class TaggingTask:
    """What the training loop asks for.

    Args:
        train: Sentences to train on, with tags.
        held: Sentences that decide when to stop, with tags.
        tags: What their numbers mean.
        head: Of the network, to decode with.
        buckets: The batches of ``train``.
        replaced: Probability by which a word that occurs once is unknown in training.
    """

    def __init__(
        self,
        train: SentenceSet,
        held: SentenceSet,
        tags: TagSet,
        head: CRF | SoftmaxTags,
        buckets: Buckets,
        replaced: float,
    ) -> None:
        self.train, self.held, self.tags, self.head = train, held, tags, head
        self.buckets, self.replaced = buckets, replaced

    def batches(self, epoch: int, generator: torch.Generator) -> Sequence[Tensor]:  # noqa: ARG002
        """Return the batches of an epoch, a function of the seed and its number."""
        return [torch.from_numpy(batch) for batch in self.buckets.epoch(epoch)]

    def loss(self, network: nn.Module, indices: Tensor) -> StepLoss:
        """Return the negative log-likelihood of the tags of some sentences, and their tokens."""
        device, numbers = next(network.parameters()).device, indices.tolist()
        inputs = self.train.batch(numbers, replaced=self.replaced)
        inputs["tags"] = self.train.truth(numbers)
        log_likelihood = network(**{name: part.to(device) for name, part in inputs.items()})
        return StepLoss(-log_likelihood.sum(), inputs["lengths"].sum().to(log_likelihood))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the loss of a token, and the scores of the tags that are predicted."""
        total, said = 0.0, [[] for _ in self.held.pieces]
        for run in runs(network, self.held):
            tags = self.held.truth(run.numbers).to(run.emissions.device)
            total -= float(self.head(run.emissions, tags, run.lengths).double().sum())
            for number, path in zip(
                run.numbers, self.head.decode(run.emissions, run.lengths), strict=True
            ):
                said[number] = self.tags.decode(path)
        counts = new_scores(spans=self.tags.spans)
        for one, guess in zip(self.held.sentences, self.held.joined(said), strict=True):
            counts.add(one.tags, guess)
        return {"loss": total / int(self.held.lengths.sum()), **counts.scores()}
