"""What nn.LSTM adds to torch's: lengths, resets and traces, in every layout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from support.backends import CHOICES
from support.compare import assert_close
from support.twins import CONFIGURATIONS, results, twins

TOLERANCE = 1e-13
T, B = 7, 4
LENGTHS = [3, 7, 1, 6]

each_configuration = pytest.mark.parametrize("options", CONFIGURATIONS, ids=str)
pytestmark = pytest.mark.parametrize("backend", CHOICES)


def _input(layer, seed: int = 5) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(T, B, layer.input_size, generator=draw, dtype=torch.float64)
    return x.transpose(0, 1).contiguous() if layer.batch_first else x


def _with(layer, **options):
    """Return the layer as a callable that passes the options on."""

    class Bound(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, *call):
            return self.layer(*call, **options)

        def named_parameters(self, *args, **kwargs):
            return self.layer.named_parameters(*args, **kwargs)

    return Bound()


class _Packing(torch.nn.Module):
    """torch's way to the same: pack, run, pad."""

    def __init__(self, layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x, *hx):
        first = self.layer.batch_first
        packed = pack_padded_sequence(x, LENGTHS, first, enforce_sorted=False)
        output, states = self.layer(packed, *hx)
        return pad_packed_sequence(output, first, total_length=T)[0], states

    def named_parameters(self, *args, **kwargs):
        return self.layer.named_parameters(*args, **kwargs)


@each_configuration
@pytest.mark.parametrize("kind", [torch.tensor, list], ids=["tensor", "list"])
def test_lengths_do_what_packing_does(options, kind, backend):
    theirs, ours = twins(4, 5, backend=backend, **options)
    x = _input(theirs)
    got = results(_with(ours, lengths=kind(LENGTHS)), x)
    assert_close(got, results(_Packing(theirs), x), tolerance=TOLERANCE)


@each_configuration
def test_resets_run_the_pieces_apart(options, backend):
    """One cut for the whole batch, layer by layer: each layer sees the pieces of the one below."""
    _, ours = twins(4, 5, backend=backend, **options)
    x = _input(ours)
    time = 1 if ours.batch_first else 0
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[3] = True
    layout = reset.T if ours.batch_first else reset
    y, (h_n, c_n) = ours(x, reset=layout)
    first, last = (ours(piece) for piece in x.split([3, T - 3], dim=time))
    assert_close({"y": y}, {"y": torch.cat([first[0], last[0]], dim=time)}, tolerance=TOLERANCE)
    D = ours.num_directions
    for got, begin, end in zip((h_n, c_n), first[1], last[1], strict=True):
        assert_close({"with time": got[::D]}, {"with time": end[::D]}, tolerance=TOLERANCE)
        against = {"against time": got[D - 1 :: D]}
        expected = (begin if D == 2 else end)[D - 1 :: D]
        assert_close(against, {"against time": expected}, tolerance=TOLERANCE)


@each_configuration
def test_a_reset_at_step_0_discards_the_state_of_the_forward_direction(options, backend):
    _, ours = twins(4, 5, backend=backend, **options)
    x, rows = _input(ours), ours.num_layers * ours.num_directions
    hx = (
        torch.ones(rows, B, ours.state_size, dtype=torch.float64),
        torch.ones(rows, B, ours.hidden_size, dtype=torch.float64),
    )
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[0, 1] = True
    y, _ = ours(x, hx, reset=reset.T if ours.batch_first else reset)
    cleared = tuple(state.clone() for state in hx)
    for state in cleared:
        state[:: ours.num_directions, 1] = 0
    assert_close({"y": y}, {"y": ours(x, cleared)[0]}, tolerance=TOLERANCE)


@each_configuration
def test_a_trace_shows_what_the_layers_did(options, backend):
    _, ours = twins(4, 5, backend=backend, **options)
    x = _input(ours)
    y, states, trace = ours(x, lengths=LENGTHS, trace=True)
    plain = ours(x, lengths=LENGTHS)
    assert_close(
        {"y": y, "h_n": states[0], "c_n": states[1]},
        {"y": plain[0], "h_n": plain[1][0], "c_n": plain[1][1]},
        tolerance=TOLERANCE,
    )
    L, D = ours.num_layers, ours.num_directions
    for name, part in trace._asdict().items():
        assert part.shape == (L * D, T, B, ours.state_size if name == "h" else 5)
        for b, length in enumerate(LENGTHS):
            assert (part[:, length:, b] == 0).all()
    top = torch.cat([*trace.h[-D:]], dim=-1)
    assert_close({"h": top}, {"h": y.transpose(0, 1) if ours.batch_first else y}, tolerance=0)
    last = torch.tensor(LENGTHS) - 1
    assert_close(
        {"c": trace.c[::D, last, torch.arange(B)]}, {"c": states[1][::D]}, tolerance=TOLERANCE
    )


def test_a_trace_is_differentiable(backend):
    _, ours = twins(4, 5, 2, backend=backend)
    x = _input(ours).requires_grad_()
    trace = ours(x, lengths=LENGTHS, trace=True)[2]
    (gradient,) = torch.autograd.grad(trace.f[1].sum(), x)
    assert gradient.abs().sum() > 0

    def forget(first: Tensor) -> Tensor:
        return ours(torch.cat([first, x.detach()[1:]]), trace=True)[2].f[1]

    assert torch.autograd.gradcheck(forget, x.detach()[:1].clone().requires_grad_())


def test_an_unbatched_sequence_has_lengths_resets_and_traces_too(backend):
    _, ours = twins(4, 5, 2, backend=backend, bidirectional=True)
    x = _input(ours)
    reset = torch.zeros(T, dtype=torch.bool)
    reset[2] = True
    y, (h_n, c_n), trace = ours(x[:, 0], lengths=[5], reset=reset, trace=True)
    batched = ours(x[:, :1], lengths=[5], reset=reset[:, None], trace=True)
    got = {"y": y, "h_n": h_n, "c_n": c_n, **trace._asdict()}
    want = {"y": batched[0][:, 0], "h_n": batched[1][0][:, 0], "c_n": batched[1][1][:, 0]}
    want |= {name: part.squeeze(2) for name, part in batched[2]._asdict().items()}
    assert_close(got, want, tolerance=0)


def test_all_features_together_have_the_right_gradients(backend):
    _, ours = twins(3, 4, 2, backend=backend, bidirectional=True, proj_size=2)
    draw = torch.Generator().manual_seed(0)
    reset = torch.rand(5, 2, generator=draw) < 0.4
    x = torch.randn(5, 2, 3, generator=draw, dtype=torch.float64).requires_grad_()

    def run(x: Tensor) -> tuple[Tensor, ...]:
        y, (h_n, c_n), trace = ours(x, lengths=[5, 3], reset=reset, trace=True)
        return y, h_n, c_n, *trace

    assert torch.autograd.gradcheck(run, x, fast_mode=True)  # each output costs a backward


def test_lengths_of_any_integer_dtype(backend):
    _, ours = twins(4, 5, backend=backend)
    x = _input(ours)
    expected = ours(x, lengths=torch.tensor(LENGTHS))[0]
    for dtype in (torch.int32, torch.uint8):
        assert torch.equal(ours(x, lengths=torch.tensor(LENGTHS, dtype=dtype))[0], expected)
