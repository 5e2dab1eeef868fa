"""Checks that need the package as users have it: export of the network, and its own type errors."""

from __future__ import annotations

import pytest
import torch

from gatewise.errors import InvalidSettingsError
from gatewise.tasks import Forecaster
from tasks.cases import QUICK, waves


@pytest.mark.parametrize("reader", ["points", "segments"])
@pytest.mark.parametrize("embedding", [False, True])
def test_the_network_exports_with_any_number_of_windows(reader: str, embedding: bool):
    frame = waves(rows=80, series=("a", "b", "c"))
    model = Forecaster(**QUICK, reader=reader, series_embedding=embedding)
    network = model.fit(frame, progress=False).network_
    inputs = model.encode(frame)
    batch = torch.export.Dim("batch", min=1)
    shapes = {name: {0: batch} for name in inputs}
    exported = torch.export.export(network, (), kwargs=inputs, dynamic_shapes=shapes).module()
    more = model.encode(waves(rows=80, series=("a", "b", "c", "d", "e")))
    torch.testing.assert_close(exported(**more), network(**more))


def test_the_constructor_takes_anything_and_fit_refuses_it():
    model = Forecaster(horizon="24", past_covariates="x", dropout=None)
    with pytest.raises(InvalidSettingsError) as caught:
        model.fit(waves(rows=80))
    assert {fault.where for fault in caught.value.faults} == {
        "horizon",
        "past_covariates",
        "dropout",
    }
