"""The loop, the criteria, the tests on streams and the gradients of examples/classics."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from adding import ADDING
from framewise import FRAMEWISE
from gradients import state_gradients
from nets import Net, Network, lstm_1997
from picture import drawn, gradients_of
from problem import CLASSES, LINEAR, LOGISTIC, Batch, Score, wrong_sequences
from problems import PROBLEMS
from streams import right_steps
from summary import COLUMNS, rows
from torch import nn
from train import Recent, Run, fit, restored, saved

from gatewise.nn import LSTM, RNN


@pytest.fixture(autouse=True)
def seeded():
    """The same weights and inputs each time; torch's own state stays as it is."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Scripted(nn.Module):
    """Answers what it is told to, step by step, whatever it is asked."""

    def __init__(self, answers: torch.Tensor) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, batch, state=None):
        start = state or 0
        stop = start + batch.x.shape[0]
        return self.answers[start:stop], stop


def small(**changes):
    """Adding with a budget of some batches."""
    return dataclasses.replace(ADDING, **({"budget": 200} | changes))


def test_answers_are_judged_by_their_worst_output():
    target = torch.tensor([[[0.0, 1.0]]])
    output = torch.tensor([[[0.1, 0.7]]])
    assert LINEAR.errors(output, target).item() == pytest.approx(0.3)
    assert LINEAR.losses(output, target).item() == pytest.approx((0.01 + 0.09) / 2)
    assert LOGISTIC.errors(torch.zeros(1, 1, 2), target).item() == pytest.approx(0.5)
    assert LOGISTIC.losses(torch.zeros(1, 1, 2), target).item() == pytest.approx(0.6931, abs=1e-4)
    classes = torch.tensor([[0, 1]])
    scores = torch.tensor([[[2.0, 1.0], [2.0, 1.0]]])
    assert CLASSES.errors(scores, classes).tolist() == [[0.0, 1.0]]
    assert CLASSES.losses(scores, classes)[0, 1].item() == pytest.approx(1.3133, abs=1e-4)


def test_only_steps_that_count_make_a_sequence_wrong():
    counts = torch.tensor([[True, False], [False, True]])
    target = torch.zeros(2, 2, 1)
    output = torch.tensor([[[0.0], [9.0]], [[9.0], [0.05]]])
    batch = Batch(torch.zeros(2, 2, 1), target, counts)
    assert wrong_sequences(LINEAR, 0.04, output, batch) == 1
    assert wrong_sequences(LINEAR, 0.06, output, batch) == 0
    assert wrong_sequences(LINEAR, 0.05, output, batch) == 1  # not below is wrong


def test_the_criterion_looks_back_on_just_the_window():
    problem = small(window=100, allowed=1, mean_error=0.5)
    recent = Recent(100)
    recent.add(60, 2, 0.1)
    recent.add(60, 0, 0.1)
    assert not recent.meets(problem)
    recent.add(60, 1, 0.1)  # the first 60 are no longer needed
    assert recent.meets(problem)
    assert (recent.items, recent.wrong) == (120, 1)
    recent.add(60, 1, 0.1)
    assert not recent.meets(problem)
    recent.clear()
    recent.add(99, 0, 0.1)
    assert not recent.meets(problem)
    recent.add(1, 0, 60.0)
    assert not recent.meets(problem)


def test_a_net_is_solved_when_the_window_and_the_test_say_so():
    generous = small(budget=5000, window=100, bound=99.0, mean_error=float("inf"))
    run = fit(generous, "LSTM of 1997", 0)
    assert (run.solved, run.seen) == (True, 100)
    run = fit(dataclasses.replace(generous, budget=500, test=refused), "LSTM of 1997", 0)
    assert (run.solved, run.seen, run.test) == (False, 500, "no")


def refused(net: Network, attempt: int) -> Score:
    return Score(solved=False, text="no", loss=1.0)


def test_a_budget_that_is_spent_is_not_a_success():
    told = []
    run = fit(small(), "RNN", 0, lambda *news: told.append(news))
    assert (run.solved, run.seen, run.weights) == (False, 200, 337)
    assert [seen for seen, _ in run.curve] == [news[0] for news in told] == [50, 100, 150, 200]
    assert run.test.endswith("of 2560")


