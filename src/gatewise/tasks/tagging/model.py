"""A fitted tagger: the network, what it knows of its data, and its runs over sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from gatewise.data.text import Buckets, Tagged
from gatewise.tasks.tagging.baselines import TagBaselines
from gatewise.tasks.tagging.features import TokenFeatures
from gatewise.tasks.tagging.network import TaggerNetwork
from gatewise.tasks.tagging.sentences import SentenceSet
from gatewise.tasks.tagging.tags import TagSet

TOKENS = 8192
"""Tokens that are read at once where nothing is learned, padding included."""


@dataclass
class TaggerModel:
    """A network and the data it belongs to.

    Args:
        network: Trained, in eval mode.
        features: How tokens become numbers.
        tags: How tags do.
        baselines: What counting the training set gives.
        longest: Tokens of a sentence that are read at once.
        vectors: What was found in a file of word vectors, in words; empty without one.
    """

    network: TaggerNetwork
    features: TokenFeatures
    tags: TagSet
    baselines: TagBaselines
    longest: int
    vectors: str = ""

    def sentences(self, records: Sequence[Tagged], *, tagged: bool) -> SentenceSet:
        """Return sentences as numbers.

        Args:
            records: The sentences; with settled tags if those are wanted.
            tagged: Whether tags are wanted.
        """
        return SentenceSet(records, self.features, self.tags if tagged else None, self.longest)

    @torch.no_grad()
    def tag(self, sentences: SentenceSet) -> list[list[str]]:
        """Return the user's tags of each sentence."""
        said: list[list[str]] = [[] for _ in sentences.pieces]
        for run in runs(self.network, sentences):
            paths = self.network.head.decode(run.emissions, run.lengths)
            for number, path in zip(run.numbers, paths, strict=True):
                said[number] = self.tags.decode(path)
        return sentences.joined(said)

    @torch.no_grad()
    def log_likelihoods(self, sentences: SentenceSet) -> Float[np.ndarray, "N"]:
        """Return ln p of the true tags of each sentence."""
        values = np.zeros(len(sentences.sentences))
        for run in runs(self.network, sentences):
            tags = sentences.truth(run.numbers).to(run.emissions.device)
            found = self.network.head(run.emissions, tags, run.lengths).double().cpu().numpy()
            owners = [sentences.pieces[number].sentence for number in run.numbers]
            np.add.at(values, owners, found)
        return values

    @torch.no_grad()
    def confidences(self, sentences: SentenceSet) -> tuple[np.ndarray, np.ndarray]:
        """Return how probable the likeliest tag of each token is, and whether it is the true one.

        The likeliest by the marginals, which is what a probability is promised for.
        """
        promised, held = [], []
        for run in runs(self.network, sentences):
            marginals = self.network.head.marginals(run.emissions, run.lengths)
            best, tags = marginals.max(2)
            inside = torch.arange(len(best), device=best.device)[:, None] < run.lengths
            right = tags == sentences.truth(run.numbers).to(tags.device)
            promised.append(best[inside].double().cpu().numpy())
            held.append(right[inside].cpu().numpy())
        return np.concatenate(promised), np.concatenate(held)


@dataclass(frozen=True)
class Run:
    """A batch that the network has read.

    Args:
        numbers: Which pieces.
        emissions: Scores of their tags, T×B×K.
        lengths: Of the pieces, B.
    """

    numbers: list[int]
    emissions: Float[Tensor, "T B K"]
    lengths: Int64[Tensor, "B"]


def runs(network: nn.Module, sentences: SentenceSet) -> Iterator[Run]:
    """Read all pieces, those of like length together; call it under ``torch.no_grad``.

    Args:
        network: A ``TaggerNetwork`` in eval mode, or what the loop has wrapped around one.
        sentences: The pieces.
    """
    device = next(network.parameters()).device
    tokens = max(TOKENS, int(sentences.lengths.max()))
    for batch in Buckets(sentences.lengths, tokens=tokens).in_order():
        numbers = batch.tolist()
        inputs = {name: part.to(device) for name, part in sentences.batch(numbers).items()}
        yield Run(numbers, network(**inputs), inputs["lengths"])
