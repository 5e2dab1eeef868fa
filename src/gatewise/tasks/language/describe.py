"""What a language model is made of: layers, parameters, memory and the work of one token."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from gatewise.tasks.language.corpus import Language
from gatewise.tasks.language.network import LanguageNetwork
from gatewise.tasks.recurrent_cells import RecurrentNetwork, flops_of_step


def describe(network: LanguageNetwork, language: Language) -> dict[str, Any]:
    """Return facts by name; lists hold the rows of a table.

    A multiplication and an addition count as two flops. Memory is that of weights, each once.
    """
    shape = network.shape.encoder
    layers = cast("list[RecurrentNetwork]", list(network.encoder.layers))
    rows = [_row("embedding", network.encoder.embedding, 0)]
    rows += [_row(f"layer {k}", layer, flops_of_step(layer)) for k, layer in enumerate(layers, 1)]
    work = 2 * sum(weight.numel() for weight in network.output.parameters() if weight.dim() > 1)
    output = _row("output", network.output, work)
    if network.shape.tied:
        output["parameters"] -= network.encoder.embedding.weight.numel()
    rows.append(output)
    stored = list(network.parameters())
    return {
        "task": "language-model",
        "tokens": language.tokenizer.name,
        "vocabulary": len(language.vocabulary),
        "cell": shape.cell,
        "layers_count": shape.num_layers,
        "embedding_size": shape.embedding_size,
        "hidden_size": shape.hidden_size,
        "tied": network.shape.tied,
        "output": network.shape.output,
        "parameters": sum(weight.numel() for weight in stored),
        "weights_bytes": sum(weight.numel() * weight.element_size() for weight in stored),
        "flops_a_token": sum(row["flops"] for row in rows),
        "layers": rows,
    }


def _row(name: str, module: nn.Module, flops: int) -> dict[str, Any]:
    parameters = sum(weight.numel() for weight in module.parameters())
    kind = type(module).__name__
    return {"layer": name, "kind": kind, "parameters": parameters, "flops": flops}
