r"""Tokenizers: from a text to tokens and back, by rules, by name, and as JSON.

=========== =======================================================================================
spaces      what white space parts: for corpora whose tokens were parted before
words       letters, marks and digits of any script, with inner apostrophes, decimal points and
            joiners; each Chinese character; each other sign, an emoji of several code points whole
characters  each code point, white space and line ends too
spacy:en    spaCy's rules for a language, if it is installed; see ``foreign``
nltk:tweet  one of NLTK's, if it is installed
bpe         learned subwords; see ``subwords``
=========== =======================================================================================
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Protocol, cast, get_args, runtime_checkable

from gatewise.data.places import listed
from gatewise.errors import InvalidFileError, InvalidValueError

Form = Literal["none", "NFC", "NFKC"]
"""The normal form of Unicode that texts are brought into; ``none``: they stay as they are."""

# Oniguruma's syntax. A mark belongs to the letter before it, and a joiner to the letters around it.
_LETTER: Final = r"(?!\p{Han})[\p{L}\p{M}\p{N}_]"
_INNER: Final = r"['’\u200c\u200d](?=" + _LETTER + r")|(?<=\p{N})[.,](?=\p{N})"  # noqa: RUF001
_PATTERN: Final = rf"(?:{_LETTER})+(?:(?:{_INNER})(?:{_LETTER})+)*|\p{{Han}}\p{{M}}*|\s+|\X"

_FORMS: Final = get_args(Form)
_CLOSING: Final = frozenset(".,;:!?)]}%…。，、；：！？）》」』”’")  # noqa: RUF001
_OPENING: Final = frozenset("([{$#@（《「『“‘")  # noqa: RUF001


@runtime_checkable
class Tokenizer(Protocol):
    """What parts texts, says how it is called, and can be saved.

    ``glue`` is what stands between the tokens of an n-gram; see ``ngrams``.
    """

    @property
    def name(self) -> str:
        """The name that ``tokenizer_from_dict`` knows it by."""
        ...

    @property
    def glue(self) -> str:
        """What joins the tokens of an n-gram so that no two n-grams look the same."""
        ...

    def split(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        ...

    def join(self, tokens: Sequence[str]) -> str:
        """Return a text of these tokens."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return all there is to it, as values that JSON can hold."""
        ...


@dataclass(frozen=True)
class Rules:
    """A tokenizer that needs no training.

    Args:
        name: ``spaces``, ``words`` or ``characters``.
        lowercase: Whether texts are lower-cased first.
        form: The normal form that texts are brought into first.
    """

    name: Literal["spaces", "words", "characters"]
    lowercase: bool = False
    form: Form = "none"

    @property
    def glue(self) -> str:
        """A space between words; nothing between characters."""
        return "" if self.name == "characters" else " "

    def split(self, text: str) -> list[str]:
        """Return the tokens of a text; ``characters`` keeps white space, the others drop it."""
        text = normal(text, self.form, lowercase=self.lowercase)
        if self.name == "spaces":
            return text.split()
        if self.name == "characters":
            return list(text)
        parts = _word_splitter().pre_tokenize_str(text)
        return [token for token, _ in parts if not token.isspace()]

    def join(self, tokens: Sequence[str]) -> str:
        """Return a text of these tokens.

        For ``characters`` it is exact. Of ``words`` the spaces are a guess: one between two
        tokens, none before a closing mark, after an opening one, and among Chinese characters.
        """
        if self.name == "characters":
            return "".join(tokens)
        return " ".join(tokens) if self.name == "spaces" else _with_spaces(tokens)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def tokenizer(name: str, *, lowercase: bool = False, form: str | None = None) -> Tokenizer:
    """Return a tokenizer that needs no training by its name.

    Args:
        name: ``spaces``, ``words``, ``characters``, ``spacy:<language>`` or ``nltk:<name>``.
        lowercase: Whether texts are lower-cased first.
        form: The normal form that texts are brought into first; None: ``NFC`` for ``words``, so
            that an accent is the same however it was typed, ``none`` for the others.

    Returns:
        The tokenizer.

    Raises:
        InvalidValueError: There is no such name.
        InvalidStateError: The library that it needs is not installed.
    """
    from gatewise.data.text.foreign import Foreign

    if form is None:
        form = "NFC" if name == "words" else "none"
    if form not in _FORMS:
        raise InvalidValueError("form", "'none', 'NFC' or 'NFKC'", repr(form))
    if name == "bpe":
        raise InvalidValueError(
            "tokenizer", "one that needs no training", repr(name), "Train it: Subwords.train(…)."
        )
    if name in ("spaces", "words", "characters"):
        return Rules(name, lowercase, cast("Form", form))
    if name.startswith(("spacy:", "nltk:")):
        return Foreign(name, lowercase, cast("Form", form))
    known = ("spaces", "words", "characters", "spacy:en", "nltk:tweet", "bpe")
    raise InvalidValueError("tokenizer", f"one like {listed(known)}", repr(name))


def tokenizer_from_dict(values: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer that ``to_dict`` described; nothing in it is executed.

    Args:
        values: The dictionary, as read back from JSON.

    Raises:
        InvalidFileError: It is none that this version wrote.
        InvalidStateError: The library that it needs is not installed.
    """
    from gatewise.data.text.subwords import Subwords

    name = values.get("name")
    if name == "bpe":
        return Subwords.from_dict(values)
    if not isinstance(name, str) or set(values) != {"name", "lowercase", "form"}:
        raise InvalidFileError(
            "tokenizer", "name, lowercase and form", f"{listed([str(key) for key in values])}",
            "The file is damaged, or was written by another version of gatewise.",
        )  # fmt: skip
    return tokenizer(name, lowercase=bool(values["lowercase"]), form=values["form"])


def ngrams(tokens: Sequence[str], n: int, glue: str = " ") -> list[str]:
    """Return the n-gram that begins at each token; those of the last n - 1 tokens are shorter.

    There are as many as tokens, so that a network can read both side by side: Chinese characters
    and their bigrams, for one.

    Args:
        tokens: The tokens.
        n: Tokens in each, ≥ 1.
        glue: What stands between them; the tokenizer's ``glue``.

    Returns:
        The n-grams, in order.

    Example:
        >>> ngrams("北京大学", 2, "")
        ['北京', '京大', '大学', '学']
    """
    if n < 1:
        raise InvalidValueError("n", "at least 1", str(n))
    return [glue.join(tokens[k : k + n]) for k in range(len(tokens))]


def normal(text: str, form: Form, *, lowercase: bool) -> str:
    """Return ``text`` in a normal form and, if asked, in lower case."""
    if form != "none" and not text.isascii():
        text = unicodedata.normalize(form, text)
    return text.lower() if lowercase else text


@functools.cache
def _word_splitter() -> Any:
    # Python's own expressions know neither scripts nor marks nor clusters of code points.
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Split

    return Split(Regex(_PATTERN), "isolated")


def _with_spaces(tokens: Sequence[str]) -> str:
    """Guess the spaces between words."""
    text = ""
    for token in tokens:
        before = text[-1:]
        tight = not before or token[:1] in _CLOSING or before in _OPENING
        text += token if tight or (_wide(before) and _wide(token[:1])) else f" {token}"
    return text


def _wide(character: str) -> bool:
    """Whether it is written without spaces around it, as Chinese is."""
    hangul = "\uac00" <= character <= "\ud7a3"  # Korean has spaces
    return not hangul and unicodedata.east_asian_width(character) in "WF"
