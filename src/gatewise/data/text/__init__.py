"""From texts to batches of numbers.

``read_texts`` and ``read_tagged`` read files, a ``Tokenizer`` parts what they read, a
``Vocabulary`` numbers the parts; ``Buckets`` and ``pad`` make batches of texts, ``write_tokens``
and ``Streams`` those of one long text. Every record knows its place, so that a fault names it.
"""

from gatewise.data.text.batches import Buckets, pad, split_long
from gatewise.data.text.conll import read_tagged
from gatewise.data.text.labels import (
    label_matrix,
    label_numbers,
    label_vocabulary,
    tag_numbers,
    tag_vocabulary,
)
from gatewise.data.text.reading import read_texts
from gatewise.data.text.records import Place, Tagged, Text, as_tagged, as_texts
from gatewise.data.text.schemes import (
    SCHEMES,
    Scheme,
    Span,
    check_sentences,
    check_tags,
    convert_tags,
    infer_scheme,
    parse_tag,
    parse_tags,
    read_spans,
    write_tags,
)
from gatewise.data.text.streams import IGNORED, Streams, StreamWindow
from gatewise.data.text.subwords import Subwords
from gatewise.data.text.token_file import open_tokens, token_numbers, write_tokens
from gatewise.data.text.tokenizing import (
    Rules,
    Tokenizer,
    ngrams,
    tokenizer,
    tokenizer_from_dict,
)
from gatewise.data.text.vector_files import read_vectors
from gatewise.data.text.vectors import VectorReport, WordVectors, train_vectors
from gatewise.data.text.vocabulary import PADDING, UNKNOWN, Vocabulary

__all__ = [
    "IGNORED",
    "PADDING",
    "SCHEMES",
    "UNKNOWN",
    "Buckets",
    "Place",
    "Rules",
    "Scheme",
    "Span",
    "StreamWindow",
    "Streams",
    "Subwords",
    "Tagged",
    "Text",
    "Tokenizer",
    "VectorReport",
    "Vocabulary",
    "WordVectors",
    "as_tagged",
    "as_texts",
    "check_sentences",
    "check_tags",
    "convert_tags",
    "infer_scheme",
    "label_matrix",
    "label_numbers",
    "label_vocabulary",
    "ngrams",
    "open_tokens",
    "pad",
    "parse_tag",
    "parse_tags",
    "read_spans",
    "read_tagged",
    "read_texts",
    "read_vectors",
    "split_long",
    "tag_numbers",
    "tag_vocabulary",
    "token_numbers",
    "tokenizer",
    "tokenizer_from_dict",
    "train_vectors",
    "write_tags",
    "write_tokens",
]
