"""Tokenizers: Unicode by rules, subwords that come back to the letter, other libraries by name."""

from __future__ import annotations

import json
import sys
import types
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data.text import Subwords, Tokenizer, ngrams, tokenizer, tokenizer_from_dict
from gatewise.errors import GatewiseError, InvalidFileError, InvalidStateError, InvalidValueError

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
CORPUS = ["the cat sat on the mat", "the hat, the cat", "北京大学在北京", "naïve café\n"] * 3


@pytest.fixture(scope="module")
def subwords() -> Subwords:
    return Subwords.train(CORPUS, 300)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't stop, it’s 3.14!", ["Don't", "stop", ",", "it’s", "3.14", "!"]),  # noqa: RUF001
        ("1,000.5 U.S. x_y", ["1,000.5", "U", ".", "S", ".", "x_y"]),
        ("北京大学ABC在中国。", ["北", "京", "大", "学", "ABC", "在", "中", "国", "。"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),  # vowel signs are marks, not letters
        ("می\u200cخواهم", ["می\u200cخواهم"]),  # noqa: RUF001
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("👨\u200d👩\u200d👧🇫🇷👍🏽", ["👨\u200d👩\u200d👧", "🇫🇷", "👍🏽"]),
        ("がぎ 한국어", ["がぎ", "한국어"]),
        ("a\u2028b\xa0c\r\nd\x00e", ["a", "b", "c", "d", "\x00", "e"]),
        (" \n\t", []),
        ("", []),
    ],
    ids=range(11),
)
def test_words_of_every_script(text: str, tokens: list[str]) -> None:
    assert tokenizer("words").split(text) == [unicodedata.normalize("NFC", one) for one in tokens]


def test_an_accent_is_the_same_however_it_was_typed() -> None:
    composed, parted = "caf\u00e9", "cafe\u0301"
    assert tokenizer("words").split(composed) == tokenizer("words").split(parted)
    assert tokenizer("words", form="none").split(parted) == [parted]
    assert tokenizer("words", form="NFKC").split("ﬁne") == ["fine"]
    assert tokenizer("characters").split(parted) == [*"cafe", "\u0301"]
    assert tokenizer("spaces", lowercase=True).split("A  B\n") == ["a", "b"]


@given(TEXTS)
def test_characters_come_back(text: str) -> None:
    rules = tokenizer("characters")
    assert rules.join(rules.split(text)) == text


@given(TEXTS)
def test_words_lose_nothing_but_white_space(text: str) -> None:
    kept = "".join(tokenizer("words", form="none").split(text))
    assert [*filter(str.strip, kept)] == [*filter(str.strip, text)]


@given(TEXTS)
def test_subwords_come_back(subwords: Subwords, text: str) -> None:
    tokens = subwords.split(text)
    assert subwords.join(tokens) == text
    assert set(tokens) <= set(subwords.tokens)


def test_words_are_joined_as_they_are_written() -> None:
    words = tokenizer("words")
    for text in ("Well, (she) said: no!", "北京大学 ABC 在中国。", "한국어 좋다", "a b"):
        assert words.join(words.split(text)) == text
    assert tokenizer("spaces").join(["a", ",", "b"]) == "a , b"


def test_subwords_repeat_and_merge(subwords: Subwords) -> None:
    again = Subwords.train(iter(CORPUS), 300)
    assert again == subwords
    assert len(subwords.tokens) <= 300
    assert len(subwords.split("the cat")) < len("the cat")
    assert Subwords.train(CORPUS, 300, lowercase=True).split("THE") == subwords.split("the")
    with pytest.raises(InvalidValueError, match="size: expected at least 257"):
        Subwords.train(CORPUS, 256)
    for empty in ([], [""]):
        with pytest.raises(InvalidValueError, match="texts: expected at least one character"):
            Subwords.train(empty, 300)


