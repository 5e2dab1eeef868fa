"""The variants of a layer as a torch user writes them: a Python loop over the steps.

Not the shortest loops but the fastest that plain torch allows: one matrix product for the inputs of
all steps, one for the gates of a step with its sum fused (`addmm`), one call for all gates of the
same activation (o stands before g, so that the sigmoids are neighbours), and all masks drawn at
once. Where a fused layer of torch's does the work, as for dropped weights and lengths, it is used.

A loop takes the weights of one layer by their names in gatewise, without the suffix, the input
T×B×I and whether it trains, and returns the output T×B×H. The equations and their papers stand in
`gatewise.ops.reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Weights = Mapping[str, Tensor]
Loop = Callable[[Weights, Tensor, bool], Tensor]

DROPOUT = 0.3  # of the recurrent connections, and of the recurrent weights
ZONEOUT = 0.1  # of each state
_ONE_LAYER = (True, 1, 0.0, True, False)  # biases, layers, dropout, training, directions


def peephole_lstm(w: Weights, x: Tensor, training: bool) -> Tensor:  # noqa: ARG001
    """The gates see the cell state."""
    H, recurrent = w["weight_hh"].shape[1], _o_before_g(w["weight_hh"]).t()
    peep_i, peep_f, peep_o = w["weight_peephole"].view(3, H)
    peep_if = torch.stack((peep_i, peep_f))

    def step(z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        gates = torch.addmm(z, h, recurrent).view(-1, 4, H)
        i, f = torch.sigmoid(torch.addcmul(gates[:, :2], peep_if, c[:, None])).unbind(1)
        c = torch.addcmul(f * c, i, torch.tanh(gates[:, 3]))
        return torch.sigmoid(torch.addcmul(gates[:, 2], peep_o, c)) * torch.tanh(c), c

    return _through_time(step, 2, H, _lstm_inputs(w, x))


def coupled_lstm(w: Weights, x: Tensor, training: bool) -> Tensor:  # noqa: ARG001
    """The input gate is 1 − f; the weights are those of f, g, o."""
    H = w["weight_hh"].shape[1]
    order = torch.arange(3 * H).view(3, H)[[0, 2, 1]].flatten()
    recurrent = w["weight_hh"][order].t()
    inputs = F.linear(x, w["weight_ih"][order], (w["bias_ih"] + w["bias_hh"])[order])

    def step(z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        gates = torch.addmm(z, h, recurrent)
        f, o = torch.sigmoid(gates[:, : 2 * H]).chunk(2, 1)
        c = torch.lerp(torch.tanh(gates[:, 2 * H :]), c, f)
        return o * torch.tanh(c), c

    return _through_time(step, 2, H, inputs)


def layer_norm_lstm(w: Weights, x: Tensor, training: bool) -> Tensor:  # noqa: ARG001
    """Both products and the cell state are normalised."""
    H, recurrent = w["weight_hh"].shape[1], _o_before_g(w["weight_hh"]).t()
    weight, bias = _o_before_g(w["weight_ln_hh"]), _o_before_g(w["bias_ln_hh"])
    weight_c, bias_c = w["weight_ln_c"], w["bias_ln_c"]
    products = F.linear(x, w["weight_ih"])
    bias_inputs = w["bias_ln_ih"] + w["bias_ih"] + w["bias_hh"]
    inputs = F.layer_norm(products, (4 * H,), w["weight_ln_ih"], bias_inputs)
    inputs = _o_before_g(inputs, 2)

    def step(z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        gates = z + F.layer_norm(h @ recurrent, (4 * H,), weight, bias)
        i, f, o = torch.sigmoid(gates[:, : 3 * H]).chunk(3, 1)
        c = torch.addcmul(f * c, i, torch.tanh(gates[:, 3 * H :]))
        return o * torch.tanh(F.layer_norm(c, (H,), weight_c, bias_c)), c

    return _through_time(step, 2, H, inputs)


def recurrent_dropout_lstm(w: Weights, x: Tensor, training: bool) -> Tensor:
    """The step sees h through one mask for the whole sequence."""
    plain, H = _lstm_step(w), w["weight_hh"].shape[1]
    mask = F.dropout(x.new_ones(x.shape[1], H), DROPOUT, training)

    def step(z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        return plain(z, h * mask, c)

    return _through_time(step if training else plain, 2, H, _lstm_inputs(w, x))


def zoneout_lstm(w: Weights, x: Tensor, training: bool) -> Tensor:
    """Elements of c and h keep their value at random; without training, the expectation."""
    plain, H = _lstm_step(w), w["weight_hh"].shape[1]

    def step(z: Tensor, keep: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        new_h, new_c = plain(z, h, c)
        return _zoned(keep[0], h, new_h), _zoned(keep[1], c, new_c)

    keeps = _zoneout_masks(x, (2, x.shape[1], H), training)
    return _through_time(step, 2, H, _lstm_inputs(w, x), keeps)


def weight_dropout_lstm(w: Weights, x: Tensor, training: bool) -> Tensor:
    """torch's fused layer with recurrent weights of which some are dropped."""
    dropped = F.dropout(w["weight_hh"], DROPOUT, training)
    weights = [w["weight_ih"], dropped, w["bias_ih"], w["bias_hh"]]
    zeros = x.new_zeros(1, x.shape[1], dropped.shape[1])
    return torch.lstm(x, (zeros, zeros), weights, *_ONE_LAYER, batch_first=False)[0]