def test_a_run_repeats_and_survives_json():
    first, again = (fit(small(), "LSTM, chrono", 3) for _ in range(2))
    assert first.curve == again.curve
    assert first.curve != fit(small(), "LSTM, chrono", 4).curve
    kept = restored(saved(first))
    assert kept == restored(saved(kept))
    assert kept.curve[0][1] == pytest.approx(first.curve[0][1], rel=1e-3)


def test_training_leaves_the_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    fit(small(budget=50), "RNN", 0)
    assert torch.equal(torch.rand(3), expected)


def test_a_stream_ends_with_its_first_wrong_answer(monkeypatch):
    monkeypatch.setattr("streams.STRETCH", 4)
    answers = torch.zeros(10, 3, 1)
    answers[5, 0] = answers[7, 0] = answers[0, 1] = 1

    def whole(start: int, stop: int) -> Batch:
        zeros = torch.zeros(stop - start, 3, 1)
        return Batch(zeros, zeros, torch.ones(stop - start, 3, dtype=torch.bool))

    first, loss = right_steps(Scripted(answers), whole, 10, LINEAR, 0.49)
    assert first.tolist() == [5, 0, 10]
    assert loss == pytest.approx(1 / 12)  # of the first four steps


def test_a_net_that_answers_later_is_compared_with_the_same_targets():
    net = Network(Net(lambda: RNN(1, 3), delay=2), 1)
    x = torch.randn(6, 2, 1)
    batch = Batch(x, x, torch.ones(6, 2, dtype=torch.bool))
    output, _ = net(batch)
    padded = torch.cat([x, torch.zeros(2, 2, 1)])
    assert torch.equal(output, net.stack(padded)[0][2:])


def test_resets_reach_the_nets_that_are_told():
    x = torch.randn(6, 1, 1)
    reset = torch.zeros(6, 1, dtype=torch.bool)
    reset[3] = True
    batch = Batch(x, x, ~reset, reset=reset)
    for told in (True, False):
        net = Network(Net(lambda: LSTM(1, 3), told_resets=told), 1)
        same = torch.allclose(net(batch)[0][3:], net.stack(x[3:])[0])
        assert same == told


def test_the_lstm_of_1997_begins_with_closed_input_gates_and_no_forget_gates():
    layer = lstm_1997(2, 4, -50.0)
    _, (_, c), trace = layer(torch.randn(5, 3, 2), trace=True)
    assert trace.f.eq(1).all()
    assert trace.i.max() < 1e-12
    assert c.abs().max() < 1e-12
    assert trace.o.min() > 0.01


# --- gradients ------------------------------------------------------------------------------------


def linear_rnn(factor: float) -> Network:
    """An RNN of nearly linear units, each of which keeps ``factor`` of itself a step."""
    net = Network(Net(lambda: RNN(1, 3)), 1)
    layer = net.stack[0]
    with torch.no_grad():
        for weight in layer.parameters():
            weight.zero_()
        layer.weight_hh_l0.copy_(factor * torch.eye(3))
    return net


def last_step(T: int, B: int) -> Batch:
    counts = torch.zeros(T, B, dtype=torch.bool)
    counts[-1] = True
    return Batch(torch.randn(T, B, 1), torch.zeros(T, B, 1), counts)


def test_the_gradient_of_a_linear_unit_falls_by_its_factor():
    norms = state_gradients(linear_rnn(0.5), last_step(20, 4), LINEAR)
    assert norms == pytest.approx([0.5**k for k in range(20)], rel=1e-6)
    # The sabotaged net must not look the same.
    assert state_gradients(linear_rnn(0.6), last_step(20, 4), LINEAR) != pytest.approx(norms)


def test_the_gradient_of_the_carousel_stays():
    net = Network(Net(lambda: LSTM(1, 3, forget_gate=False)), 1)
    layer, head = net.stack
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
    batch = last_step(20, 5)
    norms = state_gradients(net, batch, LINEAR)
    # Once around, for all earlier steps: through h = o·tanh(c) at the last step, and by no gate.
    with torch.no_grad():
        _, (_, c), trace = layer(batch.x, trace=True)
        slopes = head.weight * trace.o[0, -1] * (1 - c[0].tanh().square())
        expected = float((slopes.norm(dim=1) / head.weight.norm()).median())
    assert norms[1:] == pytest.approx([expected] * 19, rel=1e-5)


