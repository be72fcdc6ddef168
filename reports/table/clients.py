"""How long the shortest client is that misses nothing, per transport: the files in docs/clients, which tests run."""

import ast
import io
import tokenize
from functools import cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "clients"
_LAYOUT: Final = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)


@cache
def client_lines(transport: str) -> int | None:
    """Lines of code of the transport's example; ``None`` where there is none, as for the baseline."""
    path = FOLDER / f"{transport}_client.py"
    return lines_of_code(path.read_text()) if path.exists() else None


def lines_of_code(source: str) -> int:
    """Lines with anything on them but comments and docstrings. Raises ``SyntaxError`` for what is no Python."""
    counted: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _LAYOUT:
            counted.update(range(token.start[0], token.end[0] + 1))
    return len(counted - _docstring_lines(ast.parse(source)))


def _docstring_lines(tree: ast.Module) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and first.end_lineno is not None:
                found.update(range(first.lineno, first.end_lineno + 1))
    return found
