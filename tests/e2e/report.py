"""What was tried, what was seen, how long it took: tables for people."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_TEST_POD: Final = re.compile(
    r"\bp[0-9]{6,}-[0-9]+(-[a-z0-9]+-[a-z0-9]+)?|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
"""The name or the UID of a pod that a test made."""


class Table:
    """Rows, in the order in which they were measured; the last column is a number."""

    def __init__(self, title: str, *columns: str) -> None:
        self.title = title
        self._columns = columns
        self._rows: list[Sequence[str]] = []

    def add_row(self, *cells: str, seconds: float | None) -> None:
        """Add the cells of a row, and its seconds in the last column."""
        shown = [_TEST_POD.sub("POD", cell).replace("|", "\\|") for cell in cells]
        self._rows.append([*shown, "" if seconds is None else f"{seconds:.2f}"])

    def text(self) -> str:
        """The table in Markdown."""
        rule = ["---"] * (len(self._columns) - 1) + ["---:"]
        head = [self.title, "", _line(self._columns), f"|{'|'.join(rule)}|"]
        return "\n".join([*head, *(_line(row) for row in self._rows)])

    def write(self, path: Path) -> None:
        """Put the table into a file."""
        path.write_text(self.text() + "\n")


class Report(Table):
    """What was tried and what was seen."""

    def __init__(self, title: str) -> None:
        super().__init__(title, "tried", "seen", "seconds")

    def add(self, tried: str, seen: str, seconds: float | None = None) -> None:
        """Take note of a result."""
        self.add_row(tried, seen, seconds=seconds)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
