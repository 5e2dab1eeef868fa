"""Wrong LSTMs. A comparison that lets one of them through is worth nothing.

Each differs from the reference in one thing that a real kernel gets wrong: a gate, a bias, a step,
a direction, a mask, or a gradient alone while every output is right.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.ops.reference import lstm_layer
from gatewise.ops.reference.sequence import Weights, run_layer

from .lstm_case import Layer

GATES = "ifgo"


def wrong_layers() -> dict[str, Layer]:
    """Return the wrong layers by what is wrong with them."""
    layers: dict[str, Layer] = {
        f"gates {a} and {b} swapped": _with_weights(lambda w, a=a, b=b: _swap_gates(w, a, b))
        for a, b in ("if", "ig", "io", "fg", "fo", "go")
    }
    layers |= {
        "b_ih dropped": _with_weights(lambda w: w._replace(b_ih=torch.zeros_like(w.b_ih))),
        "b_hh dropped": _with_weights(lambda w: w._replace(b_hh=torch.zeros_like(w.b_hh))),
        "b_ih taken twice": _with_weights(lambda w: w._replace(b_hh=w.b_ih)),
        "w_hh dropped": _with_weights(lambda w: w._replace(w_hh=torch.zeros_like(w.w_hh))),
        "w_hh without its last column": _with_weights(lambda w: w._replace(w_hh=_cut(w.w_hh))),
        "w_ih without its last column": _with_weights(lambda w: w._replace(w_ih=_cut(w.w_ih))),
        "projection without its last column": _with_weights(
            lambda w: w._replace(w_hr=_cut(w.w_hr))
        ),
        "gradient of w_hh missing": _with_weights(lambda w: w._replace(w_hh=w.w_hh.detach())),
        "gradient of b_hh missing": _with_weights(lambda w: w._replace(b_hh=w.b_hh.detach())),
        "gradient of w_hr missing": _with_weights(lambda w: w._replace(w_hr=w.w_hr.detach())),
    }
    layers |= {
        "candidate without tanh": _with_cell(lambda s: s.update(g=s["raw_g"])),
        "output gate with tanh": _with_cell(lambda s: s.update(o=s["raw_o"].tanh())),
        "input gate always open": _with_cell(lambda s: s.update(i=torch.ones_like(s["i"]))),
        "forget gate always open": _with_cell(lambda s: s.update(f=torch.ones_like(s["f"]))),
        "input and forget gates coupled": _with_cell(lambda s: s.update(i=1 - s["f"])),
        "sigmoid slightly off": _with_cell(lambda s: s.update(o=s["o"] * (1 + 1e-5))),
        "c lost between steps": _with_cell(lambda s: s.update(c=torch.zeros_like(s["c"]))),
        "gradient through c cut": _with_cell(lambda s: s.update(c=s["c"].detach())),
        "gradient of the forget gate missing": _with_cell(lambda s: s.update(f=s["f"].detach())),
        "h without tanh": _with_cell(lambda s: s, squash=lambda c: c),
        "h from the state before": _with_cell(lambda s: s, stale=True),
        "gradient through h cut": _with_cell(lambda s: s, cut_h=True),
    }
    layers |= {
        "h0 dropped": _with_inputs(lambda a: a.update(h0=torch.zeros_like(a["h0"]))),
        "c0 dropped": _with_inputs(lambda a: a.update(c0=torch.zeros_like(a["c0"]))),
        "gradient of h0 missing": _with_inputs(lambda a: a.update(h0=a["h0"].detach())),
        "gradient of c0 missing": _with_inputs(lambda a: a.update(c0=a["c0"].detach())),
        "x one step late": _with_inputs(lambda a: a.update(x=a["x"].roll(1, 0))),
        "batch rows mixed": _with_inputs(lambda a: a.update(x=a["x"].roll(1, 1))),
        "lengths ignored": _with_inputs(lambda a: a.update(lengths=None)),
        "lengths one too long": _with_inputs(
            lambda a: a.update(lengths=(a["lengths"] + 1).clamp(max=len(a["x"])))
        ),
        "lengths one too short": _with_inputs(
            lambda a: a.update(lengths=(a["lengths"] - 1).clamp(min=1))
        ),
        "reset ignored": _with_inputs(lambda a: a.update(reset=None)),
        "reset one step late": _with_inputs(lambda a: a.update(reset=_shift(a["reset"], 1))),
        "reset one step early": _with_inputs(lambda a: a.update(reset=_shift(a["reset"], -1))),
        "reset at step 0 ignored": _with_inputs(lambda a: a.update(reset=_keep_first(a["reset"]))),
        "reset beyond the lengths counted": _reset_in_the_padding,
    }
    layers |= {
        "both directions with time": _one_way,
        "directions swapped in y": _directions_swapped,
        "reset against time cuts after its step": _late_reverse_reset,
        "reset with time only": _forward_reset_only,
        "reverse begins in the padding": _reverse_from_the_end,
        "output not zeroed beyond the lengths": _unmasked_output,
        "final state from the last step": _final_from_the_end,
        "h_n and c_n swapped": _states_swapped,
        "trace against time": _trace_reversed,
        "trace shows the state before": _trace_late,
    }
    return layers


def _with_weights(change: Callable[[Weights], Weights]) -> Layer:
    """Return the reference with the weights of every direction changed."""

    def layer(x, h0, c0, weights, **options):
        count = len(weights) // h0.shape[0]
        names = Weights._fields if count == 5 else Weights._fields[:count]
        changed: list[Tensor] = []
        for start in range(0, len(weights), count):
            part = Weights(**dict(zip(names, weights[start : start + count], strict=True)))
            changed += [weight for weight in change(part) if weight is not None]
        return lstm_layer(x, h0, c0, changed, **options)

    return layer


def _swap_gates(w: Weights, a: str, b: str) -> Weights:
    order = [GATES.index({a: b, b: a}.get(gate, gate)) for gate in GATES]

    def swap(weight: Tensor) -> Tensor:
        return torch.cat([weight.chunk(4)[gate] for gate in order])

    return w._replace(w_ih=swap(w.w_ih), w_hh=swap(w.w_hh), b_ih=swap(w.b_ih), b_hh=swap(w.b_hh))


def _cut(weight: Tensor) -> Tensor:
    return torch.cat([weight[:, :-1], torch.zeros_like(weight[:, -1:])], dim=1)


def _with_cell(change, *, squash=torch.tanh, stale: bool = False, cut_h: bool = False) -> Layer:
    """Return the layer with a wrong step: ``change`` alters its gates and the c it starts from."""

    def cell(projected, state, weights):
        h, c = state
        raw = (projected + F.linear(h.detach() if cut_h else h, weights.w_hh, weights.b_hh)).chunk(
            4, dim=-1
        )
        step = {f"raw_{gate}": value for gate, value in zip(GATES, raw, strict=True)}
        step |= {gate: step[f"raw_{gate}"].sigmoid() for gate in "ifo"}
        step |= {"g": step["raw_g"].tanh(), "c": c}
        change(step)
        after = step["f"] * step["c"] + step["i"] * step["g"]
        h = F.linear(step["o"] * squash(c if stale else after), weights.w_hr)
        return (h, after), tuple(step[gate] for gate in GATES)

    def layer(x, h0, c0, weights, *, lengths, reset, trace):
        runs = run_layer(cell, x, (h0, c0), weights, lengths=lengths, reset=reset, record=True)
        y = torch.cat([run.output for run in runs], dim=-1)
        h_n, c_n = (torch.stack([run.state[part] for run in runs]) for part in (0, 1))
        names = {gate: [run.activations[n] for run in runs] for n, gate in enumerate(GATES)}
        names |= {"c": [run.states[1] for run in runs], "h": [run.states[0] for run in runs]}
        traced = {name: torch.stack(parts) for name, parts in names.items()} if trace else None
        return y, h_n, c_n, traced

    return layer


def _with_inputs(change: Callable[[dict], None]) -> Layer:
    """Return the reference called with an argument changed."""

    def layer(x, h0, c0, weights, **options):
        arguments = {"x": x, "h0": h0, "c0": c0, **options}
        change(arguments)
        return lstm_layer(weights=weights, **arguments)

    return layer


def _shift(reset: Tensor, steps: int) -> Tensor:
    moved = reset.roll(steps, 0)
    moved[0 if steps > 0 else -1] = False
    return moved


def _keep_first(reset: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(reset[:1]), reset[1:]])


def _one_way(x, h0, c0, weights, **options):
    """Run the second direction with time, as if it were a second first one."""
    count = len(weights) // 2
    parts = [
        lstm_layer(x, h0[d : d + 1], c0[d : d + 1], weights[d * count :][:count], **options)
        for d in (0, 1)
    ]
    (y, h_n, c_n, traced), (y2, h_n2, c_n2, traced2) = parts
    traced = traced and {name: torch.cat([traced[name], traced2[name]]) for name in traced}
    return torch.cat([y, y2], dim=-1), torch.cat([h_n, h_n2]), torch.cat([c_n, c_n2]), traced


def _directions_swapped(x, h0, c0, weights, **options):
    y, *rest = lstm_layer(x, h0, c0, weights, **options)
    return torch.cat(y.chunk(2, dim=-1)[::-1], dim=-1), *rest


def _replace_reverse(x, h0, c0, weights, options, reverse_options):
    """Return the right forward direction beside the reverse one under other options."""
    right = lstm_layer(x, h0, c0, weights, **options)
    wrong = lstm_layer(x, h0, c0, weights, **reverse_options)
    take = [
        torch.cat([a.chunk(2, dim)[0], b.chunk(2, dim)[1]], dim)
        for a, b, dim in zip(right[:3], wrong[:3], (-1, 0, 0), strict=True)
    ]
    traced = right[3] and {
        name: torch.stack([right[3][name][0], wrong[3][name][1]]) for name in right[3]
    }
    return *take, traced


def _late_reverse_reset(x, h0, c0, weights, **options):
    moved = {**options, "reset": _shift(options["reset"], 1)}
    return _replace_reverse(x, h0, c0, weights, options, moved)


def _forward_reset_only(x, h0, c0, weights, **options):
    return _replace_reverse(x, h0, c0, weights, options, {**options, "reset": None})


def _reverse_from_the_end(x, h0, c0, weights, **options):
    """Let the direction against time run through the padding before the last valid step."""
    run = _replace_reverse(x, h0, c0, weights, options, {**options, "lengths": None})
    valid = torch.arange(len(x)).unsqueeze(1) < options["lengths"]
    traced = run[3] and {name: value * valid.unsqueeze(-1) for name, value in run[3].items()}
    return run[0] * valid.unsqueeze(-1), run[1], run[2], traced


def _unmasked_output(x, h0, c0, weights, **options):
    right = lstm_layer(x, h0, c0, weights, **options)
    return lstm_layer(x, h0, c0, weights, **{**options, "lengths": None})[0], *right[1:]


def _final_from_the_end(x, h0, c0, weights, **options):
    right = lstm_layer(x, h0, c0, weights, **options)
    wrong = lstm_layer(x, h0, c0, weights, **{**options, "lengths": None})
    return right[0], wrong[1], wrong[2], right[3]


def _reset_in_the_padding(x, h0, c0, weights, **options):
    """Let a cut right at the end of a sequence discard h0 and c0 of the direction against time."""
    padded = torch.cat([options["reset"], torch.zeros_like(options["reset"][:1])])
    keep = ~padded.gather(0, options["lengths"].unsqueeze(0)).squeeze(0).unsqueeze(-1)
    h0 = torch.stack([h0[0], torch.where(keep, h0[1], 0)])
    c0 = torch.stack([c0[0], torch.where(keep, c0[1], 0)])
    return lstm_layer(x, h0, c0, weights, **options)


def _states_swapped(x, h0, c0, weights, **options):
    """Exchange h_n and c_n where their widths allow, else the directions of h_n."""
    y, h_n, c_n, traced = lstm_layer(x, h0, c0, weights, **options)
    if h_n.shape == c_n.shape:
        return y, c_n, h_n, traced
    return y, h_n.flip(0), c_n, traced


def _trace_reversed(x, h0, c0, weights, **options):
    *right, traced = lstm_layer(x, h0, c0, weights, **options)
    return *right, traced and {name: value.flip(1) for name, value in traced.items()}


def _trace_late(x, h0, c0, weights, **options):
    *right, traced = lstm_layer(x, h0, c0, weights, **options)
    return *right, traced and {**traced, "c": traced["c"].roll(1, 1)}