def lengths_lstm(w: Weights, x: Tensor, training: bool) -> Tensor:  # noqa: ARG001
    """torch's fused layer on a packed batch, and the padding back in place."""
    T, B, _ = x.shape
    packed = pack_padded_sequence(x, drawn_lengths(T, B), enforce_sorted=False)
    weights = [w[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    zeros = x.new_zeros(1, B, w["weight_hh"].shape[1])
    y = torch.lstm(packed.data, packed.batch_sizes, (zeros, zeros), weights, *_ONE_LAYER)[0]
    return pad_packed_sequence(packed._replace(data=y), total_length=T)[0]


def layer_norm_gru(w: Weights, x: Tensor, training: bool) -> Tensor:  # noqa: ARG001
    """Both products are normalised, the candidate's recurrent part before the reset gate."""
    H, recurrent = w["weight_hh"].shape[1], w["weight_hh"].t()
    weight, bias = w["weight_ln_hh"], w["bias_ln_hh"] + w["bias_hh"]
    bias_inputs = w["bias_ln_ih"] + w["bias_ih"]
    products = F.linear(x, w["weight_ih"])
    inputs = F.layer_norm(products, (3 * H,), w["weight_ln_ih"], bias_inputs)

    def step(z: Tensor, h: Tensor) -> tuple[Tensor]:
        return _gru_cell(z, F.layer_norm(h @ recurrent, (3 * H,), weight, bias), h)

    return _through_time(step, 1, H, inputs)


def recurrent_dropout_gru(w: Weights, x: Tensor, training: bool) -> Tensor:
    """The products of a step see h through one mask for the whole sequence."""
    H, recurrent, bias = w["weight_hh"].shape[1], w["weight_hh"].t(), w["bias_hh"]
    mask = F.dropout(x.new_ones(x.shape[1], H), DROPOUT, training)

    def step(z: Tensor, h: Tensor) -> tuple[Tensor]:
        return _gru_cell(z, torch.addmm(bias, h * mask, recurrent), h)

    return _through_time(step, 1, H, F.linear(x, w["weight_ih"], w["bias_ih"]))


def zoneout_gru(w: Weights, x: Tensor, training: bool) -> Tensor:
    """Elements of h keep their value at random; without training, the expectation."""
    H, recurrent, bias = w["weight_hh"].shape[1], w["weight_hh"].t(), w["bias_hh"]

    def step(z: Tensor, keep: Tensor, h: Tensor) -> tuple[Tensor]:
        (new,) = _gru_cell(z, torch.addmm(bias, h, recurrent), h)
        return (_zoned(keep, h, new),)

    keeps = _zoneout_masks(x, (x.shape[1], H), training)
    return _through_time(step, 1, H, F.linear(x, w["weight_ih"], w["bias_ih"]), keeps)


def reset_before_gru(w: Weights, x: Tensor, training: bool) -> Tensor:  # noqa: ARG001
    """The reset gate acts on h before the product, so that a step has two."""
    H = w["weight_hh"].shape[1]
    gates, candidate = w["weight_hh"][: 2 * H].t(), w["weight_hh"][2 * H :].t()

    def step(z: Tensor, h: Tensor) -> tuple[Tensor]:
        r, u = torch.sigmoid(torch.addmm(z[:, : 2 * H], h, gates)).chunk(2, 1)
        return (torch.lerp(torch.tanh(torch.addmm(z[:, 2 * H :], r * h, candidate)), h, u),)

    return _through_time(step, 1, H, F.linear(x, w["weight_ih"], w["bias_ih"] + w["bias_hh"]))


def drawn_lengths(T: int, B: int) -> Tensor:
    """Return lengths spread evenly over 1..T, in an order that is always the same."""
    return 1 + torch.randperm(B, generator=torch.Generator().manual_seed(0)) * T // B


def _through_time(step: Callable[..., tuple], states: int, hidden: int, *inputs: Tensor) -> Tensor:
    """Run ``step(*inputs at t, *states)``, which returns the states, h first; return every h."""
    state = (inputs[0].new_zeros(inputs[0].shape[1], hidden),) * states
    outputs = []
    for now in zip(*(each.unbind() for each in inputs), strict=True):
        state = step(*now, *state)
        outputs.append(state[0])
    return torch.stack(outputs)


def _lstm_inputs(w: Weights, x: Tensor) -> Tensor:
    bias = _o_before_g(w["bias_ih"] + w["bias_hh"])
    return F.linear(x, _o_before_g(w["weight_ih"]), bias)


def _lstm_step(w: Weights) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    H, recurrent = w["weight_hh"].shape[1], _o_before_g(w["weight_hh"]).t()

    def step(z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        gates = torch.addmm(z, h, recurrent)
        i, f, o = torch.sigmoid(gates[:, : 3 * H]).chunk(3, 1)
        c = torch.addcmul(f * c, i, torch.tanh(gates[:, 3 * H :]))
        return o * torch.tanh(c), c

    return step


def _gru_cell(z: Tensor, recurrent: Tensor, h: Tensor) -> tuple[Tensor]:
    H = h.shape[1]
    r, u = torch.sigmoid(z[:, : 2 * H] + recurrent[:, : 2 * H]).chunk(2, 1)
    n = torch.tanh(torch.addcmul(z[:, 2 * H :], r, recurrent[:, 2 * H :]))
    return (torch.lerp(n, h, u),)


def _o_before_g(gates: Tensor, axis: int = 0) -> Tensor:
    """Reorder i, f, g, o along an axis to i, f, o, g."""
    i, f, g, o = gates.chunk(4, axis)
    return torch.cat((i, f, o, g), axis)


def _zoneout_masks(x: Tensor, shape: tuple[int, ...], training: bool) -> Tensor:
    """Return for every step what stays: drawn in training, the probability otherwise."""
    chances = x.new_full((x.shape[0], *shape), ZONEOUT)
    return torch.bernoulli(chances) if training else chances


def _zoned(keep: Tensor, old: Tensor, new: Tensor) -> Tensor:
    return torch.lerp(new, old, keep)


LOOPS: dict[str, Loop] = {
    loop.__name__: loop
    for loop in (
        peephole_lstm,
        coupled_lstm,
        layer_norm_lstm,
        recurrent_dropout_lstm,
        zoneout_lstm,
        weight_dropout_lstm,
        lengths_lstm,
        layer_norm_gru,
        recurrent_dropout_gru,
        zoneout_gru,
        reset_before_gru,
    )
}
"""Every loop by its name."""
