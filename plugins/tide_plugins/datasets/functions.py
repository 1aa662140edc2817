"""Functions of Python source code, cut into what is given (signature, docstring) and what is to be written (body)."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function in the two pieces of a completion task; ``prompt + body`` is its source, indented as at top level."""

    qualified_name: str
    line: int
    prompt: str
    body: str
    has_docstring: bool


def functions(source: str) -> Iterator[Function]:
    """Yield the functions and methods of a module in order; functions inside functions stay part of their parent's body.

    Raises ``SyntaxError`` or ``ValueError`` when the source is not Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in somebody else's string literals
        tree = ast.parse(source)
    lines = source.splitlines(keepends=True)
    for prefix, node in _definitions(tree.body, ""):
        cut = _cut(node, lines, prefix + node.name)
        if cut is not None:
            yield cut


def _definitions(nodes: list[ast.stmt], prefix: str) -> Iterator[tuple[str, FunctionNode]]:
    for node in nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield prefix, node
            case ast.ClassDef():
                yield from _definitions(node.body, f"{prefix}{node.name}.")
            case ast.If():
                yield from _definitions(node.body + node.orelse, prefix)
            case ast.Try():
                handled = [statement for handler in node.handlers for statement in handler.body]
                yield from _definitions(node.body + handled + node.orelse, prefix)
            case _:
                pass


def _cut(node: FunctionNode, lines: list[str], name: str) -> Function | None:
    """Return the function in two pieces, or ``None`` when its lines cannot be cut cleanly (one-liners, odd indents)."""
    has_docstring = ast.get_docstring(node, clean=False) is not None
    if has_docstring and len(node.body) == 1:
        return None
    start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
    border = _border(node, has_docstring, lines)
    if border is None or node.end_lineno is None:
        return None
    prompt = _dedent(lines[start:border], node.col_offset)
    body = _dedent(lines[border : node.end_lineno], node.col_offset)
    if prompt is None or body is None:
        return None
    line = node.lineno
    return Function(qualified_name=name, line=line, prompt=prompt, body=body, has_docstring=has_docstring)


def _border(node: FunctionNode, has_docstring: bool, lines: list[str]) -> int | None:
    """Return the index of the first line of the body."""
    first = node.body[1 if has_docstring else 0]
    if has_docstring:
        border = node.body[0].end_lineno or 0
        return border if border < first.lineno else None
    decorators: list[ast.expr] = getattr(first, "decorator_list", [])
    border = min([first.lineno, *(decorator.lineno for decorator in decorators)]) - 1
    if border <= node.lineno - 1 or lines[border][: first.col_offset].strip(" @"):
        return None
    while not lines[border - 1].strip() or lines[border - 1].lstrip().startswith("#"):
        border -= 1  # comments above the first statement are part of what is to be written
    return border if border > node.lineno - 1 else None


def _dedent(lines: list[str], width: int) -> str | None:
    """Strip ``width`` columns of white space; ``None`` when a line (of a string literal, say) has less."""
    if any(line[:width].strip() or (line.strip() and len(line) < width) for line in lines):
        return None
    return "".join(line[width:] if line.strip() else "\n" for line in lines)
