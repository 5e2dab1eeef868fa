"""What a text classifier is made of: layers, parameters, memory and work."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from gatewise.tasks.classification.model import ClassifierModel
from gatewise.tasks.recurrent_cells import RecurrentNetwork, flops_of_step, named_layers
from gatewise.tasks.xlstm_layers import XLSTMLayers


def describe(model: ClassifierModel) -> dict[str, Any]:
    """Return facts by name; lists hold the rows of a table.

    A multiplication and an addition count as two flops. Memory is that of weights and buffers.
    """
    network, shape = model.network, model.network.shape.encoder
    rows = _layers(network)
    stored = [*network.parameters(), *network.buffers()]
    return {
        "task": "text-classifier",
        "tokens": model.reader.tokenizer.name,
        "tokens_known": len(model.reader.vocabulary),
        "ngrams_known": [len(vocabulary) for vocabulary in model.reader.ngrams],
        "token_parts_known": network.shape.parts,
        "longest_tokens": model.reader.longest,
        "cell": shape.cell,
        "bidirectional": shape.bidirectional,
        "pooling": list(network.shape.pooling),
        "labels": list(model.labels.tokens),
        "labels_a_text": "several" if model.multi_label else "one",
        "texts_trained_on": model.baselines.total,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "weights_bytes": sum(tensor.numel() * tensor.element_size() for tensor in stored),
        "flops_a_token": sum(row["flops"] for row in rows if row["each"] == "token"),
        "flops_a_text": sum(row["flops"] for row in rows if row["each"] == "text"),
        "layers": rows,
    }


def _layers(network: nn.Module) -> list[dict[str, Any]]:
    """One row for each layer with weights; its flops for each token, or once a text."""
    rows = []
    for name, module in named_layers(network):
        whole = isinstance(module, XLSTMLayers)
        weights = sum(weight.numel() for weight in module.parameters(recurse=whole))
        if not weights:
            continue
        flops = 0  # looking a vector up
        if isinstance(module, nn.Linear):
            flops = 2 * module.weight.numel()
        elif not isinstance(module, nn.Embedding):
            flops = flops_of_step(cast("RecurrentNetwork", module))
        rows.append(
            {
                "layer": name,
                "type": type(module).__name__,
                "parameters": weights,
                "each": "text" if name == "head" else "token",
                "flops": flops,
            }
        )
    return rows
