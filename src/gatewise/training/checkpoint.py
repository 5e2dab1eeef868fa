"""The whole state of a fit in one safetensors file, so that it can go on as if never stopped.

There are no random states in it: every draw is a function of the seed, the epoch and the batch.
The learning rate is a function of the position and the scores, so no schedule is stored either.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from gatewise.errors import InvalidFileError, InvalidSettingsError, InvalidValueError
from gatewise.training import storage
from gatewise.training.outcome import EpochRecord
from gatewise.training.settings import FREE_ON_RESUME, FitSettings

FILE: Final = "checkpoint.safetensors"
FORMER_FILE: Final = "checkpoint.former.safetensors"
_FORMAT = 1

Content = tuple[dict[str, Tensor], dict[str, str]]
"""What a checkpoint file holds: tensors and texts."""


@dataclass
class FitState:
    """Where a fit stands, apart from the network and its optimizer.

    Args:
        best: State dict of the best epoch so far; of the start before the first has ended.
        best_epoch: Its epoch, from 1; 0 before the first has ended.
        epoch: The epoch under way, from 1.
        batch: Batches of it that are done.
        loss_sum: Of those batches, over all processes.
        weight_sum: What ``loss_sum`` is a sum over.
        samples: Indices in those batches.
        seconds: Spent on them.
        order: Checksum of the batches of the epoch ``ordered_epoch``.
        ordered_epoch: The last epoch that was begun.
        history: The epochs that have ended.
        carried: For each process what its task goes on from; nothing between epochs.
        mean: Of the parameters by name, where that is taken; see ``averaging``.
        mean_steps: Over which it is taken.
    """

    best: dict[str, Any]
    best_epoch: int = 0
    epoch: int = 1
    batch: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    samples: int = 0
    seconds: float = 0.0
    order: str = ""
    ordered_epoch: int = 0
    history: list[EpochRecord] = field(default_factory=list)
    carried: list[dict[str, Tensor]] = field(default_factory=list)
    mean: dict[str, Tensor] = field(default_factory=dict)
    mean_steps: int = 0

    def next_epoch(self, record: EpochRecord) -> None:
        """Close the epoch under way and stand before the next."""
        self.history.append(record)
        self.epoch += 1
        self.batch = self.samples = 0
        self.loss_sum = self.weight_sum = self.seconds = 0.0
        self.carried = []


def save(
    directory: Path,
    state: FitState,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
    *,
    finished: bool,
) -> None:
    """Write the checkpoint of ``directory``; a former one stays whole until this one is."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, Any] = {}
    slots = optimizer.state_dict()["state"]
    named = {"network": network.state_dict(), "best": state.best, "mean": state.mean}
    named |= {f"carried/{rank}": values for rank, values in enumerate(state.carried)}
    named |= {f"optimizer/{slot}": values for slot, values in slots.items()}
    for group, values in named.items():
        for name, value in values.items():
            kind = tensors if isinstance(value, Tensor) else rest  # extra state may be no tensor
            kind[f"{group}/{name}"] = value
    position = {
        item.name: getattr(state, item.name)
        for item in fields(state)
        if item.name not in ("best", "history", "carried", "mean")
    }
    texts = {
        "format": _FORMAT,
        "finished": finished,
        "identity": identity,
        "position": position,
        "history": [asdict(record) for record in state.history],
        "rest": rest,
    }
    metadata = {key: json.dumps(value) for key, value in texts.items()}
    storage.atomic_write_tensors(directory / FILE, tensors, metadata)


def read(directory: Path) -> Content:
    """Return the content of the checkpoint of ``directory``.

    Raises:
        InvalidFileError: There is none, it is damaged, or a newer gatewise wrote it.
    """
    path = directory / FILE
    if not path.exists():
        raise InvalidFileError(
            str(directory),
            f"a directory with a {FILE} to resume from",
            "none",
            "Check the directory, or call without resume=True to start afresh.",
        )
    content = storage.read_tensors(path)
    version = content[1].get("format", "none")
    if version != str(_FORMAT):
        raise InvalidFileError(
            str(path),
            f"a checkpoint of format {_FORMAT}",
            f"format {version}",
            "Resume with the version of gatewise that wrote it, or start afresh elsewhere.",
        )
    return content


def set_aside(directory: Path) -> None:
    """Make room for a new fit: keep the checkpoint of a finished one, protect an unfinished one.

    Raises:
        InvalidFileError: ``directory`` holds the checkpoint of a fit that has not ended.
    """
    path = directory / FILE
    if not path.exists():
        return
    if json.loads(read(directory)[1]["finished"]):
        path.replace(directory / FORMER_FILE)
        return
    raise InvalidFileError(
        str(path),
        "no checkpoint of an unfinished fit where a new one is to start",
        "one",
        "Call with resume=True to go on with it, or delete the file, or choose another directory.",
    )


def restore(
    content: Content,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
) -> FitState:
    """Load network and optimizer from a checkpoint and return where its fit stood.

    Raises:
        InvalidSettingsError: It belongs to a fit with other settings or another network.
    """
    tensors, metadata = content
    texts = {key: json.loads(value) for key, value in metadata.items()}
    _check_identity(texts["identity"], identity)
    held = tensors | texts["rest"]
    network.load_state_dict(_under("network/", held))
    slots = _numbered("optimizer/", held)
    param_groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": param_groups})
    history = [EpochRecord(**record) for record in texts["history"]]
    return FitState(
        best=_under("best/", held),
        history=history,
        carried=[part for _, part in sorted(_numbered("carried/", held).items())],
        mean=_under("mean/", held),
        **texts["position"],
    )


def describe(settings: FitSettings, monitor: str, mode: str, network: nn.Module) -> dict[str, Any]:
    """Return all that must be the same in a fit and its continuation, as JSON types."""
    free = FREE_ON_RESUME
    if settings.schedule in ("cosine", "one_cycle"):
        free = free - {"max_epochs"}  # their curve is drawn over all epochs
    held = {name: value for name, value in asdict(settings).items() if name not in free}
    shapes = {
        f"network.{name}": f"{value.dtype} {list(value.shape)}"
        for name, value in network.state_dict().items()
        if isinstance(value, Tensor)
    }
    return {**held, "monitor": monitor, "mode": mode, **shapes}


def order_of(batches: Sequence[Tensor]) -> str:
    """Return a checksum of the batches of an epoch, to know other data from the same."""
    crc = zlib.crc32(str([len(batch) for batch in batches]).encode())
    return f"{zlib.crc32(torch.cat(list(batches)).numpy().data, crc):08x}"


def _check_identity(saved: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise one error that lists everything in which the two fits differ."""
    names = [name for name in saved | asked if saved.get(name) != asked.get(name)]
    remedy = "Use the value of the checkpoint, or start afresh in another directory."
    InvalidSettingsError.raise_any(
        "Fit with resume=True",
        [
            InvalidValueError(
                name, f"{saved.get(name)!r} as in the checkpoint", repr(asked.get(name)), remedy
            )
            for name in names
        ],
    )


def _numbered(prefix: str, held: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The entries whose key begins with ``prefix`` and a number, by that number."""
    found: dict[int, dict[str, Any]] = {}
    for key, value in _under(prefix, held).items():
        number, _, name = key.partition("/")
        found.setdefault(int(number), {})[name] = value
    return found


def _under(prefix: str, held: dict[str, Any]) -> dict[str, Any]:
    """The entries whose key begins with ``prefix``, without it."""
    return {key.removeprefix(prefix): held[key] for key in held if key.startswith(prefix)}
