"""What a tagger's network is made of: layers, vocabularies, parameters and work."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from gatewise.tasks.recurrent_cells import RecurrentNetwork, flops_of_step
from gatewise.tasks.tagging.model import TaggerModel
from gatewise.tasks.tagging.network import TaggerNetwork


def describe(model: TaggerModel) -> dict[str, Any]:
    """Return facts by name; lists hold the rows of a table.

    A multiplication and an addition count as two flops; those of a token are of the recurrent
    layers and of the output, those of a character of what reads the characters of a word.
    """
    network, shape = model.network, model.network.shape
    stored = [*network.parameters(), *network.buffers()]
    rows = _layers(network)
    return {
        "task": "sequence-tagger",
        "tags": list(model.tags.known.tokens),
        "scheme": model.tags.given or "none",
        "trained_scheme": model.tags.trained or "none",
        "cell": shape.cell,
        "head": shape.head,
        "characters": shape.character_encoder,
        "longest_sentence": model.longest,
        "vectors": model.vectors or None,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "weights_bytes": sum(tensor.numel() * tensor.element_size() for tensor in stored),
        "flops_a_token": sum(row["flops"] for row in rows if not row["layer"].startswith("char")),
        "vocabularies": [
            {"of": name, "known": len(known)} for name, known in _vocabularies(model).items()
        ],
        "layers": rows,
    }


def _vocabularies(model: TaggerModel) -> dict[str, Any]:
    features = model.features
    known = {"words": features.words}
    known |= {f"{n}-grams": one for n, one in enumerate(features.ngrams, start=2)}
    if features.characters is not None:
        known["characters"] = features.characters
    return known


def _layers(network: TaggerNetwork) -> list[dict[str, Any]]:
    """One row for each layer, in the order in which a token meets them."""
    modules: dict[str, nn.Module] = {"words": network.encoder.embedding}
    modules |= {f"{n}-grams": one for n, one in enumerate(network.ngrams, start=2)}
    if network.characters is not None:
        modules |= {f"characters {name}": one for name, one in network.characters.named_children()}
    if network.casing is not None:
        modules["casing"] = network.casing
    modules |= {f"layer {n}": one for n, one in enumerate(network.encoder.layers, start=1)}
    modules |= {"output": network.output, "head": network.head}
    return [_row(name, module) for name, module in modules.items()]


def _row(name: str, module: nn.Module) -> dict[str, Any]:
    parameters = sum(weight.numel() for weight in module.parameters())
    if isinstance(module, nn.Embedding):
        size, flops = f"{module.num_embeddings} x {module.embedding_dim}", 0
    elif isinstance(module, nn.Linear):
        size, flops = f"{module.in_features} x {module.out_features}", 2 * module.weight.numel()
    elif isinstance(module, nn.Conv1d):
        size, flops = f"{module.in_channels} x {module.out_channels}", 2 * module.weight.numel()
    elif hasattr(module, "input_size"):
        layer = cast("RecurrentNetwork", module)
        size, flops = f"{layer.input_size} x {layer.hidden_size}", flops_of_step(layer)
    else:
        size, flops = "", 0
    return {
        "layer": name,
        "type": type(module).__name__,
        "size": size,
        "parameters": parameters,
        "flops": flops,
    }
