"""Texts that ship with every Python: names of Unicode's characters, and what each of them is."""

from __future__ import annotations

import random
import unicodedata
from typing import Final

from gatewise.tasks.estimator import Example

CATEGORIES: Final = {
    "Lu": "uppercase letter",
    "Ll": "lowercase letter",
    "Lm": "modifier letter",
    "Lo": "other letter",
    "Mn": "nonspacing mark",
    "Mc": "spacing mark",
    "Nd": "decimal digit",
    "Nl": "letter number",
    "No": "other number",
    "Po": "punctuation",
    "Sm": "mathematical symbol",
    "So": "other symbol",
}
"""Unicode's general categories that have enough names, in words."""

EACH: Final = 400
"""Names of each category at most."""

_PLANES: Final = 0x20000
"""The first two planes: beyond are ideographs, which have numbers for names."""

_NUMBERED: Final = (
    *("CJK", "HANGUL SYLLABLE", "TANGUT", "NUSHU", "KHITAN", "CUNEIFORM", "EGYPTIAN", "ANATOLIAN"),
    *("BAMUM", "SIGNWRITING", "YI SYLLABLE", "VAI SYLLABLE", "VARIATION"),
)
"""Thousands of names that differ by a number or a syllable alone."""


def example() -> Example:
    """Return names of characters with their categories, and settings for them.

    The words alone do not say it: LATIN CAPITAL LETTER B is uppercase, LATIN LETTER SMALL CAPITAL B
    lowercase, CIRCLED LATIN CAPITAL LETTER B a symbol.
    """
    names: dict[str, list[str]] = {category: [] for category in CATEGORIES}
    for number in range(_PLANES):
        character = chr(number)
        name = unicodedata.name(character, "")
        if " " in name and not name.startswith(_NUMBERED):
            names.get(unicodedata.category(character), []).append(name.lower())
    draw = random.Random(0)  # noqa: S311 - not for secrets
    pairs = [
        (name, CATEGORIES[category])
        for category, all_names in names.items()
        for name in draw.sample(all_names, min(EACH, len(all_names)))
    ]
    draw.shuffle(pairs)
    texts, labels = map(list, zip(*pairs, strict=True))
    return Example(
        f"{len(texts):,} names of Unicode characters, {len(CATEGORIES)} categories",
        texts,
        labels,
        settings={
            "embedding_size": 64,
            "hidden_size": 64,
            "learning_rate": 3e-3,
            "max_epochs": 12,
        },
    )
