"""nn.LSTM in worker processes, forked and spawned, and in threads."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from gatewise.nn import LSTM
from support.compare import assert_equal


def _layer() -> tuple[LSTM, Tensor]:
    torch.manual_seed(0)
    return LSTM(8, 16, 2, bidirectional=True), torch.randn(5, 40, 8)


def _run(layer: LSTM, x: Tensor) -> Tensor:
    y = layer(x, lengths=torch.arange(40) % 5 + 1)[0]
    y.square().sum().backward()
    return torch.cat([y.detach().flatten(), *(w.grad.flatten() for w in layer.parameters())])


def _work(sender, layer: LSTM, x: Tensor) -> None:
    # As an array: shared tensors would need the sender to outlive the reading.
    sender.send(_run(layer, x).numpy())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_computes_the_same(method):
    layer, x = _layer()
    expected = _run(layer, x)  # also starts the threads that a fork must not wait for
    layer.zero_grad()
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, layer, x), daemon=True)
    process.start()
    sender.close()
    assert receiver.poll(60), "the worker hangs"
    got = torch.from_numpy(receiver.recv())
    process.join(60)
    assert process.exitcode == 0
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_threads_share_a_layer():
    layer, x = _layer()
    layer.eval()
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda _: layer(x)[0].detach(), range(16)))
    assert_equal(dict(enumerate(outputs)), dict.fromkeys(range(16), layer(x)[0].detach()))
