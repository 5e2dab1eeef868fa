"""The score of benchmarks/polymusic.py, worked out by hand, and the files that it refuses."""

from __future__ import annotations

import math

import numpy as np
import polymusic
import pytest
import torch
from polymusic import Recipe, padded, pieces, score
from scipy.io import savemat

RECIPE = Recipe(8, 1, 0.5, 0.1, 0.3, 0, 4, 1, 1e-3)


def rolls(*lengths):
    rng = np.random.default_rng(0)
    return [torch.from_numpy((rng.random((T, 88)) < 0.1).astype(np.float32)) for T in lengths]


def flat_net(bias=0.0):
    """A net whose answer is the same for each note, whatever it hears."""
    net = polymusic.built(RECIPE)
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
        net[-1].bias.fill_(bias)
    return net


def test_a_net_that_knows_nothing_scores_88_coins():
    for average in score(flat_net(), rolls(2, 9, 30)):
        assert average == pytest.approx(88 * math.log(2), rel=1e-6)


def test_the_score_is_the_mean_over_frames_not_over_pieces():
    # The first piece is silent, the second has every note: each frame's loss is known.
    silent, full = torch.zeros(3, 88), torch.ones(9, 88)
    quiet, loud = (88 * math.log1p(math.exp(sign * 2.0)) for sign in (1, -1))
    later, every = score(flat_net(2.0), [silent, full])
    assert later == pytest.approx((2 * quiet + 8 * loud) / 10)
    assert every == pytest.approx((3 * quiet + 9 * loud) / 12)


def test_more_pieces_than_are_scored_at_once_are_all_scored():
    many = [torch.zeros(3, 88)] * 40 + [torch.ones(5, 88)]
    quiet, loud = (88 * math.log1p(math.exp(sign * 2.0)) for sign in (1, -1))
    later, every = score(flat_net(2.0), many)
    assert later == pytest.approx((80 * quiet + 4 * loud) / 84)
    assert every == pytest.approx((120 * quiet + 5 * loud) / 125)


def test_each_frame_is_predicted_from_those_before_it():
    x, target, lengths = padded(rolls(4, 7))
    assert lengths.tolist() == [4, 7]
    assert not x[0].any()
    assert torch.equal(x[1:], target[:-1])
    assert target[:4, 0].any()
    assert not target[4:, 0].any()


def test_nothing_of_a_frame_or_after_it_reaches_its_prediction():
    torch.manual_seed(0)
    net = polymusic.built(RECIPE).eval()
    (whole,) = rolls(10)
    changed = whole.clone()
    changed[6:] = 1 - changed[6:]
    output, other = (net(padded([roll])[0])[0] for roll in (whole, changed))
    assert torch.equal(output[:7], other[:7])
    assert not torch.allclose(output[7], other[7])


def test_transposing_moves_all_notes_alike_and_none_off_the_keyboard():
    rng = np.random.default_rng(1)
    roll = torch.zeros(5, 88)
    roll[:, [2, 40]] = 1
    lowest = {int(polymusic.transposed(roll, 5, rng)[0].nonzero()[0]) for _ in range(200)}
    assert lowest == set(range(8))
    assert polymusic.transposed(roll, 0, rng) is roll


# --- files and flags ------------------------------------------------------------------------------


def cells(*arrays):
    held = np.empty((1, len(arrays)), dtype=object)
    for place, array in enumerate(arrays):
        held[0, place] = array
    return held


def saved(folder, **changes):
    own = {f"{split}data": cells(*map(np.asarray, rolls(4, 6))) for split in polymusic.SPLITS}
    target = folder / "JSB_Chorales.mat"
    savemat(target, own | changes, do_compression=True)
    return target


def test_a_set_of_pieces_is_read(tmp_path):
    held = pieces(saved(tmp_path))
    assert list(held) == ["train", "valid", "test"]
    assert all(torch.equal(*pair) for pair in zip(held["test"], rolls(4, 6), strict=True))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_file_that_is_cut_short_is_refused_in_a_sentence(share, tmp_path):
    target = saved(tmp_path)
    whole = target.read_bytes()
    target.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(SystemExit, match=r"expected a MATLAB file .*, got one .* Fetch it again\."):
        pieces(target)


@pytest.mark.filterwarnings("ignore")  # scipy's, of what it makes of noise
@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_file_is_refused_or_read_and_never_a_traceback(seed, tmp_path):
    target = saved(tmp_path)
    rng = np.random.default_rng(seed)
    data = np.frombuffer(target.read_bytes(), dtype=np.uint8).copy()
    data[rng.integers(128, len(data), 20)] = rng.integers(0, 256, 20)
    target.write_bytes(data.tobytes())
    with pytest.raises(SystemExit, match=r"JSB_Chorales\.mat: expected .*, got .* Fetch "):
        pieces(target)


@pytest.mark.parametrize(
    "roll",
    [
        np.zeros((4, 87)),
        np.zeros((1, 88)),
        np.full((4, 88), 0.5),
        np.full((4, 88), np.nan),
        np.zeros(88),
    ],
)
def test_rolls_that_are_none_are_refused(roll, tmp_path):
    target = saved(tmp_path, validdata=cells(roll, roll))
    with pytest.raises(SystemExit, match="of 88 notes, each 0 or 1, got others or none in valid"):
        pieces(target)


@pytest.mark.parametrize("text", [b"", b"no MATLAB at all\n" * 40, b"\0" * 400])
def test_other_files_are_refused(text, tmp_path):
    target = tmp_path / "Nottingham.mat"
    target.write_bytes(text)
    with pytest.raises(SystemExit, match=r"expected a MATLAB file"):
        pieces(target)
    with pytest.raises(SystemExit, match=r"got no such file\. Pass the directory"):
        pieces(tmp_path / "none.mat")


@pytest.mark.parametrize("flag", ["--seeds", "--threads"])
@pytest.mark.parametrize("count", ["0", "-1"])
def test_counts_below_one_are_refused_before_anything_is_written(
    flag, count, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(polymusic, "RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["polymusic.py", "--data", str(tmp_path), flag, count])
    with pytest.raises(SystemExit) as stopped:
        polymusic.main()
    assert stopped.value.code == 2
    assert f"{flag}: expected at least 1, got {count}. Give how many" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
