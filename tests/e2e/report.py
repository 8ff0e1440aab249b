"""What was tried, what was seen, how long it took: a table for people."""

from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One thing that was tried."""

    tried: str
    seen: str
    seconds: float | None


class Report:
    """Rows, in the order in which they were measured."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.rows: list[Row] = []

    def add(self, tried: str, seen: str, seconds: float | None = None) -> None:
        """Take note of a result."""
        self.rows.append(Row(tried, seen, seconds))

    def table(self) -> str:
        """All of them in Markdown."""
        head = [
            self.title,
            "",
            "| tried | seen | seconds |",
            "|---|---|---:|",
        ]
        rows = [f"| {row.tried} | {row.seen} | {_shown(row.seconds)} |" for row in self.rows]
        return "\n".join([*head, *rows])

    def write(self, path: Path) -> None:
        """Put the table into a file."""
        path.write_text(self.table() + "\n")


def _shown(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"
