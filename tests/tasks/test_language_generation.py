"""Generated text: what is drawn, when it ends, in which pieces it comes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gatewise.errors import GatewiseError
from gatewise.tasks import LanguageModel
from gatewise.tasks.language.corpus import Language, learn_language
from gatewise.tasks.language.generation import Generation, _Writer
from gatewise.tasks.language.sampling import Sampling
from tasks.cases import QUICK_LANGUAGE, sentences

TEXTS = [*sentences(60), "naïve ☃ 北京 👍🏽"] * 2


@pytest.fixture(scope="module", params=["words", "characters", "subwords"])
def fitted(request: pytest.FixtureRequest) -> LanguageModel:
    size = 300 if request.param == "subwords" else None
    changes = {"tokens": request.param, "vocabulary_size": size, "max_epochs": 3}
    model = LanguageModel(**QUICK_LANGUAGE, learning_rate=0.02).set_params(**changes)
    return model.fit(TEXTS, progress=False)


def text_of(model: LanguageModel, prompt: str = "the", **options: Any) -> str:
    return "".join(model.generate(prompt, **{"length": 30, "seed": 0} | options))


def test_the_coldest_text_is_the_most_probable_one(fitted: LanguageModel) -> None:
    network, language = fitted.network_, fitted.language_
    unknown = language.vocabulary.unknown
    numbers = fitted.encode(["the"])["tokens"]
    for _ in range(12):
        with torch.no_grad():
            logits, _ = network.logits(numbers)
        if unknown is not None:
            logits[0, language.vocabulary.number(unknown)] = -torch.inf
        numbers = torch.cat([numbers, logits.argmax(1)[None]])
    tokens = language.vocabulary.decode(numbers[:, 0].numpy())[1:]
    if language.is_exact:
        want = language.tokenizer.join(tokens)
    else:
        parts = "\0".join(tokens).split("<eos>")
        want = "\n".join(language.tokenizer.join(part.strip("\0").split("\0")) for part in parts)
    assert "the" + text_of(fitted, length=12, temperature=0.0) == want


def test_the_prompt_is_read_once_and_then_a_token_at_a_time(
    fitted: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    inner = type(fitted.network_).logits

    def watched(self: Any, tokens: torch.Tensor, *rest: Any) -> Any:
        read.append(len(tokens))
        return inner(self, tokens, *rest)

    monkeypatch.setattr(type(fitted.network_), "logits", watched)
    pieces = fitted.generate("the cat", length=6, seed=0)
    prompt = len(fitted.encode(["the cat"])["tokens"])
    assert read == [prompt]
    next(pieces)
    assert read[1:] in ([1], [1, 1])  # a torn character takes several
    list(pieces)
    assert read == [prompt, 1, 1, 1, 1, 1]  # after the last nothing follows


def test_several_prompts_go_on_as_each_alone(fitted: LanguageModel) -> None:
    prompts = ["the cat sees", "a", "", "Ada likes"]
    together = list(fitted.generate(prompts, length=15, temperature=0.0))
    assert all(len(pieces) == 4 for pieces in together)
    for k, prompt in enumerate(prompts):
        alone = text_of(fitted, prompt, length=15, temperature=0.0)
        assert "".join(pieces[k] for pieces in together) == alone


def test_a_seed_repeats_and_others_do_not(fitted: LanguageModel) -> None:
    assert text_of(fitted) == text_of(fitted)
    assert len({text_of(fitted, seed=seed, length=60) for seed in range(3)}) > 1
    assert len({text_of(fitted, seed=None, length=60) for _ in range(3)}) > 1
    state = torch.random.get_rng_state()
    text_of(fitted, seed=None)
    assert torch.random.get_rng_state().equal(state)


def test_pieces_are_whole_characters(fitted: LanguageModel) -> None:
    pieces = list(fitted.generate("naïve", length=200, seed=1, temperature=0.7))
    assert all(pieces)
    if fitted.language_.tokenizer.name != "bpe":  # a model of bytes may say what is no UTF-8
        assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize("stop", [".", "likes", ["hears", "sees"], "\n", "s t", " "])
def test_a_stop_ends_the_text_before_it(fitted: LanguageModel, stop: Any) -> None:
    whole = text_of(fitted, length=200, seed=3)
    stops = [stop] if isinstance(stop, str) else stop
    found = [at for one in stops if (at := whole.find(one)) >= 0]
    want = whole[: min(found)] if found else whole
    assert text_of(fitted, length=200, seed=3, stop=stop) == want
    assert not any(one in want for one in stops)


def test_prompts_end_each_at_its_own_stop(fitted: LanguageModel) -> None:
    prompts = ["the cat", "Ada"]
    together = list(fitted.generate(prompts, length=80, seed=2, stop="."))
    texts = ["".join(pieces[k] for pieces in together) for k in range(2)]
    assert all("." not in text for text in texts)
    assert sum(map(len, texts)) > 0


def test_the_unknown_is_never_drawn() -> None:
    texts = [f"word{k} is known and word{k} too" for k in range(40)]
    model = LanguageModel(**QUICK_LANGUAGE, minimum_count=3).fit(texts, progress=False)
    assert "<unk>" in model.language_.vocabulary
    assert "<unk>" not in text_of(model, "is", length=300)


def test_spaces_around_words() -> None:
    texts = ["the cat sat , on a mat ."] * 30
    model = LanguageModel(**QUICK_LANGUAGE, learning_rate=0.05).set_params(max_epochs=25)
    model.fit(texts, progress=False)
    cold = {"temperature": 0.0, "length": 3}
    assert text_of(model, "the", **cold) == " cat sat,"
    assert text_of(model, "the ", **cold) == "cat sat,"
    assert text_of(model, "the cat sat, on a mat", temperature=0.0, length=4) == ".\nthe cat"


def logits() -> torch.Tensor:
    return torch.tensor([0.5, 0.3, 0.15, 0.05]).log()[[2, 0, 3, 1]][None]


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({}, [0.15, 0.5, 0.05, 0.3]),
        ({"temperature": 0.5}, [0.0225, 0.25, 0.0025, 0.09]),
        ({"temperature": 2.0}, [0.15**0.5, 0.5**0.5, 0.05**0.5, 0.3**0.5]),
        ({"top_k": 2}, [0, 0.5, 0, 0.3]),
        ({"top_k": 9}, [0.15, 0.5, 0.05, 0.3]),
        ({"top_p": 0.5}, [0, 1, 0, 0]),
        ({"top_p": 0.51}, [0, 0.5, 0, 0.3]),
        ({"top_p": 0.81}, [0.15, 0.5, 0, 0.3]),
        ({"top_p": 1.0}, [0.15, 0.5, 0.05, 0.3]),
        ({"top_k": 3, "top_p": 0.6}, [0, 0.5, 0, 0.3]),
        ({"temperature": 0.0}, [0, 1, 0, 0]),
        ({"temperature": 0.01}, [0, 1, 0, 0]),
    ],
)
def test_tokens_are_drawn_as_often_as_they_should(
    options: dict[str, Any], want: list[float]
) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = Sampling(**options).draw(logits().expand(20_000, -1), generator)
    shares = torch.bincount(drawn, minlength=4) / 20_000
    torch.testing.assert_close(shares, torch.tensor(want) / sum(want), atol=0.012, rtol=0)


WRONG = [
    ({"temperature": -1.0}, "temperature: expected a number ≥ 0, got -1"),
    ({"temperature": float("nan")}, "temperature: expected a number"),
    ({"top_k": 0}, "top_k: expected an integer ≥ 1"),
    ({"top_p": 0.0}, "top_p: expected a number > 0 and ≤ 1"),
    ({"top_p": 1.1}, "top_p: expected a number > 0 and ≤ 1"),
    ({"length": -1}, "length: expected a number of tokens or None"),
    ({"stop": ""}, "stop: expected texts with at least one character"),
    ({"prompt": []}, "prompt: expected at least one prompt"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_calls(fitted: LanguageModel, options: dict[str, Any], message: str) -> None:
    with pytest.raises(GatewiseError, match=message):
        fitted.generate(**options)


def test_unknown_prompts() -> None:
    model = LanguageModel(**QUICK_LANGUAGE).fit(sentences(), progress=False)
    with pytest.raises(GatewiseError, match=r"prompt 1: expected at least one token .* 'zebras'"):
        model.generate(["the", "zebras"])
    with pytest.warns(UserWarning, match="prompt 0: 1 of 2 tokens are unknown"):
        model.generate("the zebra")
    bare = LanguageModel(**QUICK_LANGUAGE, mark_ends=False).fit(sentences(), progress=False)
    with pytest.raises(GatewiseError, match="knows no beginning of one"):
        bare.generate("")


def test_several_prompts_are_an_iterator_of_lists(fitted: LanguageModel) -> None:
    pieces = fitted.generate(["the"], length=3, seed=0)
    assert isinstance(pieces, Generation)
    assert all(isinstance(piece, list) and len(piece) == 1 for piece in pieces)
    assert list(fitted.generate("the", length=0)) == []


def language_of(texts: list[str], **changes: Any) -> Language:
    model = LanguageModel(**QUICK_LANGUAGE).set_params(**changes)
    return learn_language(model, model.reader("fit", texts))


def pieces_of(stop: list[str], text: str) -> tuple[list[str], _Writer]:
    """What is given out for each character of a text, and what gave it."""
    language = language_of(["abcx"], tokens="characters")
    writer = _Writer(language, "", stop)
    return [writer.add(number) for number in language.encode(text).tolist()], writer


def test_the_whole_of_what_may_begin_a_stop_is_held_back() -> None:
    pieces, writer = pieces_of(["aab"], "xaaab")
    assert pieces == ["x", "", "", "a", ""]  # of aaa only the last two may begin it
    assert writer.ended


def test_the_earliest_of_several_stops_ends_the_text() -> None:
    language = language_of(["cab"])
    writer = _Writer(language, "", ["b", "a"])  # both come with one word
    assert writer.add(language.encode("cab").item()) == "c"
    assert writer.ended


def test_what_was_held_back_for_a_stop_that_never_came_is_given_out() -> None:
    pieces, writer = pieces_of(["abc"], "xab")
    assert pieces == ["x", "", ""]
    assert writer.close() == "ab"
    assert writer.close() == ""


def test_after_its_stop_a_text_gets_nothing_more() -> None:
    pieces, writer = pieces_of(["abc", "bx"], "abxc")
    assert pieces == ["", "", "a", ""]
    assert writer.close() == ""


def test_bytes_that_never_become_a_character_are_not_waited_for() -> None:
    language = language_of(["plain words alone"] * 30, tokens="subwords", vocabulary_size=257)
    writer = _Writer(language, "", [])
    torn = language.encode("☃").tolist()[1:2]  # the middle of a character, again and again
    pieces = [writer.add(number) for number in torn * 5]
    assert pieces[:4] == [""] * 4
    assert set(pieces[4]) == {"\ufffd"}


def test_a_character_of_several_bytes_comes_whole() -> None:
    language = language_of(["plain words alone"] * 30, tokens="subwords", vocabulary_size=257)
    writer = _Writer(language, "", ["☃!"])
    numbers = language.encode("a☃b☃!").tolist()
    assert len(numbers) == 9  # three bytes each
    assert [writer.add(number) for number in numbers] == ["a", "", "", "", "☃b", "", "", "", ""]
    assert writer.ended
