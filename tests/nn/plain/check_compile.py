"""The layers and Stack under torch.compile and torch.export: one graph, the same numbers."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import gatewise as gw
import gatewise.nn
from gatewise.nn import GRU, LSTM, LSTMCell, Stack
from support.backends import NATIVE
from support.compare import assert_close
from support.twins import results, twins

CONFIGURATIONS = [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"proj_size": 2, "batch_first": True},
]
TOLERANCE = 1e-12

# torch's compiler warns of what it does itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
]

each_configuration = pytest.mark.parametrize("options", CONFIGURATIONS, ids=str)


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()


def _input(layer, T: int = 4, B: int = 3) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    shape = (B, T) if layer.batch_first else (T, B)
    return torch.randn(*shape, 4, generator=draw, dtype=torch.float64)


def _full_graph(module: nn.Module, backend: str = "aot_eager"):
    return torch.compile(module, fullgraph=True, backend=backend)


def test_compiled_minimal_cells():
    layer = gatewise.nn.MinLSTM(4, 5, 2, bidirectional=True).double()
    x = _input(layer)
    assert_close(results(_full_graph(layer), x), results(layer, x), tolerance=TOLERANCE)


@pytest.mark.parametrize("reset", [False, True])
def test_compiled_mlstm(reset):
    layer = gatewise.nn.MLSTM(4, 6, heads=2, chunk_size=3).double()
    x = _input(layer)
    cuts = torch.rand(x.shape[:2]) < 0.3 if reset else None
    module = _Called(layer, lengths=torch.tensor([4, 2, 3]), reset=cuts)
    assert_close(results(_full_graph(module), x), results(module, x), tolerance=TOLERANCE)


class _Called(nn.Module):
    """A layer that is always called with some keywords."""

    def __init__(self, layer: nn.Module, **keywords: object) -> None:
        super().__init__()
        self.layer, self.keywords = layer, keywords

    def forward(self, x: Tensor):
        return self.layer(x, **self.keywords)


def test_compiled_cell_of_ones_own():
    def cell(x, h, weight, bias):
        return torch.tanh(x @ weight.T + bias + h)

    layer = gatewise.nn.Recurrent(cell, 4, 5, 2, weights={"weight": "H I", "bias": "H"}).double()
    x = _input(layer)
    assert_close(results(_full_graph(layer), x), results(layer, x), tolerance=TOLERANCE)


def test_compiled_frozen():
    layer = LSTM(4, 5, 2).double().eval()
    x = _input(layer)
    want = layer(x)[0]
    frozen = gw.freeze(layer)
    for run in (frozen, _full_graph(frozen), frozen):
        assert_close({"y": run(x)[0]}, {"y": want}, tolerance=TOLERANCE)


@pytest.mark.parametrize(
    "options",
    [*CONFIGURATIONS, {"kind": "GRU", "bidirectional": True}, {"kind": "RNN", "num_layers": 2}],
    ids=str,
)
def test_compiled_training(options):
    _, layer = twins(4, 5, **options)
    x = _input(layer)
    assert_close(results(_full_graph(layer), x), results(layer, x), tolerance=TOLERANCE)


@each_configuration
def test_compiled_with_everything(options):
    _, layer = twins(4, 5, **options)
    x, lengths = _input(layer), torch.tensor([4, 1, 3])
    reset = torch.zeros(x.shape[:2], dtype=torch.bool)
    reset[1, 1] = True
    rows = layer.num_layers * layer.num_directions
    hx = (
        torch.ones(rows, 3, layer.state_size, dtype=torch.float64),
        torch.ones(rows, 3, layer.hidden_size, dtype=torch.float64),
    )

    def run(module) -> dict[str, Tensor]:
        y, (h_n, c_n), trace = module(x, hx, lengths=lengths, reset=reset, trace=True)
        return {"y": y, "h_n": h_n, "c_n": c_n, **trace._asdict()}

    assert_close(run(_full_graph(layer)), run(layer), tolerance=TOLERANCE)


def test_compiled_and_exported_graphs_check_the_lengths():
    _, layer = twins(4, 5)
    x, good = _input(layer), torch.tensor([4, 1, 3])
    compiled = _full_graph(layer)
    exported = torch.export.export(layer, (x,), {"lengths": good}).module()
    for run in (compiled, exported):
        run(x, lengths=good)
        for bad in ([5, 1, 3], [4, 0, 3]):
            with pytest.raises(RuntimeError, match="expected lengths from 1 to T"):
                run(x, lengths=torch.tensor(bad))


@pytest.mark.slow
def test_compiled_by_inductor():
    _, layer = twins(4, 5, 2, bidirectional=True)
    x = _input(layer)
    compiled = _full_graph(layer, "inductor")
    assert_close(results(compiled, x), results(layer, x), tolerance=TOLERANCE)


def test_compiled_unbatched_and_without_gradients():
    _, layer = twins(4, 5)
    x = _input(layer)[:, 0]
    with torch.no_grad():
        got, want = _full_graph(layer)(x)[0], layer(x)[0]
    assert_close({"y": got}, {"y": want}, tolerance=TOLERANCE)


def test_compiled_dropout_is_drawn_anew():
    _, layer = twins(4, 5, 2, dropout=0.5)
    compiled, x = _full_graph(layer), _input(layer)
    assert not torch.equal(compiled(x)[0], compiled(x)[0])
    layer.eval()
    assert_close({"y": _full_graph(layer)(x)[0]}, {"y": layer(x)[0]}, tolerance=TOLERANCE)


def test_compiled_batch_norm_keeps_its_averages():
    layer = LSTM(4, 5, batch_norm_steps=2).double()
    other, x, lengths = copy.deepcopy(layer), _input(layer, T=3), [3, 1, 3]
    compiled = _full_graph(other)
    for _ in range(2):
        want, got = (module(x, lengths=lengths)[0] for module in (layer, compiled))
        assert_close({"y": got}, {"y": want}, tolerance=TOLERANCE)
        held, expected = (dict(module.named_buffers()) for module in (other, layer))
        assert_close(held, expected, tolerance=TOLERANCE)
    layer.eval(), other.eval()
    want, got = (module(x, lengths=lengths)[0] for module in (layer, compiled))
    assert_close({"y": got}, {"y": want}, tolerance=TOLERANCE)


@pytest.mark.parametrize("options", [{"recurrent_dropout": 0.5}, {"dropout": 0.3}], ids=str)
def test_compiled_with_a_generator_of_its_own(options):
    layer = LSTM(4, 5, 2, **options, generator=torch.Generator()).double()
    other, x = copy.deepcopy(layer), _input(layer)
    compiled = torch.compile(other, backend="eager")  # the graph breaks where a generator draws
    for _ in range(2):
        assert_close({"y": compiled(x)[0]}, {"y": layer(x)[0]}, tolerance=TOLERANCE)


def test_compiled_under_autocast():
    _, layer = twins(4, 5, dtype=torch.float32)
    x = _input(layer).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, want = _full_graph(layer)(x)[0], layer(x)[0]
    assert got.dtype == want.dtype == torch.bfloat16
    assert_close({"y": got}, {"y": want}, tolerance=0.005)


def test_compiled_packed_input():
    _, layer = twins(4, 5)
    packed = pack_padded_sequence(_input(layer), [4, 3, 1])
    got = torch.compile(layer, backend="eager")(packed)[0].data
    assert_close({"y": got}, {"y": layer(packed)[0].data}, tolerance=TOLERANCE)


def test_compiled_cell():
    torch.manual_seed(0)
    cell, x = LSTMCell(4, 5), torch.randn(3, 4)
    compiled = _full_graph(cell)
    for hx in (None, cell(x)):
        got, want = compiled(x, hx), cell(x, hx)
        assert_close(dict(enumerate(got)), dict(enumerate(want)), tolerance=1e-6)


def _stack() -> Stack:
    torch.manual_seed(0)
    layers = LSTM(4, 6), nn.LayerNorm(6), LSTM(6, 5, proj_size=3), nn.Dropout(0.1), nn.Linear(3, 2)
    return Stack(*layers).double().eval()


def test_compiled_stack_with_state():
    stack = _stack()
    x = torch.randn(4, 3, 4, dtype=torch.float64)
    state = stack(x)[1]
    got, want = _full_graph(stack)(x, state), stack(x, state)
    assert_close({"y": got[0]}, {"y": want[0]}, tolerance=TOLERANCE)
    assert_close({"c": got[1].layers[1][1]}, {"c": want[1].layers[1][1]}, tolerance=TOLERANCE)


@each_configuration
def test_exported(options):
    _, layer = twins(4, 5, **options)
    x, lengths = _input(layer), torch.tensor([4, 1, 3])
    program = torch.export.export(layer.eval(), (x,), {"lengths": lengths})
    saved = io.BytesIO()
    torch.export.save(program, saved)
    saved.seek(0)
    y, (h_n, c_n) = torch.export.load(saved).module()(x, lengths=lengths)
    want, (want_h, want_c) = layer(x, lengths=lengths)
    got = {"y": y, "h_n": h_n, "c_n": c_n}
    assert_close(got, {"y": want, "h_n": want_h, "c_n": want_c}, tolerance=TOLERANCE)


def test_exported_stack_streams():
    stack = _stack()
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    state = stack.initial_state(3)
    program = torch.export.export(stack, (x[:1], state)).module()
    steps = []
    for step in x.split(1):
        y, state = program(step, state)
        steps.append(y)
    assert_close({"y": torch.cat(steps)}, {"y": stack(x)[0]}, tolerance=TOLERANCE)


@pytest.mark.skipif(not NATIVE, reason="the reference unrolls its loop: T is fixed on export")
def test_exported_with_dynamic_time_and_batch():
    _, layer = twins(4, 5, 2, backend="native", bidirectional=True)
    T, B = torch.export.Dim("T", min=2, max=512), torch.export.Dim("B", min=2, max=64)
    program = torch.export.export(layer.eval(), (_input(layer),), dynamic_shapes=({0: T, 1: B},))
    for x in (_input(layer), _input(layer, 9, 5)):
        got = program.module()(x)[0]
        assert_close({"y": got}, {"y": layer(x)[0]}, tolerance=TOLERANCE)


def test_replace_then_compile():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 5))
    x = torch.randn(4, 3, 4)
    want = model(x)[0]
    got = _full_graph(gatewise.nn.replace(model))(x)[0]
    assert_close({"y": got}, {"y": want}, tolerance=1e-6)


@pytest.mark.skipif(not NATIVE, reason="needs the native kernel")
def test_a_block_chooses_the_kernel_that_runs():
    torch.manual_seed(0)
    layer = GRU(7, 33)
    x = torch.randn(9, 5, 7)
    native, reference = (_output(layer, x, name) for name in ("native", "reference"))
    assert not torch.equal(native, reference)
    assert torch.equal(native, layer(x)[0])
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x)[0], native)
    with gw.use_backend("reference"):
        assert torch.equal(layer(x)[0], reference)
        assert torch.equal(compiled(x)[0], reference)
    assert torch.equal(compiled(x)[0], native)


def _output(layer: GRU, x: torch.Tensor, backend: str) -> torch.Tensor:
    with gw.use_backend(backend):
        return layer(x)[0]
