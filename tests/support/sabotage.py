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
from gatewise.ops.reference.weights import Weights, split_weights

from .layer_case import Layer, reference_of
from .sabotage_directions import shift, wrong_directions

GATES = {
    "lstm": "ifgo",
    "gru": "rzn",
    "rnn_tanh": "h",
    "rnn_relu": "h",
    "lstm_coupled": "fgo",
    "lstm_no_forget": "igo",
    "gru_before": "rzn",
    "min_gru": "zn",
    "min_gru_positive": "zn",
    "min_lstm": "fig",
    "min_lstm_positive": "fig",
    "slstm": "ifzo",
    "slstm_exponential": "ifzo",
}
MINIMAL = [cell for cell in GATES if cell.startswith("min")]


def wrong_layers(cell: str) -> dict[str, Layer]:
    """Return the wrong layers of a cell by what is wrong with them."""
    layers = _wrong_weights(cell) | _wrong_inputs(cell) | wrong_directions(cell)
    own = {"lstm": _wrong_lstms, "gru": _wrong_grus}
    own["gru_before"] = lambda: {"reset gate after the product": _with_step(cell, _gru_step)}
    own |= dict.fromkeys(("lstm_coupled", "lstm_no_forget"), partial(_wrong_lstms_of_three, cell))
    own |= {cell: partial(_wrong_minimal_cells, cell) for cell in MINIMAL}
    own |= {cell: partial(_wrong_slstms, cell) for cell in ("slstm", "slstm_exponential")}
    return layers | own.get(cell, partial(_wrong_rnns, cell))()


def _wrong_weights(cell: str) -> dict[str, Layer]:
    def change(alter: Callable[[Weights], Weights]) -> Layer:
        return _with_weights(cell, alter)

    swapped = {
        f"gates {a} and {b} swapped": change(lambda w, a=a, b=b: _swap_gates(w, GATES[cell], a, b))
        for a, b in combinations(GATES[cell], 2)
    }
    swapped |= {
        "b_ih dropped": change(lambda w: w._replace(b_ih=torch.zeros_like(w.b_ih))),
        "w_ih without its last column": change(lambda w: w._replace(w_ih=_cut(w.w_ih))),
        "gradient of b_ih missing": change(lambda w: w._replace(b_ih=w.b_ih.detach())),
    }
    if cell in MINIMAL:
        return swapped
    return swapped | {
        "b_hh dropped": change(lambda w: w._replace(b_hh=torch.zeros_like(w.b_hh))),
        "b_ih taken twice": change(lambda w: w._replace(b_hh=w.b_ih)),
        "w_hh dropped": change(lambda w: w._replace(w_hh=torch.zeros_like(w.w_hh))),
        "w_hh without its last column": change(lambda w: w._replace(w_hh=_cut(w.w_hh))),
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
        "reset one step late": change(lambda a: a.update(reset=shift(a["reset"], 1))),
        "reset one step early": change(lambda a: a.update(reset=shift(a["reset"], -1))),
        "reset at step 0 ignored": change(lambda a: a.update(reset=_keep_first(a["reset"]))),
        "reset beyond the lengths counted": change(_reset_in_the_padding),
    }
    for n, name in enumerate(reference.CELLS[cell].states):
        layers[f"{name}0 dropped"] = each(n, torch.zeros_like)
        layers[f"gradient of {name}0 missing"] = each(n, Tensor.detach)
    return layers


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


