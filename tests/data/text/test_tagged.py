"""Tagged sentences: CoNLL, CoNLL-U and JSON Lines, and their faults by line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewise.data.text import Tagged, as_tagged, read_tagged
from gatewise.errors import GatewiseError

Write = Callable[..., Path]
CONLLU = """# sent_id = 1
# text = Vámonos al mar
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
2.1\tfue\tser\tAUX\t_\t_\t_\t_\t_\t_
3\t#\t#\tSYM\t_\t_\t1\tobl\t_\t_

1\t_\t_\tPUNCT\t_\t_\t0\troot\t_\t_
"""


def parts(sentences: Any) -> list[tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]]:
    return [(one.tokens, one.tags, one.lines) for one in sentences]


@pytest.mark.parametrize("separator", [" ", "\t", "  "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_conll_columns(separator: str, end: str, write: Write) -> None:
    if separator == "\t":
        text = "-DOCSTART- O\n\na b\tX\tB-x\n#\tY\tO\n \t\n\nc\tX\tO"
        tokens = ("a b", "#")
    else:
        text = "-DOCSTART- O\n\na X B-x\n# Y O\n \n\nc X O".replace(" ", separator)
        tokens = ("a", "#")
    path = write(text.replace("\n", end), "a.conll")
    assert parts(read_tagged(path)) == [(tokens, ("B-x", "O"), (3, 4)), (("c",), ("O",), (7,))]
    assert parts(read_tagged(path, tag=1))[0][1] == ("X", "Y")
    assert parts(read_tagged(path, token=1, tags=False))[1] == (("X",), (), (7,))


def test_conllu_words(write: Write) -> None:
    path = write(CONLLU, "a.conllu")
    assert parts(read_tagged(path)) == [
        (("Vamos", "nos", "#"), ("VERB", "PRON", "SYM"), (4, 5, 7)),
        (("_",), ("PUNCT",), (9,)),
    ]
    assert next(read_tagged(path, tag="deprel")).tags == ("root", "obj", "obl")
    sentence = next(read_tagged(path))
    assert sentence.place_of(2) == f"{path}, line 7"


def test_json_lines(write: Write) -> None:
    path = write('{"tokens": ["a", "b"], "tags": ["O", "O"]}\n', "a.jsonl")
    sentence = next(read_tagged(path))
    assert (sentence.tokens, sentence.tags) == (("a", "b"), ("O", "O"))
    assert sentence.place_of(1) == f"{path}, line 1, token 1 'b'"
    other = write('{"w": ["a"]}\n', "a.ndjson")
    assert next(read_tagged(other, token="w", tags=False)).tokens == ("a",)  # noqa: S106


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    sentences=st.lists(
        st.lists(st.tuples(WORDS, st.sampled_from("OBX")), min_size=1, max_size=4),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_what_is_written_comes_back(sentences: list[list[tuple[str, str]]], tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    blocks = ["".join(f"{token} {tag}\n" for token, tag in one) for one in sentences]
    path.write_text("\n".join(blocks), encoding="utf-8")
    read = [list(zip(one.tokens, one.tags, strict=True)) for one in read_tagged(path)]
    assert read == sentences


@pytest.mark.parametrize(
    ("content", "name", "options", "message"),
    [
        ("", "a.conll", {}, r"a\.conll: expected at least one sentence, got none"),
        ("\n\n", "a.conll", {}, "expected at least one sentence"),
        ("a O\n\nb\n", "a.conll", {}, r"a\.conll, line 3: expected 2 columns, as above, got 1"),
        ("a\tO\nb c\tO\td\n", "a.conll", {}, "line 2: expected 2 columns"),
        ("a\tO\n\tO\n", "a.conll", {}, "line 2: expected a token, got an empty cell"),
        ("a\tO\nb\t\n", "a.conll", {}, "line 2: expected a tag, got an empty cell"),
        ("a O\n", "a.conll", {"tag": 2}, r"line 1: expected the column\(s\) '0', '2', got 2"),
        (b"a O\n\xe9 O\n", "a.conll", {}, "line 2: expected text in UTF-8"),
        ("a O\n", "a.conll", {"tag": "upos"}, "tag: expected the number of a column"),
        ("a O\n", "a.conllu", {}, "line 1: expected 10 columns .*layout='conll'"),
        (CONLLU.replace("3\t#", "4\t#"), "a.conllu", {}, "line 7: expected the word 3 .* got '4'"),
        (CONLLU.replace("\n\n", "\n"), "a.conllu", {}, "line 8: expected the word 4 .* got '1'"),
        (CONLLU, "a.conllu", {"tag": "pos"}, "tag: expected one of 'id', 'form'"),
        ('{"tokens": ["a"], "tags": []}', "a.jsonl", {}, "line 1: expected 1 tags, .* got 0"),
        ('{"tokens": [], "tags": []}', "a.jsonl", {}, "line 1: .* at least one token"),
        ('{"tokens": "a", "tags": []}', "a.jsonl", {}, "line 1: expected a list of texts"),
        ('{"tokens": ["a", ""], "tags": []}', "a.jsonl", {}, "line 1: .* got an empty one"),
        ('{"tokens": ["a"]}', "a.jsonl", {}, "line 1: expected a column 'tags'"),
    ],
    ids=range(18),
)  # fmt: skip
def test_faults_are_named_by_their_line(
    content: str | bytes, name: str, options: dict[str, Any], message: str, write: Write
) -> None:
    with pytest.raises(GatewiseError, match=message):
        list(read_tagged(write(content, name), **options))


def test_sentences_from_memory() -> None:
    (sentence,) = as_tagged([["a", "b"]], [["O", "B-x"]])
    assert isinstance(sentence, Tagged)
    assert sentence.place_of(1) == "the sentences, number 0, token 1 'b'"
    for tokens, tags, message in (
        (["a b"], None, "the sentences, number 0: expected a list of texts, got a text"),
        ("a", None, "the sentences: expected a list of texts"),
        ([["a"], []], None, "number 1: expected at least one token"),
        ([["a"]], [["O", "O"]], "number 0: expected 1 tags"),
        ([["a"]], [], "the tags: expected 1 lists, one a sentence, got 0"),
    ):
        with pytest.raises(GatewiseError, match=message):
            list(as_tagged(tokens, tags))  # type: ignore[arg-type]
