"""The generators of examples/classics, against facts that are worked out in another way here."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import adding
import copy_memory
import framewise
import multiplication
import numpy as np
import pytest
import reber
import spikes
import temporal_order
import torch
from problem import Batch


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def answered_steps(batch: Batch, column: int) -> list[int]:
    return batch.counts[:, column].nonzero().flatten().tolist()


# --- adding and multiplication --------------------------------------------------------------------


def check_marked(batch: Batch, answer: Callable[[list[float], list[int]], float]) -> None:
    """Raise unless every sequence is one of the paper, and its target is ``answer``."""
    for column in range(batch.x.shape[1]):
        length = int(batch.lengths[column])
        numbers, markers = batch.x[:length, column].T.tolist()
        assert 100 <= length <= 110
        assert not batch.x[length:, column].any()
        marked = [step for step, marker in enumerate(markers) if marker == 1]
        others = [markers[step] for step in range(1, length - 1) if step not in marked]
        assert len(marked) == 2
        assert marked[0] < 10
        assert marked[1] < 49
        assert markers[-1] == -1
        assert markers[0] == (1 if marked[0] == 0 else -1)
        assert set(others) == {0}
        assert answered_steps(batch, column) == [length - 1]
        target = float(batch.target[length - 1, column, 0])
        assert target == pytest.approx(answer([numbers[step] for step in marked], marked), abs=1e-6)


def scaled_sum(numbers: list[float], marked: list[int]) -> float:
    own = [0.0 if step == 0 else number for number, step in zip(numbers, marked, strict=True)]
    return 0.5 + sum(own) / 4


def product(numbers: list[float], marked: list[int]) -> float:
    own = [1.0 if step == 0 else number for number, step in zip(numbers, marked, strict=True)]
    return own[0] * own[1]


def test_adding_asks_for_the_sum_of_the_marked():
    batch = adding.sample(400, generator())
    check_marked(batch, scaled_sum)
    assert -1 <= batch.x[..., 0].min() < -0.99
    assert batch.x[..., 0].max() > 0.99


def test_multiplication_asks_for_the_product_of_the_marked():
    batch = multiplication.sample(400, generator())
    check_marked(batch, product)
    there = torch.arange(110)[:, None] < batch.lengths  # beyond, all is zero
    assert 0 <= batch.x[there][:, 0].min() < 0.01
    assert batch.x[there][:, 0].max() > 0.99


def test_a_wrong_marker_or_target_is_noticed():
    batch = adding.sample(50, generator())
    with pytest.raises(AssertionError):
        check_marked(batch, product)
    unmarked = batch.x.clone()
    unmarked[1:60, 3, 1] = 0
    with pytest.raises(AssertionError):
        check_marked(batch._replace(x=unmarked), scaled_sum)
    with pytest.raises(AssertionError):
        check_marked(batch._replace(counts=batch.counts.roll(1, 0)), scaled_sum)


@pytest.mark.parametrize(
    ("sample", "problem"),
    [
        (adding.sample, adding.ADDING),
        (multiplication.sample, multiplication.MULTIPLICATION),
    ],
)
def test_the_baseline_is_the_variance_of_the_target(sample, problem):
    target = sample(40_000, generator()).target[0, :, 0]
    assert problem.baseline == pytest.approx(float(target.var()), rel=0.03)


# --- temporal order -------------------------------------------------------------------------------

CLASSES = {
    "order2": ["XX", "XY", "YX", "YY"],
    "order3": ["XXX", "XXY", "XYX", "XYY", "YXX", "YXY", "YYX", "YYY"],
}
PLACES = {"order2": [(10, 20), (50, 60)], "order3": [(10, 20), (33, 43), (66, 76)]}


def check_order(batch: Batch, name: str) -> None:
    """Raise unless every sequence and its class are those of the paper."""
    for column in range(batch.x.shape[1]):
        length = int(batch.lengths[column])
        word = "".join("EBabcdXY"[row.argmax()] for row in batch.x[:length, column])
        order = re.sub("[^XY]", "", word)
        assert 100 <= length <= 110
        assert re.fullmatch("E[abcdXY]+B", word)
        places = [step for step, symbol in enumerate(word) if symbol in "XY"]
        assert len(places) == len(PLACES[name])
        for place, (low, high) in zip(places, PLACES[name], strict=True):
            assert low <= place <= high
        assert answered_steps(batch, column) == [length - 1]
        target = batch.target[length - 1, column]
        assert target.sum() == 1
        assert CLASSES[name][target.argmax()] == order


@pytest.mark.parametrize("problem", [temporal_order.ORDER_2, temporal_order.ORDER_3])
def test_the_class_is_the_order_of_x_and_y(problem):
    batch = next(problem.batches(0))
    check_order(batch, problem.name)
    with pytest.raises(AssertionError):
        check_order(batch._replace(target=batch.target.flip(2)), problem.name)


# --- copy memory ----------------------------------------------------------------------------------


def check_copy(batch: Batch) -> None:
    """Raise unless ten symbols stand first, the mark ten before the end, and the target repeats."""
    symbols = batch.x.argmax(2)
    assert symbols.shape[0] == 120
    assert torch.equal(batch.x.sum(2), torch.ones_like(batch.x[..., 0]))
    assert (symbols[:10] < 8).all()
    assert (symbols[10:109] == 8).all()
    assert (symbols[109] == 9).all()
    assert (symbols[110:] == 8).all()
    assert (batch.target[:110] == 8).all()
    assert torch.equal(batch.target[110:], symbols[:10])
    assert batch.counts.all()


def test_copy_asks_for_the_first_symbols_at_the_end():
    batch = copy_memory.sample(20, generator())
    check_copy(batch)
    for wrong in (batch.target.roll(1, 0), batch.target.flip(0)):
        with pytest.raises(AssertionError):
            check_copy(batch._replace(target=wrong))
    assert copy_memory.COPY.baseline == pytest.approx(0.1733, abs=1e-4)


# --- the embedded Reber grammar -------------------------------------------------------------------

# Reber's grammar as an expression: from its third and from its fifth node on, E excluded.
LOWER = "(?:XT*VP)*(?:S|XT*VV)"
INNER = f"B(?:TS*X{LOWER}|PT*V(?:V|P{LOWER}))E"
EMBEDDED = re.compile(f"B(?P<outer>[TP]){INNER}(?P=outer)E")


def words(count: int, seed: int = 0) -> list[str]:
    """Strings as the example draws them, cut where it says that they end."""
    symbols, nodes = reber.strings(count, np.random.default_rng(seed))
    row = "".join(reber.SYMBOLS[symbol] for symbol in symbols)
    ends = [0, *(np.flatnonzero(nodes == 0) + 1)]
    return [row[start:stop] for start, stop in itertools.pairwise(ends)]


def test_every_string_is_one_of_the_grammar():
    drawn = words(5000)
    assert len(drawn) == 5000
    assert all(EMBEDDED.fullmatch(word) for word in drawn)
    # By hand: a string of Reber's grammar has 8 symbols on average, and 4 more stand around it.
    assert np.mean([len(word) for word in drawn]) == pytest.approx(12, rel=0.02)
    assert min(map(len, drawn)) == reber.SHORTEST
    assert {"BTBTXSETE", "BPBPVVEPE", "BTBPVVETE"} <= set(drawn)


@pytest.mark.parametrize("word", ["BTBTXSEPE", "BTBTXXETE", "BPBTSSEPE", "BTBTXSET", "TBTXSETE"])
def test_the_expression_refuses_what_is_not_of_the_grammar(word):
    assert EMBEDDED.fullmatch(word) is None


def test_what_may_come_next_is_what_the_graph_shows():
    shown = {
        "B": "TP", "BT": "B", "BTB": "TP", "BTBT": "SX", "BTBTX": "SX", "BTBTXX": "TV",
        "BTBTXXV": "PV", "BTBTXS": "E", "BTBTXSE": "T", "BPBTXSE": "P", "BTBTXSET": "E",
        "BTBTXSETE": "B",
    }  # fmt: skip
    for word, allowed in shown.items():
        node = 0
        for symbol in word:
            (choice,) = {
                int(after)
                for own, after in zip(reber.SYMBOL[node], reber.NEXT[node], strict=True)
                if reber.SYMBOLS[own] == symbol
            }
            node = choice
        found = {reber.SYMBOLS[n] for n in reber.ALLOWED[node].nonzero().flatten()}
        assert found == set(allowed), word


def test_streams_go_on_where_they_were_cut():
    whole = reber.stream((3,), 2, 200)
    everything = whole(0, 200)
    for start, stop in ((0, 70), (70, 71), (71, 200)):
        part = whole(start, stop)
        for name in ("x", "target", "counts", "reset"):
            assert torch.equal(getattr(part, name), getattr(everything, name)[start:stop])
    for column in range(2):
        row = "".join(reber.SYMBOLS[step.argmax()] for step in everything.x[:, column])
        begins = everything.reset[:, column].nonzero().flatten().tolist()
        assert begins[0] == 0
        for start, stop in itertools.pairwise(begins):
            assert EMBEDDED.fullmatch(row[start:stop])


# --- spikes ---------------------------------------------------------------------------------------


def check_train(spike: np.ndarray, delay_at_spike: dict[int, float], period: int) -> None:
    """Raise unless spikes come ``period`` + delay steps after each other, from step 0 on."""
    times = np.flatnonzero(spike) + 1
    waits = np.diff(times, prepend=0)
    assert set(waits - period) == {0, 1}
    assert [delay_at_spike[time - 1] for time in times] == (waits - period).tolist()


def test_measuring_asks_at_each_spike_how_long_it_took():
    batch = spikes.measuring(30)((0,), 3, 2000)(0, 2000)
    for column in range(3):
        spike = batch.x[:, column, 0].numpy()
        assert answered_steps(batch, column) == np.flatnonzero(spike).tolist()
        target = dict(enumerate(batch.target[:, column, 0].tolist()))
        check_train(spike, target, 30)
        with pytest.raises(AssertionError):
            check_train(np.roll(spike, 1), target, 30)


def test_generating_tells_the_wait_once_and_asks_for_spikes_at_all_steps():
    batch = spikes.generating(10)((0,), 3, 2000)(0, 2000)
    assert batch.counts.all()
    for column in range(3):
        spike = batch.target[:, column, 0].numpy()
        told = batch.x[:, column, 0].tolist()
        times = np.flatnonzero(spike)
        begins = [0, *(times[:-1] + 1)]
        check_train(
            spike, {time: told[begin] for begin, time in zip(begins, times, strict=True)}, 10
        )
        silent = set(range(times[-1] + 1)) - set(begins)
        assert not any(told[step] for step in silent)


# --- framewise labelling --------------------------------------------------------------------------


def check_labels(sound: list[int], label: list[int]) -> None:
    """Raise unless the labels of whole sounds are what their neighbours say."""
    runs = [(key, len(list(group))) for key, group in itertools.groupby(sound)]
    starts = np.cumsum([0, *(length for _, length in runs)])
    for place in range(1, len(runs) - 1):
        own, length = runs[place]
        before, after = runs[place - 1][0], runs[place + 1][0]
        assert 4 <= length <= 12
        step = (after - own) % 5 if own <= 2 else (own - before) % 5
        wanted = 2 * own + (step in (1, 2))
        assert set(label[starts[place] : starts[place + 1]]) == {wanted}


def test_labels_depend_on_the_neighbour():
    sound, label = framewise.sounds(50, generator())
    assert sound.shape == label.shape == (80, 50)
    for column in range(50):
        check_labels(sound[:, column].tolist(), label[:, column].tolist())
    with pytest.raises(AssertionError):
        check_labels(sound[:, 0].tolist(), (label[:, 0] ^ 1).tolist())


def test_the_past_does_not_tell_the_bit_of_three_sounds_in_five():
    sound, label = framewise.sounds(4000, generator())
    bit = label % 2
    assert float((sound <= 2).double().mean()) == pytest.approx(2 * framewise.BLIND, abs=0.01)
    for own in range(5):
        assert float(bit[sound == own].double().mean()) == pytest.approx(0.5, abs=0.03)


def test_frames_are_one_hot_with_noise():
    batch = framewise.sample(100, generator())
    sound, label = framewise.sounds(100, generator())
    assert torch.equal(batch.target, label)
    noise = batch.x - torch.nn.functional.one_hot(sound, 5)
    assert float(noise.std()) == pytest.approx(0.7, rel=0.02)
