"""Counts of the source that show how readable it is, each with its limit. scripts/check runs it.

A limit is lowered when a count has become smaller. Only a new feature raises that of code lines.
"""

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

REPOSITORY: Final = Path(__file__).parents[1]
PACKAGES: Final = ("rbln_supervisor", "rbln_worker")
MAX_MODULE_LINES: Final = 300
QUESTION: Final = re.compile(
    r"(whether|whom?|whose|what|which|why|how|where|when|whence|as long as|that which)\b",
    re.IGNORECASE,
)
"""A docstring that begins so is a question; it should say what the object does or is."""
_LAYOUT: Final = frozenset(
    {
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
        *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
    }
)


class Count(NamedTuple):
    """One count."""

    what: str
    value: float
    limit: float


def modules() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each module that is not generated."""
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            if "_pb2" not in path.name:
                yield str(path.relative_to(REPOSITORY)), path.read_text()


def code_lines(text: str, tree: ast.Module) -> int:
    """Return the number of lines that are neither blank, comment nor docstring."""
    strings = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        if isinstance(node.value.value, str)
    }
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in _LAYOUT
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - strings)


def counts() -> tuple[Count, ...]:
    """Count."""
    docstrings = questions = functions = one_word = lines = long = 0
    classes: defaultdict[str, set[str]] = defaultdict(set)
    for path, text in modules():
        tree = ast.parse(text)
        lines += code_lines(text, tree)
        long += text.count("\n") > MAX_MODULE_LINES
        for node in ast.walk(tree):
            match node:
                case ast.ClassDef(name=name):
                    classes[name].add(path)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    if not (name.startswith("__") and name.endswith("__")):
                        functions += 1
                        one_word += "_" not in name.strip("_")
                case ast.Module():
                    pass
                case _:
                    continue
            if (docstring := ast.get_docstring(node)) is not None:
                docstrings += 1
                questions += QUESTION.match(docstring.strip()) is not None
    return (
        Count("docstrings that are questions, %", round(100 * questions / docstrings, 1), 0.5),
        Count("function names of one word, %", round(100 * one_word / functions, 1), 10),
        Count("class names in several files", sum(len(one) > 1 for one in classes.values()), 5),
        Count("lines of code", lines, 21_255),
        Count(f"modules over {MAX_MODULE_LINES} lines", long, 0),
    )


def main() -> int:
    """Print the counts; 1 if one is above its limit."""
    found = counts()
    for one in found:
        print(f"{one.what:36} {one.value:8g}  limit {one.limit:g}")
    return int(any(one.value > one.limit for one in found))


if __name__ == "__main__":
    sys.exit(main())
