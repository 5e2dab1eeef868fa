"""Wrong ways to run a right layer: directions, lengths, resets, final states and traces.

Each takes the right layer and its call, and returns what the wrong one would.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from .layer_case import Layer, reference_of


def wrong_directions(cell: str) -> dict[str, Layer]:
    """Return a cell's layers with something wrong in the way they are run, by what that is."""
    wrong = {
        "both directions with time": _one_way,
        "directions swapped in y": _directions_swapped,
        "reset against time cuts after its step": _late_reverse_reset,
        "reset with time only": _forward_reset_only,
        "reverse begins in the padding": _reverse_from_the_end,
        "output not zeroed beyond the lengths": _unmasked_output,
        "final state from the last step": _final_from_the_end,
        "final states mixed": _states_swapped,
        "trace against time": _trace_reversed,
        "trace shows the state before": _trace_late,
    }
    return {name: partial(layer, reference_of(cell)) for name, layer in wrong.items()}


def shift(reset: Tensor, steps: int) -> Tensor:
    """Return a reset mask so many steps later; what comes in at the end is no cut."""
    moved = reset.roll(steps, 0)
    moved[0 if steps > 0 else -1] = False
    return moved


def _one_way(run, x, *arguments, **options):
    """Run the second direction with time, as if it were a second first one."""
    *states, weights = arguments
    count = len(weights) // 2
    (y, *final, traced), (y2, *final2, traced2) = (
        run(x, *(s[d : d + 1] for s in states), weights[d * count :][:count], **options)
        for d in (0, 1)
    )
    traced = traced and {name: torch.cat([traced[name], traced2[name]]) for name in traced}
    joined = [torch.cat(pair) for pair in zip(final, final2, strict=True)]
    return torch.cat([y, y2], dim=-1), *joined, traced


def _directions_swapped(run, *arguments, **options):
    y, *rest = run(*arguments, **options)
    return torch.cat(y.chunk(2, dim=-1)[::-1], dim=-1), *rest


def _replace_reverse(run, arguments, options, reverse_options):
    """Return the right forward direction beside the reverse one under other options."""
    *right, traced = run(*arguments, **options)
    *wrong, wrong_trace = run(*arguments, **reverse_options)
    axes = [-1] + [0] * (len(right) - 1)
    take = [
        torch.cat([a.chunk(2, dim)[0], b.chunk(2, dim)[1]], dim)
        for a, b, dim in zip(right, wrong, axes, strict=True)
    ]
    traced = traced and {n: torch.stack([traced[n][0], wrong_trace[n][1]]) for n in traced}
    return *take, traced


def _late_reverse_reset(run, *arguments, **options):
    moved = {**options, "reset": shift(options["reset"], 1)}
    return _replace_reverse(run, arguments, options, moved)


def _forward_reset_only(run, *arguments, **options):
    return _replace_reverse(run, arguments, options, {**options, "reset": None})


def _reverse_from_the_end(run, x, *arguments, **options):
    """Let the direction against time run through the padding before the last valid step."""
    y, *final, traced = _replace_reverse(
        run, (x, *arguments), options, {**options, "lengths": None}
    )
    valid = (torch.arange(len(x)).unsqueeze(1) < options["lengths"]).unsqueeze(-1)
    return y * valid, *final, traced and {name: value * valid for name, value in traced.items()}


def _unmasked_output(run, *arguments, **options):
    right = run(*arguments, **options)
    return run(*arguments, **{**options, "lengths": None})[0], *right[1:]


def _final_from_the_end(run, *arguments, **options):
    right = run(*arguments, **options)
    wrong = run(*arguments, **{**options, "lengths": None})
    return right[0], *wrong[1:-1], right[-1]


def _states_swapped(run, *arguments, **options):
    """Exchange h_n and c_n where their widths allow, else the directions of h_n."""
    y, h_n, *others, traced = run(*arguments, **options)
    if others and h_n.shape == others[0].shape:
        return y, others[0], h_n, *others[1:], traced
    return y, h_n.flip(0), *others, traced


def _trace_reversed(run, *arguments, **options):
    *right, traced = run(*arguments, **options)
    return *right, traced and {name: value.flip(1) for name, value in traced.items()}


def _trace_late(run, *arguments, **options):
    *right, traced = run(*arguments, **options)
    last = list(traced or {})[-1:]
    return *right, traced and {**traced, last[0]: traced[last[0]].roll(1, 1)}