def test_steps_are_counted_back_from_each_sequence_s_own_end():
    batch = last_step(20, 2)
    counts = torch.zeros(20, 2, dtype=torch.bool)
    counts[19, 0] = counts[11, 1] = True
    norms = state_gradients(linear_rnn(0.5), batch._replace(counts=counts), LINEAR)
    assert norms == pytest.approx([0.5**k for k in range(12)], rel=1e-6)


def test_an_rnn_forgets_where_the_lstms_remember():
    gradients = gradients_of(ADDING)
    assert gradients["RNN"][60] < 1e-8
    assert gradients["LSTM of 1997"][60] > 1e-3
    assert gradients["LSTM, chrono"][60] > 1e-3


def test_nets_in_two_directions_have_no_such_gradient():
    assert set(gradients_of(FRAMEWISE)) == {"RNN", "LSTM"}


# --- table and picture ----------------------------------------------------------------------------


def a_run(net: str, seed: int, *, solved: bool) -> Run:
    return Run(
        net, seed, 297, solved, 1000 + seed, 0.25, "3 of 2560", 0.0123, [(50, 0.1), (99, 0.2)]
    )


def test_the_table_has_a_row_for_each_net_and_a_number_for_each_seed():
    runs = [a_run("LSTM of 1997", 1, solved=True), a_run("LSTM of 1997", 0, solved=False)]
    rnn, lstm = rows(ADDING, [*runs, a_run("RNN", 0, solved=False)])
    assert len(rnn) == len(lstm) == len(COLUMNS)
    assert rnn[:4] == ("RNN", "297", "0 of 1", "1,000")
    assert lstm[:4] == ("LSTM of 1997", "297", "1 of 2", "1,000 / 1,001")
    assert lstm[4:] == ("3 of 2560 / 3 of 2560", "0.012 / 0.012", "0.2 / 0.2")


def test_the_picture_has_a_line_for_each_run_and_gradient():
    runs = [a_run("RNN", 0, solved=False), a_run("RNN", 1, solved=True)]
    figure = drawn(ADDING, runs, {"RNN": [1.0, 0.1, 0.0]})
    curves, (lines, baseline) = figure.data[:2], figure.data[2:]
    assert [len(curve.x) for curve in curves] == [2, 2]
    assert [curve.mode for curve in curves] == ["lines", "lines+markers"]
    assert [trace.showlegend for trace in figure.data] == [True, False, False, False]
    assert min(lines.y) > 0
    # The line of what remembers nothing lies on top of the RNN that remembers nothing.
    assert set(baseline.y) == {ADDING.baseline}
    assert baseline.line.dash != curves[0].line.dash
    (name,) = (note for note in figure.layout.annotations if note.text == "remembers nothing")
    assert 10**name.y == pytest.approx(ADDING.baseline)
    assert "criterion" in figure.layout.meta["caption"]


@pytest.mark.parametrize(
    ("losses", "ticks"), [((0.1, 0.0001), (1, None)), ((2.0, 0.4), ("D2", ".1g"))]
)
def test_the_axis_of_losses_has_labels_that_stand_alone(losses, ticks):
    run = a_run("RNN", 0, solved=False)._replace(curve=list(enumerate(losses)))
    axis = drawn(ADDING, [run], {}).layout.yaxis
    assert (axis.dtick, axis.tickformat) == ticks


def test_every_problem_trains_and_says_what_it_is():
    for problem in PROBLEMS.values():
        batch = next(problem.batches(0))
        for name, spec in problem.nets.items():
            net = Network(spec, problem.outputs)
            output, _ = net(batch)
            items, wrong, error = problem.judged(output, batch)
            assert output.shape == (*batch.counts.shape, problem.outputs), (problem.name, name)
            assert 0 < items <= batch.counts.numel()
            assert 0 <= wrong <= items
            assert error > 0
        counts = [Network(spec, problem.outputs).weights for spec in problem.nets.values()]
        assert max(counts) < 1.5 * min(counts), problem.name
        assert problem.source
        assert problem.criterion.endswith(".")
