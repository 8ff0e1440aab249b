"""The documents as values: pages, their tables and their code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

REPOSITORY: Final = Path(__file__).parents[2]
DOCS: Final = REPOSITORY / "docs"
PAGES: Final = tuple(
    sorted(
        (
            *DOCS.glob("*.md"),
            *(
                page
                for folder in ("adr", "design", "reference")
                for page in DOCS.glob(f"{folder}/*.md")
            ),
            *(REPOSITORY / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
        )
    )
)
"""Those that speak of commands and files as they are now."""

_FENCE: Final = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_SPAN: Final = re.compile(r"`([^`\n]+)`")
_BAR: Final = re.compile(r"(?<!\\)\|")


class Row(NamedTuple):
    """A row of a table: its cells by the column's head, and in order."""

    cells: dict[str, str]
    first: str

    def code(self, column: str) -> str:
        """The first code span of a cell; empty where there is none."""
        return next(iter(spans(self.cells[column])), "")


def text(name: str) -> str:
    """A page of docs/."""
    return (DOCS / name).read_text()


def prose(page: str) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", page)


def blocks(page: str) -> list[tuple[str, str]]:
    """Blocks of code, each with its language."""
    return [(one[1], one[2]) for one in _FENCE.finditer(page)]


def spans(page: str) -> list[str]:
    """Spans of code, as they are read: a bar in a table is escaped."""
    return [one[1].replace("\\|", "|") for one in _SPAN.finditer(page)]


def rows(page: str, first: str) -> list[Row]:
    """All rows of the tables whose first column has this head."""
    found = [row for head, row in _tables(prose(page)) if head == first]
    assert found, f"no table whose first column is {first!r}"
    return found


def _tables(page: str) -> Iterator[tuple[str, Row]]:
    heads: list[str] = []
    for line in page.splitlines():
        stripped = line.strip()
        if not stripped.startswith("|"):
            heads = []
            continue
        cells = [cell.strip() for cell in _BAR.split(stripped.strip("|"))]
        if not heads:
            heads = cells
        elif not set(stripped) <= set("|-: "):
            yield heads[0], Row(dict(zip(heads, cells, strict=True)), cells[0])
