"""Labels of texts and tags of tokens as numbers: which there are, and what each record has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from gatewise.data.text.records import Tagged, Text
from gatewise.data.text.vocabulary import Vocabulary
from gatewise.errors import InvalidValueError


def label_vocabulary(texts: Iterable[Text]) -> Vocabulary:
    """Return the labels of a training set, in the order of their code points.

    Args:
        texts: Texts with a label or several.

    Raises:
        InvalidValueError: A text has none, or all have the same one.
    """
    counted: Counter[str] = Counter()
    for text in texts:
        if not text.labels:
            raise InvalidValueError(
                str(text.place), "a label", "none", "Name the column of labels."
            )
        counted.update(text.labels)
    if len(counted) < 2:
        got = f"{next(iter(counted))!r} alone" if counted else "no text"
        raise InvalidValueError(
            "the labels", "at least two classes", got, "A classifier needs something to tell apart."
        )
    return _of(counted)


def tag_vocabulary(sentences: Iterable[Tagged]) -> Vocabulary:
    """Return the tags of a training set, in the order of their code points.

    Args:
        sentences: Sentences with tags.

    Raises:
        InvalidValueError: A sentence has none, or all tokens have the same one.
    """
    counted: Counter[str] = Counter()
    for sentence in sentences:
        if not sentence.tags:
            raise InvalidValueError(str(sentence.place), "a tag for each token", "none")
        counted.update(sentence.tags)
    if len(counted) < 2:
        got = f"{next(iter(counted))!r} alone" if counted else "no sentence"
        raise InvalidValueError("the tags", "at least two", got, "Check the column of the tags.")
    return _of(counted)


def label_numbers(texts: Sequence[Text], labels: Vocabulary) -> Int64[Tensor, "N"]:
    """Return the one label of each of N texts.

    Args:
        texts: The texts.
        labels: The labels of the training set, C.

    Raises:
        InvalidValueError: A text has none, several, or one that is not in the training set; names
            the place.
    """
    for text in texts:
        if len(text.labels) != 1:
            got = f"{len(text.labels)}: {text.labels!r:.60}"
            raise InvalidValueError(str(text.place), "one label", got)
    names = [text.labels[0] for text in texts]
    return torch.from_numpy(labels.encode(names, lambda k: texts[k].place)).long()


def label_matrix(texts: Sequence[Text], labels: Vocabulary) -> Bool[Tensor, "N C"]:
    """Return which of C labels each of N texts has.

    Args:
        texts: The texts.
        labels: The labels of the training set.

    Raises:
        InvalidValueError: A text has one that is not in the training set; names the place.
    """
    matrix = torch.zeros(len(texts), len(labels), dtype=torch.bool)
    for row, text in zip(matrix, texts, strict=True):
        place = text.place
        row[torch.from_numpy(labels.encode(text.labels, lambda _, at=place: at)).long()] = True
    return matrix


def tag_numbers(sentence: Tagged, tags: Vocabulary) -> Int64[Tensor, "T"]:
    """Return the tag of each of T tokens.

    Args:
        sentence: The sentence.
        tags: The tags of the training set.

    Raises:
        InvalidValueError: One is not in the training set; names the line.
    """
    return torch.from_numpy(tags.encode(sentence.tags, sentence.place_of)).long()


def _of(counted: Counter[str]) -> Vocabulary:
    names = sorted(counted)
    return Vocabulary(tuple(names), tuple(counted[one] for one in names), None, None)
