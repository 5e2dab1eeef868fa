"""A fitted classifier as files, and back; nothing in them is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from gatewise.data.text import Vocabulary
from gatewise.tasks import saving
from gatewise.tasks.classification.baselines import Baselines
from gatewise.tasks.classification.model import ClassifierModel
from gatewise.tasks.classification.network import ClassifierNetwork, ClassifierShape
from gatewise.tasks.classification.pretrained import PREFIX
from gatewise.tasks.classification.reading import TextReader
from gatewise.tasks.course import Course, Fitted
from gatewise.training import storage

_BASELINES: Final = "baselines."
"""Of the names of what is no weight of the network."""


def write(directory: Path, fitted: Fitted[ClassifierModel]) -> None:
    """Write weights, schema and metrics into a directory."""
    model = fitted.model
    counted = {_BASELINES + name: held for name, held in model.baselines.to_tensors().items()}
    storage.atomic_write_tensors(
        directory / saving.WEIGHTS, {**model.network.state_dict(), **counted}, {}
    )
    storage.atomic_write_json(
        directory / saving.SCHEMA,
        {
            **model.reader.to_dict(),
            "labels": model.labels.to_dict(),
            "multi_label": model.multi_label,
            "network": model.network.shape.to_dict(),
            "baselines": model.baselines.to_dict(),
        },
    )
    fitted.course.write(directory)


def read(directory: Path) -> Fitted[ClassifierModel]:
    """Return what ``write`` wrote.

    Raises:
        InvalidFileError: A file is missing or damaged.
        InvalidStateError: Vocabulary and weights do not belong together.
    """
    known = storage.read_json(directory / saving.SCHEMA)
    course = Course.read(directory)
    tensors, _ = storage.read_tensors(directory / saving.WEIGHTS)
    reader, labels = TextReader.from_dict(known), Vocabulary.from_dict(known["labels"])
    for vocabulary, name in (
        (reader.vocabulary, f"{PREFIX}embedding.weight"),
        (labels, "head.weight"),
        *((one, f"ngrams.{k}.weight") for k, one in enumerate(reader.ngrams)),
        *(() if reader.parts is None else ((reader.parts.vocabulary, "parts.weight"),)),
    ):
        vocabulary.require_rows(len(tensors[name]), f"'{directory / saving.WEIGHTS}', {name}")
    counted = {
        name.removeprefix(_BASELINES): tensors.pop(name)
        for name in list(tensors)
        if name.startswith(_BASELINES)
    }
    # Without memory of its own: sizes that the weights do not bear out cost nothing.
    with torch.device("meta"):
        network = ClassifierNetwork(ClassifierShape.from_dict(known["network"]))
    network.load_state_dict(tensors, assign=True)
    model = ClassifierModel(
        network.eval(),
        reader,
        labels,
        bool(known["multi_label"]),
        Baselines.from_saved(known["baselines"], counted),
    )
    return Fitted(model, course)