def test_every_tokenizer_survives_json(subwords: Subwords) -> None:
    every: list[Tokenizer] = [
        tokenizer("words", lowercase=True), tokenizer("characters"), tokenizer("spaces"), subwords,
    ]  # fmt: skip
    for one in every:
        again = tokenizer_from_dict(json.loads(json.dumps(one.to_dict())))
        assert again == one
        assert again.split("The cat: 北京") == one.split("The cat: 北京")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"name": "words"},
        {"name": 5, "lowercase": False, "form": "none"},
        {"name": "words", "lowercase": False, "form": "none", "more": 1},
        {"name": "bpe"},
        {"name": "bpe", "model": {"a": 1}, "lowercase": False, "form": "none"},
    ],
)
def test_a_damaged_tokenizer_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidFileError, match="tokenizer: expected"):
        tokenizer_from_dict(values)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("word", "tokenizer: expected one like 'spaces', 'words'"),
        ("bpe", "expected one that needs no training"),
        ("spacy:en_core_web_sm", "trained pipelines are not loaded"),
        ("spacy:../evil", "and the code of a language"),
        ("nltk:punkt", "expected one of 'nltk:treebank'"),
    ],
)
def test_unknown_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        tokenizer(name)


def test_unknown_forms_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="form: expected 'none', 'NFC' or 'NFKC'"):
        tokenizer("words", form="NFX")  # type: ignore[arg-type]


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins with the interfaces of spaCy and NLTK that are used, and nothing else of them."""
    from gatewise.data.text import foreign

    class Token:
        def __init__(self, text: str) -> None:
            self.text = text

    class Tweets:
        def tokenize(self, text: str) -> list[str]:
            return text.split()

    def blank(language: str) -> Any:
        if language != "de":
            raise ImportError(language)
        return types.SimpleNamespace(tokenizer=lambda text: [Token(t) for t in text.split(" ")])

    modules = {
        "spacy": types.SimpleNamespace(blank=blank),
        "nltk": types.ModuleType("nltk"),
        "nltk.tokenize": types.SimpleNamespace(TweetTokenizer=Tweets),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
    foreign._splitter.cache_clear()


@pytest.mark.usefixtures("libraries")
def test_other_libraries_by_name() -> None:
    for name in ("spacy:de", "nltk:tweet"):
        one = tokenizer(name, lowercase=True)
        assert one.split("Guten  Tag") == ["guten", "tag"]
        assert one.join(["a", "b"]) == "a b"
        assert tokenizer_from_dict(json.loads(json.dumps(one.to_dict()))) == one
    with pytest.raises(
        InvalidValueError, match="a language that spaCy can part here, got 'spacy:xx'"
    ):
        tokenizer("spacy:xx")


@pytest.mark.parametrize("library", ["spacy", "nltk"])
def test_absent_libraries_are_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatewise.data.text import foreign

    foreign._splitter.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)  # type: ignore[arg-type]
    name = {"spacy": "spacy:en", "nltk": "nltk:tweet"}[library]
    with pytest.raises(InvalidStateError, match=f"the package {library}.*pip install {library}"):
        tokenizer(name)


def assert_ngrams(make: Any) -> None:
    """Raise unless ``make`` gives as many n-grams as tokens, each beginning at its own."""
    assert make("北京大学", 2, "") == ["北京", "京大", "大学", "学"]
    assert make(["a", "b", "c"], 3, " ") == ["a b c", "b c", "c"]
    assert make(["a"], 1, " ") == ["a"]
    assert make([], 2, " ") == []


def test_ngrams_stand_beside_their_tokens() -> None:
    assert_ngrams(ngrams)
    assert tokenizer("characters").glue == ""
    assert tokenizer("words").glue == " "
    with pytest.raises(GatewiseError, match="n: expected at least 1"):
        ngrams("ab", 0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda t, n, g: [g.join(t[k : k + n]) for k in range(len(t) - n + 1)],
        lambda t, n, g: [g.join(t[max(0, k - n + 1) : k + 1]) for k in range(len(t))],
        lambda t, n, g: ["".join(t[k : k + n]) for k in range(len(t))],
    ],
    ids=["short", "ending at the token", "glue ignored"],
)
def test_wrong_ngrams_are_rejected(wrong: Any) -> None:
    with pytest.raises(AssertionError):
        assert_ngrams(wrong)
