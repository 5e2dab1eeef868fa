"""spaCy's and NLTK's tokenizers, by name, when they are installed; neither is a dependency.

Only rules that come with the libraries: a language of spaCy as ``spacy.blank`` makes it, and those
classes of NLTK that need no data. A saved name can thus load nothing that somebody else wrote.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from gatewise.data.places import listed
from gatewise.data.text.tokenizing import Form, normal
from gatewise.errors import InvalidStateError, InvalidValueError

_NLTK: Final = {
    "treebank": "NLTKWordTokenizer",
    "tweet": "TweetTokenizer",
    "wordpunct": "WordPunctTokenizer",
    "toktok": "ToktokTokenizer",
}


@dataclass(frozen=True)
class Foreign:
    """Another library's tokenizer.

    Args:
        name: ``spacy:`` and a language's code, as in ``spacy:de``; or ``nltk:treebank``,
            ``nltk:tweet``, ``nltk:wordpunct``, ``nltk:toktok``.
        lowercase: Whether texts are lower-cased first.
        form: The normal form that texts are brought into first.

    Raises:
        InvalidValueError: The library knows no such name.
        InvalidStateError: The library is not installed.
    """

    name: str
    lowercase: bool = False
    form: Form = "none"

    def __post_init__(self) -> None:
        _splitter(self.name)

    @property
    def glue(self) -> str:
        """A space."""
        return " "

    def split(self, text: str) -> list[str]:
        """Return the tokens of a text, white space left out."""
        tokens = _splitter(self.name)(normal(text, self.form, lowercase=self.lowercase))
        return [token for token in tokens if token.strip()]

    def join(self, tokens: Sequence[str]) -> str:
        """Return the tokens with a space between each two."""
        return " ".join(tokens)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


@functools.cache
def _splitter(name: str) -> Callable[[str], list[str]]:
    library, _, which = name.partition(":")
    if library == "spacy":
        return _spacy(name, which)
    if which not in _NLTK:
        known = listed([f"nltk:{one}" for one in _NLTK])
        raise InvalidValueError("tokenizer", f"one of {known}", repr(name))
    _require(name, "nltk")
    return getattr(importlib.import_module("nltk.tokenize"), _NLTK[which])().tokenize


def _spacy(name: str, language: str) -> Callable[[str], list[str]]:
    remedy = "Name a language such as 'spacy:en'; trained pipelines are not loaded."
    # A code alone: spaCy would take a longer name for a package, and run it.
    if not re.fullmatch(r"[a-z]{2,3}", language):
        raise InvalidValueError(
            "tokenizer", "spacy: and the code of a language", repr(name), remedy
        )
    spacy = _require(name, "spacy")
    try:
        rules = spacy.blank(language).tokenizer
    except ImportError as error:
        # Japanese, for one, needs a package of its own: the reason says which.
        reason = str(error).partition("\n")[0]
        raise InvalidValueError(
            "tokenizer", "a language that spaCy can part here", f"{name!r} ({reason:.120})", remedy
        ) from error
    return lambda text: [token.text for token in rules(text)]


def _require(name: str, library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise InvalidStateError(
            f"tokenizer {name!r}", f"the package {library}", "none",
            f"Run pip install {library}, or use the tokenizer 'words'.",
        ) from error  # fmt: skip
