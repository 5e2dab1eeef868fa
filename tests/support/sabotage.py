"""Wrong layers. A comparison that lets one of them through is worth nothing.

Each differs from the reference in one thing that a real kernel gets wrong: a gate, a bias, a step,
a direction, a mask, or a gradient alone while every output is right.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.ops import reference
from gatewise.ops.reference.sequence import Step
from gatewise.ops.reference.weights import Weights

from .layer_case import Layer, reference_of

GATES = {
    "lstm": "ifgo",
    "gru": "rzn",
    "rnn_tanh": "h",
    "rnn_relu": "h",
    "lstm_coupled": "fgo",
    "lstm_no_forget": "igo",
    "gru_before": "rzn",
}


def wrong_layers(cell: str) -> dict[str, Layer]:
    """Return the wrong layers of a cell by what is wrong with them."""
    layers = _wrong_weights(cell) | _wrong_inputs(cell) | _wrong_directions(cell)
    own = {"lstm": _wrong_lstms, "gru": _wrong_grus}
    own["gru_before"] = lambda: {"reset gate after the product": _with_step(cell, _gru_step)}
    own |= dict.fromkeys(("lstm_coupled", "lstm_no_forget"), partial(_wrong_lstms_of_three, cell))
    return layers | own.get(cell, partial(_wrong_rnns, cell))()


def _wrong_weights(cell: str) -> dict[str, Layer]:
    def change(alter: Callable[[Weights], Weights]) -> Layer:
        return _with_weights(cell, alter)

    swapped = {
        f"gates {a} and {b} swapped": change(lambda w, a=a, b=b: _swap_gates(w, GATES[cell], a, b))
        for a, b in combinations(GATES[cell], 2)
    }
    return swapped | {
        "b_ih dropped": change(lambda w: w._replace(b_ih=torch.zeros_like(w.b_ih))),
        "b_hh dropped": change(lambda w: w._replace(b_hh=torch.zeros_like(w.b_hh))),
        "b_ih taken twice": change(lambda w: w._replace(b_hh=w.b_ih)),
        "w_hh dropped": change(lambda w: w._replace(w_hh=torch.zeros_like(w.w_hh))),
        "w_hh without its last column": change(lambda w: w._replace(w_hh=_cut(w.w_hh))),
        "w_ih without its last column": change(lambda w: w._replace(w_ih=_cut(w.w_ih))),
        "gradient of w_hh missing": change(lambda w: w._replace(w_hh=w.w_hh.detach())),
        "gradient of b_hh missing": change(lambda w: w._replace(b_hh=w.b_hh.detach())),
    }


def _wrong_inputs(cell: str) -> dict[str, Layer]:
    def change(alter: Callable[[dict], None]) -> Layer:
        return _with_inputs(cell, alter)

    def each(state: int, alter: Callable[[Tensor], Tensor]) -> Layer:
        return change(lambda a: a["states"].__setitem__(state, alter(a["states"][state])))

    layers = {
        "x one step late": change(lambda a: a.update(x=a["x"].roll(1, 0))),
        "batch rows mixed": change(lambda a: a.update(x=a["x"].roll(1, 1))),
        "lengths ignored": change(lambda a: a.update(lengths=None)),
        "lengths one too long": change(
            lambda a: a.update(lengths=(a["lengths"] + 1).clamp(max=len(a["x"])))
        ),
        "lengths one too short": change(
            lambda a: a.update(lengths=(a["lengths"] - 1).clamp(min=1))
        ),
        "reset ignored": change(lambda a: a.update(reset=None)),
        "reset one step late": change(lambda a: a.update(reset=_shift(a["reset"], 1))),
        "reset one step early": change(lambda a: a.update(reset=_shift(a["reset"], -1))),
        "reset at step 0 ignored": change(lambda a: a.update(reset=_keep_first(a["reset"]))),
        "reset beyond the lengths counted": change(_reset_in_the_padding),
    }
    for n, name in enumerate(reference.CELLS[cell].states):
        layers[f"{name}0 dropped"] = each(n, torch.zeros_like)
        layers[f"gradient of {name}0 missing"] = each(n, Tensor.detach)
    return layers


def _wrong_directions(cell: str) -> dict[str, Layer]:
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


def _wrong_lstms() -> dict[str, Layer]:
    layers = {
        "projection without its last column": _with_weights(
            "lstm", lambda w: w._replace(w_hr=_cut(w.w_hr))
        ),
        "gradient of w_hr missing": _with_weights(
            "lstm", lambda w: w._replace(w_hr=w.w_hr.detach())
        ),
    }
    return layers | {
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


def _wrong_lstms_of_three(cell: str) -> dict[str, Layer]:
    """What may go wrong where one of the four gates is none."""

    def step(projected, state, at, *, closed: float, squash=torch.tanh):
        h, c = state
        gate, g, o = (projected + at.product(h)).chunk(3, dim=-1)
        gate, g, o = gate.sigmoid(), g.tanh(), o.sigmoid()
        i, f = (closed - gate, gate) if cell == "lstm_coupled" else (gate, closed)
        c = f * c + i * g
        h = F.linear(o * squash(c), at.weights.w_hr)
        return (h, c), (gate, g, o)

    def as_the_other(projected, state, at):
        other = "lstm_no_forget" if cell == "lstm_coupled" else "lstm_coupled"
        return reference.CELLS[other].step(projected, state, at)

    return {
        "the missing gate slightly off": _with_step(cell, partial(step, closed=1 + 1e-5)),
        "h without tanh": _with_step(cell, partial(step, closed=1.0, squash=lambda c: c)),
        "the other cell of three gates": _with_step(cell, as_the_other),
    }


def _wrong_grus() -> dict[str, Layer]:
    return {
        "reset gate before the product": _with_step("gru", partial(_gru_step, early=True)),
        "update gate inverted": _with_step("gru", partial(_gru_step, update=lambda z: 1 - z)),
        "candidate without tanh": _with_step("gru", partial(_gru_step, squash=lambda n: n)),
        "reset gate always open": _with_step("gru", partial(_gru_step, pick=torch.ones_like)),
        "update gate slightly off": _with_step(
            "gru", partial(_gru_step, update=lambda z: z * (1 + 1e-5))
        ),
        "gradient of the reset gate missing": _with_step(
            "gru", partial(_gru_step, pick=Tensor.detach)
        ),
        "gradient straight to h missing": _with_step("gru", partial(_gru_step, cut_h=True)),
    }


def _gru_step(
    projected,
    state,
    at,
    *,
    update=lambda z: z,
    squash=torch.tanh,
    pick=lambda r: r,
    early: bool = False,
    cut_h: bool = False,
):
    (h,) = state
    x_r, x_z, x_n = projected.chunk(3, dim=-1)
    h_r, h_z, h_n = at.product(h).chunk(3, dim=-1)
    r, z = pick((x_r + h_r).sigmoid()), update((x_z + h_z).sigmoid())
    if early:
        w_n, b_n = at.weights.w_hh.chunk(3)[2], at.weights.b_hh.chunk(3)[2]
        n = squash(x_n + F.linear(r * h, w_n, b_n))
    else:
        n = squash(x_n + r * h_n)
    return ((1 - z) * n + z * (h.detach() if cut_h else h),), (r, z, n)


def _wrong_rnns(cell: str) -> dict[str, Layer]:
    def other(projected, state, at):
        z = projected + at.product(state[0])
        return (z.tanh() if cell == "rnn_relu" else z.relu(),), ()

    def leaky(projected, state, at):
        z = projected + at.product(state[0])
        return (F.leaky_relu(z, 1e-4) if cell == "rnn_relu" else z.tanh() * (1 + 1e-5),), ()

    return {
        "the other nonlinearity": _with_step(cell, other),
        "the nonlinearity slightly off": _with_step(cell, leaky),
    }


def _with_step(cell: str, step: Step) -> Layer:
    """Return the layer with a wrong step."""

    def layer(x, *arguments, **options):
        *states, weights = arguments
        wrong = reference.CELLS[cell]._replace(step=step)
        y, final, traced = reference.layer(wrong, x, tuple(states), weights, **options)
        return y, *final, traced

    return layer


def _with_weights(cell: str, change: Callable[[Weights], Weights]) -> Layer:
    """Return the reference with the weights of every direction changed."""

    def layer(x, *arguments, **options):
        *states, weights = arguments
        count = len(weights) // states[0].shape[0]
        names = Weights._fields[:count]
        changed: list[Tensor] = []
        for start in range(0, len(weights), count):
            part = Weights(**dict(zip(names, weights[start : start + count], strict=True)))
            changed += [weight for weight in change(part)[:5] if weight is not None]
        return reference_of(cell)(x, *states, changed, **options)

    return layer


def _swap_gates(w: Weights, gates: str, a: str, b: str) -> Weights:
    order = [gates.index({a: b, b: a}.get(gate, gate)) for gate in gates]

    def swap(weight: Tensor) -> Tensor:
        return torch.cat([weight.chunk(len(gates))[gate] for gate in order])

    return w._replace(w_ih=swap(w.w_ih), w_hh=swap(w.w_hh), b_ih=swap(w.b_ih), b_hh=swap(w.b_hh))


def _cut(weight: Tensor) -> Tensor:
    return torch.cat([weight[:, :-1], torch.zeros_like(weight[:, -1:])], dim=1)


def _with_cell(change, *, squash=torch.tanh, stale: bool = False, cut_h: bool = False) -> Layer:
    """Return the layer with a wrong step: ``change`` alters its gates and the c it starts from."""

    def step(projected, state, at):
        h, c = state
        raw = (projected + at.product(h.detach() if cut_h else h)).chunk(4, dim=-1)
        parts = {f"raw_{gate}": value for gate, value in zip("ifgo", raw, strict=True)}
        parts |= {gate: parts[f"raw_{gate}"].sigmoid() for gate in "ifo"}
        parts |= {"g": parts["raw_g"].tanh(), "c": c}
        change(parts)
        after = parts["f"] * parts["c"] + parts["i"] * parts["g"]
        h = F.linear(parts["o"] * squash(c if stale else after), at.weights.w_hr)
        return (h, after), tuple(parts[gate] for gate in "ifgo")

    return _with_step("lstm", step)


def _with_inputs(cell: str, change: Callable[[dict], None]) -> Layer:
    """Return the reference called with an argument changed."""

    def layer(x, *arguments, **options):
        *states, weights = arguments
        given = {"x": x, "states": states, **options}
        change(given)
        x, states = given.pop("x"), given.pop("states")
        return reference_of(cell)(x, *states, weights, **given)

    return layer


def _shift(reset: Tensor, steps: int) -> Tensor:
    moved = reset.roll(steps, 0)
    moved[0 if steps > 0 else -1] = False
    return moved


def _keep_first(reset: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(reset[:1]), reset[1:]])


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
    moved = {**options, "reset": _shift(options["reset"], 1)}
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


def _reset_in_the_padding(given: dict) -> None:
    """Let a cut right at the end of a sequence discard the state of the direction against time."""
    padded = torch.cat([given["reset"], torch.zeros_like(given["reset"][:1])])
    keep = ~padded.gather(0, given["lengths"].unsqueeze(0)).squeeze(0).unsqueeze(-1)
    given["states"] = [torch.stack([s[0], torch.where(keep, s[1], 0)]) for s in given["states"]]


def _states_swapped(run, *arguments, **options):
    """Exchange h_n and c_n where their widths allow, else the directions of h_n."""
    y, h_n, *others, traced = run(*arguments, **options)
    if others and h_n.shape == others[0].shape:
        return y, others[0], h_n, traced
    return y, h_n.flip(0), *others, traced


def _trace_reversed(run, *arguments, **options):
    *right, traced = run(*arguments, **options)
    return *right, traced and {name: value.flip(1) for name, value in traced.items()}


def _trace_late(run, *arguments, **options):
    *right, traced = run(*arguments, **options)
    last = list(traced or {})[-1:]
    return *right, traced and {**traced, last[0]: traced[last[0]].roll(1, 1)}
