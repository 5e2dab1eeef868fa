"""Tagged sentences that every Python brings along: its own source, each token with its role.

What a name is, its neighbours tell: a function after ``def``, an attribute behind a dot, an
argument before ``=`` inside of a call. The true roles are those of Python's own parser, `ast`. A
sentence is a statement as `tokenize` parts it; comments and what only shapes the text are left
out.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import io
import keyword
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MODULES: Final = ("textwrap", "shlex", "heapq", "bisect", "string", "fnmatch", "glob", "calendar")
"""Modules of the standard library, each of some hundred lines, that are written in Python."""

_LAYOUT: Final = {
    tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
    tokenize.ENDMARKER,
}  # fmt: skip
_BUILTINS: Final = frozenset(dir(builtins))
_LONGEST: Final = 40
"""Characters of a string that are shown: a docstring is a token, too."""

Position = tuple[int, int]
"""Line, from 1, and byte in it, from 0: where a name stands."""


def tagged_source() -> tuple[list[list[str]], list[list[str]]]:
    """Return the statements of ``MODULES``: tokens, and their roles."""
    X, y = [], []
    for name in MODULES:
        source = _source(name)
        roles = _roles(ast.parse(source))
        for statement in _statements(source):
            # A docstring alone teaches nothing.
            if len(statement) > 1:
                X.append([_shown(token) for token in statement])
                y.append([_role(token, roles) for token in statement])
    return X, y


def _source(name: str) -> str:
    spec = importlib.util.find_spec(name)
    path = Path(spec.origin if spec is not None and spec.origin else name)
    return path.read_text(encoding="utf-8")


def _statements(source: str) -> Iterator[list[tokenize.TokenInfo]]:
    tokens: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            yield tokens
            tokens = []
        elif token.type not in _LAYOUT:
            tokens.append(token)


def _shown(token: tokenize.TokenInfo) -> str:
    text = " ".join(token.string.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _role(token: tokenize.TokenInfo, roles: dict[Position, str]) -> str:
    if token.type == tokenize.NUMBER:
        return "number"
    if token.type == tokenize.OP:
        return "operator"
    if token.type != tokenize.NAME:
        return "string"
    if keyword.iskeyword(token.string):
        return "keyword"
    # The parser counts bytes where tokenize counts characters: in the modules' code they are one.
    return roles.get(token.start, "variable")


def _roles(tree: ast.AST) -> dict[Position, str]:
    """The role of each name by its position."""
    roles: dict[Position, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(lineno=line, col_offset=column):
                roles[line, column + len("def ")] = "function"
            case ast.ClassDef(lineno=line, col_offset=column):
                roles[line, column + len("class ")] = "class"
            case ast.arg(lineno=line, col_offset=column):
                roles[line, column] = "parameter"
            case ast.keyword(arg=str(), lineno=line, col_offset=column):
                roles[line, column] = "argument"
            case ast.Call(func=ast.Attribute() as method):
                roles[_end(method)] = "method"
            case ast.Attribute():
                roles.setdefault(_end(node), "attribute")
            case ast.Name(id=name, lineno=line, col_offset=column):
                known = "builtin" if name in _BUILTINS else "variable"
                roles[line, column] = known
            case ast.Import(names=names):
                for one in names:
                    roles |= dict.fromkeys(_dotted(one), "module")
            case ast.ImportFrom(lineno=line, col_offset=column, names=names):
                roles[line, column + len("from ")] = "module"
                for one in names:
                    roles |= dict.fromkeys(_dotted(one), "imported")
            case _:
                pass
    return roles


def _dotted(alias: ast.alias) -> Iterator[Position]:
    """Where the names of ``os.path as p`` begin."""
    place = 0
    for part in alias.name.split("."):
        yield alias.lineno, alias.col_offset + place
        place += len(part) + 1
    if alias.asname is not None:
        yield alias.end_lineno or 0, (alias.end_col_offset or 0) - len(alias.asname)


def _end(node: ast.Attribute) -> Position:
    """Where the name behind the dot begins."""
    return node.end_lineno or 0, (node.end_col_offset or 0) - len(node.attr)
