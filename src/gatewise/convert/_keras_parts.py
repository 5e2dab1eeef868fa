"""A Keras layer or model taken apart: its kind, its configuration, and its weights as tensors.

The form is that of Keras' own files, a dict with ``class_name`` and ``config`` for every object;
https://keras.io/api/models/model_saving_apis/. Nothing is made of it by Keras, and nothing that it
names is looked up, imported or called.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn, Protocol, runtime_checkable

from torch import Tensor

from gatewise.convert._keras_chain import Described, chain
from gatewise.errors import InvalidValueError

RECURRENT: Final = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "simple_rnn"}
MODELS: Final = {"Sequential": "sequential", "Functional": "functional"}
KINDS: Final = {
    **RECURRENT,
    **MODELS,
    "Bidirectional": "bidirectional",
    "Dense": "dense",
    "Embedding": "embedding",
    "Dropout": "dropout",
    "Activation": "activation",
    "Masking": "masking",
}
"""The layers that have a twin, and what Keras calls them in its files."""

_OURS: Final = {"gatewise>LSTM", "gatewise>GRU"}
_DEPTH: Final = 100  # of a configuration; a real one has a dozen


class Part(NamedTuple):
    """One layer, or several that belong together.

    Args:
        kind: Keras' name of its class.
        config: Its options.
        weights: What it has learned, in Keras' order and layout.
        learns: Which of them are trained.
        parts: The layers of a model, or the two directions of a Bidirectional.
    """

    kind: str
    config: Described
    weights: Sequence[Tensor] = ()
    learns: Sequence[bool] = ()
    parts: tuple[Part, ...] = ()

    @property
    def where(self) -> str:
        """The name in messages."""
        return f"{self.kind} layer {str(self.config.get('name'))[:80]!r}"

    def option(self, name: str, usual: Any) -> Any:
        """Return an option, which must have the type of its default in Keras.

        Raises:
            InvalidValueError: It has another.
        """
        value = self.config.get(name, usual)
        kinds = (int, float) if isinstance(usual, float) else type(usual)
        fits = isinstance(value, kinds) and isinstance(value, bool) == isinstance(usual, bool)
        if not fits or (isinstance(value, int) and abs(value) > sys.float_info.max):
            expected = "a number" if isinstance(usual, float) else f"a {type(usual).__name__}"
            raise InvalidValueError(f"{self.where}({name})", expected, repr(value)[:80])
        return value

    def refuse(self, option: str, expected: str, got: object, remedy: str = "") -> NoReturn:
        """Raise the error for an option that no layer of ours can represent.

        Raises:
            InvalidValueError: In any case.
        """
        raise InvalidValueError(f"{self.where}({option})", expected, repr(got)[:80], remedy)


@runtime_checkable
class Store(Protocol):
    """Where the weights of one layer are: in a file, or in the layer itself."""

    def weights(self, kind: str) -> Sequence[Tensor]:
        """Return the weights of a layer that is no model."""
        ...

    def trained(self) -> Sequence[bool]:
        """Say of each weight whether it is trained by itself; nothing where that is not known."""
        ...

    def direction(self, name: str) -> Store:
        """Return the store of a Bidirectional's ``forward_layer`` or ``backward_layer``."""
        ...

    def layers(self, described: Sequence[Described]) -> Sequence[Store]:
        """Return the stores of a model's layers, which are described in the model's order."""
        ...


def take_apart(described: Any, store: Store, *, learns: bool = True) -> Part:
    """Return what a description, already looked over by `refuse_foreign`, and a store hold.

    Args:
        described: The configuration of a layer or model.
        store: Its weights.
        learns: Whether all that is around it is trained.

    Raises:
        InvalidValueError: A layer has no twin, or a model is no chain.
    """
    kind, config = str(described.get("class_name")), described.get("config")
    if not isinstance(config, Mapping):
        got = repr(described)[:80]
        raise InvalidValueError("Keras' configuration", "a layer with options", got)
    if kind not in KINDS:
        raise InvalidValueError(
            Part(kind, config).where,
            f"one of {', '.join(KINDS)}",
            kind,
            "Convert the other layers of the model one by one, from_keras(layer).",
        )
    learns = Part(kind, config).option("trainable", usual=True) and learns
    if kind in MODELS:
        rows = chain(kind, config)
        inside = zip(rows, store.layers(rows), strict=True)
        parts = [take_apart(row, own, learns=learns) for row, own in inside]
        return Part(kind, config, parts=tuple(parts))
    if kind == "Bidirectional":
        forth = _direction("forward_layer", config.get("layer"), store, learns=learns)
        back = _direction("backward_layer", config.get("backward_layer"), store, learns=learns)
        return Part(kind, config, parts=(forth, back))
    weights = store.weights(kind)
    trained = store.trained() or [True] * len(weights)
    return Part(kind, config, weights, [learns and each for each in trained])


def refuse_foreign(described: Any) -> None:
    """Raise if a description holds code, or names what is not Keras' own.

    What a model was compiled with does not take part in its predictions: names of other losses and
    metrics are passed over there, code is not.

    Raises:
        InvalidValueError: It does; the message names the object.
    """
    _look_over(described, 0, takes_part=True)


def _look_over(value: Any, depth: int, *, takes_part: bool) -> None:
    if depth > _DEPTH:
        raise InvalidValueError(
            "Keras' configuration", f"at most {_DEPTH} objects within each other", "more"
        )
    if isinstance(value, Mapping):
        if "class_name" in value:
            _check_origin(value, takes_part=takes_part)
        for name, part in value.items():
            _look_over(part, depth + 1, takes_part=takes_part and name != "compile_config")
    elif isinstance(value, list | tuple):
        for part in value:
            _look_over(part, depth + 1, takes_part=takes_part)


def _check_origin(described: Described, *, takes_part: bool) -> None:
    kind, config = str(described["class_name"]), described.get("config")
    name = config.get("name") if isinstance(config, Mapping) else config
    where = f"{kind} {str(name)[:80]!r}"
    if kind in ("Lambda", "__lambda__"):
        raise InvalidValueError(
            where,
            "layers and functions of Keras' own",
            "code inside the configuration",
            "It is not run. Write the step in torch after the conversion.",
        )
    if not takes_part or "module" not in described:
        return
    module, registered = described["module"], described.get("registered_name")
    package = module.split(".")[0] if isinstance(module, str) else None
    custom = isinstance(registered, str) and ">" in registered
    if str(registered) in _OURS or (package == "keras" and not custom) or _is_ours(module, kind):
        return
    raise InvalidValueError(
        where,
        "layers and functions of Keras' own",
        f"{registered or kind} of {module}",
        "What it computes is not known. Convert the other layers one by one, from_keras(layer).",
    )


def _is_ours(module: object, kind: str) -> bool:
    return isinstance(module, str) and module.startswith("gatewise.keras") and kind in RECURRENT


def _direction(name: str, described: Any, store: Store, *, learns: bool) -> Part:
    if not isinstance(described, Mapping) or str(described.get("class_name")) not in RECURRENT:
        raise InvalidValueError(
            f"Bidirectional layer ({name})", f"one of {', '.join(RECURRENT)}", repr(described)[:80]
        )
    return take_apart(described, store.direction(name), learns=learns)
