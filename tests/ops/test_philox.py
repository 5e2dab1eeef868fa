"""The masks: the published generator, in the reference and in the kernels alike."""

from __future__ import annotations

import pytest
import torch

from gatewise.ops import dispatch
from gatewise.ops.reference import philox
from support.backends import BACKENDS

# Known answers that ship with the authors' library, Random123: counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter, key, words, monkeypatch):
    unit, row, step, stream = counter
    seed = key[0] | key[1] << 32
    seed = torch.tensor([seed - (1 << 64) if seed >> 63 else seed])
    # Only the one counter, however large its unit and row are.
    arange = torch.arange
    offsets = iter([unit, row])
    monkeypatch.setattr(philox.torch, "arange", lambda n, **like: arange(n, **like) + next(offsets))
    drawn = philox.philox(seed, stream, step, 1, 1)
    assert tuple(int(word) for word in drawn) == words


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masks_of_kernels_are_those_of_the_reference(backend, dtype):
    for seed, word in ((-(2**63), 0), (12345, 1), (2**62, 2), (-1, 3)):
        given = (torch.tensor([seed]), 7, philox.PER_SEQUENCE, word, 0.37)
        like = torch.empty(5, 37, dtype=dtype)
        ours = dispatch.dropout_mask(*given, like, backend=backend)
        assert ours.dtype == dtype
        assert torch.equal(ours, philox.dropout_mask(*given, 5, 37).to(dtype))


def test_masks_are_uniform_and_independent():
    words = philox.philox(torch.tensor([3]), 0, 5, 64, 4096)
    for word in words:
        share = word.double() / 2**32
        assert abs(share.mean() - 0.5) < 4 * (1 / 12) ** 0.5 / share.numel() ** 0.5
    # Neighbouring steps, streams and seeds have nothing to do with each other.
    first = words[0].double()
    for other in (
        philox.philox(torch.tensor([3]), 0, 6, 64, 4096),
        philox.philox(torch.tensor([3]), 1, 5, 64, 4096),
        philox.philox(torch.tensor([4]), 0, 5, 64, 4096),
        words[1:],
    ):
        correlation = torch.corrcoef(torch.stack([first.flatten(), other[0].double().flatten()]))
        assert abs(correlation[0, 1]) < 4 / first.numel() ** 0.5


@pytest.mark.parametrize("probability", [0.0, 1e-3, 0.5, 1.0])
def test_the_ends_and_the_mean_of_a_mask(probability):
    mask = philox.dropout_mask(torch.tensor([1]), 0, 0, 0, probability, 512, 512)
    zeros = (mask == 0).double().mean()
    assert abs(zeros - probability) <= 4 * (probability * (1 - probability)) ** 0.5 / 512
    kept = mask[mask != 0]
    if probability < 1:
        assert torch.equal(kept, torch.full_like(kept, 1 / (1 - probability)))