def _wrong_minimal_cells(cell: str) -> dict[str, Layer]:
    right = reference.CELLS[cell].step
    other = cell.removesuffix("_positive") if cell.endswith("positive") else f"{cell}_positive"

    def with_gates(change, state=lambda h: h):
        def step(projected, before, at):
            h = state(before[0])
            _, shown = right(projected, before, at)
            *gates, candidate = shown
            stays, fresh = gates if len(gates) == 2 else (1 - gates[0], gates[0])
            stays, fresh, candidate = change(stays, fresh, candidate)
            return (stays * h + fresh * candidate,), shown

        return _with_step(cell, step)

    wrong = {
        "the other candidate": _with_step(cell, reference.CELLS[other].step),
        "candidate with tanh": with_gates(lambda f, i, g: (f, i, g.tanh())),
        "gate inverted": with_gates(lambda f, i, g: (i, f, g)),
        "gate slightly off": with_gates(lambda f, i, g: (f, i * (1 + 1e-5), g)),
        "gradient of the gate missing": with_gates(lambda f, i, g: (f.detach(), i.detach(), g)),
        "gradient of the candidate missing": with_gates(lambda f, i, g: (f, i, g.detach())),
        "gradient straight to h missing": with_gates(lambda *parts: parts, Tensor.detach),
        "h lost between steps": with_gates(lambda *parts: parts, torch.zeros_like),
    }
    if cell.startswith("min_lstm"):
        wrong["gates that do not add up to one"] = _with_step(cell, _min_lstm_apart)
    return wrong


def _wrong_slstms(cell: str) -> dict[str, Layer]:
    def with_parts(change=lambda parts: None, finish=lambda o, c, n: o * c / n):
        def step(projected, state, at):
            h, c, n, m = state
            log_i, log_f, z, o = (projected + at.product(h)).chunk(4, dim=-1)
            log_f = F.logsigmoid(log_f) if cell == "slstm" else log_f
            parts = {"log_i": log_i, "log_f": log_f, "z": z.tanh(), "o": o.sigmoid()}
            parts |= {"c": c, "n": n, "m": m}
            change(parts)
            log_i, log_f, z, o, c, n, m = parts.values()
            largest = torch.maximum(log_f + m, log_i)
            i, f = (log_i - largest).exp(), (log_f + m - largest).exp()
            c, n = f * c + i * z, f * n + i
            return (finish(o, c, n), c, n, largest), (log_i, log_f, z, o)

        return _with_step(cell, step)

    other = "slstm_exponential" if cell == "slstm" else "slstm"
    return {
        "the other forget gate": _with_step(cell, reference.CELLS[other].step),
        "without the normaliser": with_parts(finish=lambda o, c, _: o * c),
        "h with tanh": with_parts(finish=lambda o, c, n: o * (c / n).tanh()),
        "h slightly off": with_parts(finish=lambda o, c, n: o * c / n * (1 + 1e-5)),
        "input gate slightly off": with_parts(lambda p: p.update(log_i=p["log_i"] + 1e-5)),
        "n lost between steps": with_parts(lambda p: p.update(n=torch.ones_like(p["n"]))),
        "m lost between steps": with_parts(lambda p: p.update(m=torch.zeros_like(p["m"]))),
        "gradient through m cut": with_parts(lambda p: p.update(m=p["m"].detach())),
        "gradient of the forget gate missing": with_parts(
            lambda p: p.update(log_f=p["log_f"].detach())
        ),
        "gradient through n cut": with_parts(lambda p: p.update(n=p["n"].detach())),
    }


def _min_lstm_apart(projected, state, _):
    f, i, g = projected.chunk(3, dim=-1)
    f, i = f.sigmoid(), i.sigmoid()
    return (f * state[0] + i * g,), (f, i, g)


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
        parts = split_weights(
            weights, len(states[0]), states=len(states), feeds_back=cell not in MINIMAL
        )
        changed = [w for part in parts for w in change(part)[:5] if w is not None]
        return reference_of(cell)(x, *states, changed, **options)

    return layer


def _swap_gates(w: Weights, gates: str, a: str, b: str) -> Weights:
    order = [gates.index({a: b, b: a}.get(gate, gate)) for gate in gates]

    def swap(weight: Tensor | None) -> Tensor | None:
        if weight is None:
            return None
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


def _keep_first(reset: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(reset[:1]), reset[1:]])


def _reset_in_the_padding(given: dict) -> None:
    """Let a cut right at the end of a sequence discard the state of the direction against time."""
    padded = torch.cat([given["reset"], torch.zeros_like(given["reset"][:1])])
    keep = ~padded.gather(0, given["lengths"].unsqueeze(0)).squeeze(0).unsqueeze(-1)
    given["states"] = [torch.stack([s[0], torch.where(keep, s[1], 0)]) for s in given["states"]]
