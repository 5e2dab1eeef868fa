"""A fitted tagger as files, and back; nothing in them is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gatewise.nn import CRF
from gatewise.tasks import saving
from gatewise.tasks.course import Course, Fitted
from gatewise.tasks.tagging.baselines import TagBaselines
from gatewise.tasks.tagging.features import TokenFeatures
from gatewise.tasks.tagging.model import TaggerModel
from gatewise.tasks.tagging.network import TaggerNetwork, TaggerShape
from gatewise.tasks.tagging.tags import TagSet
from gatewise.training import storage


def write(directory: Path, fitted: Fitted[TaggerModel]) -> None:
    """Write weights, vocabularies and metrics into a directory."""
    model = fitted.model
    head = model.network.head
    storage.atomic_write_tensors(directory / saving.WEIGHTS, model.network.state_dict(), {})
    storage.atomic_write_json(
        directory / saving.SCHEMA,
        {
            "features": model.features.to_dict(),
            "tags": model.tags.to_dict(),
            "baselines": model.baselines.to_dict(),
            "network": model.network.shape.to_dict(),
            "constrained": isinstance(head, CRF) and head.constraints is not None,
            "longest": model.longest,
            "vectors": model.vectors,
        },
    )
    fitted.course.write(directory)


def read(directory: Path) -> Fitted[TaggerModel]:
    """Return what ``write`` wrote.

    Raises:
        InvalidFileError: A file is missing or damaged.
        InvalidStateError: Vocabularies and weights are not of the same model.
    """
    known = storage.read_json(directory / saving.SCHEMA)
    course = Course.read(directory)
    tensors, _ = storage.read_tensors(directory / saving.WEIGHTS)
    features, tags = TokenFeatures.from_dict(known["features"]), TagSet.from_dict(known["tags"])
    shape = TaggerShape.from_dict(known["network"])
    _check_rows(directory, features, tags, tensors)
    constraints = tags.constraints if known["constrained"] else None
    # Without memory of its own: sizes that the weights do not bear out cost nothing.
    with torch.device("meta"):
        network = TaggerNetwork(shape, constraints)
    network.load_state_dict(tensors, assign=True)
    baselines = TagBaselines.from_dict(known["baselines"])
    model = TaggerModel(
        network.eval(), features, tags, baselines, int(known["longest"]), str(known["vectors"])
    )
    return Fitted(model, course)


def _check_rows(
    directory: Path,
    features: TokenFeatures,
    tags: TagSet,
    tensors: dict[str, Tensor],
) -> None:
    """Refuse vocabularies that are not those of the weights."""
    pairs: list[tuple[str, Any]] = [
        ("encoder.embedding.weight", features.words),
        ("characters.embedding.weight", features.characters),
        *((f"ngrams.{n}.weight", one) for n, one in enumerate(features.ngrams)),
        ("output.bias", tags.known),
    ]
    for name, vocabulary in pairs:
        if vocabulary is not None and name in tensors:
            vocabulary.require_rows(len(tensors[name]), f"'{directory / saving.WEIGHTS}': {name}")
