"""Options that torch lacks, and how they travel with the weights: same keys, same mathematics.

Options that change what torch-named weights mean are an entry of the state dict, under torch's key
for such things: JSON in a uint8 tensor, which every way of saving a state dict can hold and which
executes nothing when it is read. There is no entry when all of them are at their defaults, so that
the state dict of a plain layer is torch's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError, InvalidStateError

ENTRY: Final = "_extra_state"
"""The last part of the entry's key, as torch has it."""

_OF_TORCH: Final = {
    "proj_size": 0,
    "num_layers": 1,
    "bias": True,
    "batch_first": False,
    "dropout": 0.0,
    "bidirectional": False,
}
"""Options of torch's recurrent layers, in its order, and their defaults."""


class ModuleWithOptions(nn.Module):
    """A module whose options are known by name, some of which are part of its state dict.

    An option is an attribute, a name in ``travelling`` or ``staying``, and a class attribute that
    holds its default: what a module has that was made without its constructor, or pickled before
    there was the option.
    """

    travelling: ClassVar[tuple[str, ...]] = ()
    """Options that change what the weights mean: values that JSON can hold."""

    staying: ClassVar[tuple[str, ...]] = ()
    """The other options."""

    @property
    def options(self) -> dict[str, tuple[Any, Any]]:
        """The options by name: the value, then the default."""
        names = self.travelling + self.staying
        return {name: (getattr(self, name), getattr(type(self), name)) for name in names}

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        held, usual = self._travelling_options()
        changed = {name: value for name, value in held.items() if value != usual[name]}
        if changed:
            # On the CPU even inside torch.device("meta"), where nothing could be read back.
            destination[prefix + ENTRY] = torch.tensor(
                list(json.dumps(changed).encode()), dtype=torch.uint8, device="cpu"
            )

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        key = prefix + ENTRY
        if key in unexpected_keys:  # ours to judge
            unexpected_keys.remove(key)
        # torch comes here also with a state dict that holds nothing of this module.
        if any(name.startswith(prefix) for name in state_dict):
            fault = self._find_mismatch(key, state_dict)
            if fault is not None:
                error_msgs.append(str(fault))

    def _find_mismatch(self, key: str, state_dict: Mapping[str, Any]) -> GatewiseError | None:
        """Return the error if the options in a state dict are not those of the module."""
        own, usual = self._travelling_options()
        entry = _read(state_dict[key]) if key in state_dict else {}
        if entry is None:
            return InvalidStateError(
                key,
                "a uint8 tensor that holds options as JSON",
                f"something else, {type(state_dict[key]).__name__}",
                "The state dict is damaged, or was written by something else.",
            )
        held = usual | entry
        differing = [name for name in held if name not in own or held[name] != own[name]]
        if not differing:
            return None
        origin = "the state dict" if key in state_dict else "the state dict, which has no such key"
        return InvalidStateError(
            key,
            f"{_show(differing, own)} as in this {type(self).__name__}",
            f"{_show(differing, held)} from {origin}",
            "Build the layer with the options that its weights were trained with.",
        )

    def _travelling_options(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the values and the defaults of what travels, as JSON gives them back."""
        pairs = {name: self.options[name] for name in self.travelling}
        values, usual = ({name: pair[n] for name, pair in pairs.items()} for n in (0, 1))
        return json.loads(json.dumps(values)), json.loads(json.dumps(usual))


def shown_options(layer: ModuleWithOptions) -> list[str]:
    """Return ``name=value`` of every option that is not its default: torch's, then ours."""
    pairs = {name: (getattr(layer, name, usual), usual) for name, usual in _OF_TORCH.items()}
    pairs |= layer.options
    pairs.pop("generator", None)  # its repr is an address
    return shown_changes(pairs)


def shown_changes(pairs: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Return ``name=value`` of every option, the value and the default of which differ."""
    return [f"{name}={value}" for name, (value, usual) in pairs.items() if value != usual]


def _read(entry: object) -> dict[str, Any] | None:
    """Return the options that an entry holds; None if it is no such entry."""
    if not isinstance(entry, Tensor) or entry.dim() != 1 or entry.is_meta:
        return None
    try:
        # Whoever rounds a whole state dict to bfloat16 rounds this too, which ASCII survives.
        held = json.loads(bytes(entry.to("cpu", torch.uint8).tolist()))
    except ValueError:
        return None
    return held if isinstance(held, dict) else None


def _show(names: list[str], options: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={options[name]!r}" if name in options else f"no option {name}" for name in names
    )
