"""The page for output: a terminal with its width and colours, or a pipe with neither."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from rbln_supervisor.ctl.output import write_text
from rbln_supervisor.ctl.text import plain

PIPE_COLUMNS: Final = 1000
"""Width without a terminal: lines are as long as their text, for grep and for reports."""


def render_text(page: Callable[[int], RenderableType], stream: TextIO) -> str:
    """Return a page as text for a stream; ``page`` gets the width in columns."""
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        columns = console.width
    else:
        columns = console.width = PIPE_COLUMNS
    with console.capture() as capture:
        console.print(page(columns))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def print_page(page: Callable[[int], RenderableType]) -> None:
    """Write a page to standard output."""
    write_text(render_text(page, sys.stdout))


def fixed_column(head: str, *, min_width: int | None = None) -> Column:
    """Return a column of short cells, which stay whole on a narrow page."""
    return Column(head, no_wrap=True, min_width=min_width)


def number_column(head: str) -> Column:
    """Return a column of numbers."""
    return Column(head, no_wrap=True, justify="right")


def build_table(
    columns: int, heads: Iterable[str | Column], rows: Iterable[Sequence[str | Text]]
) -> Table:
    """Return a table.

    Args:
        columns: width of the page.
        heads: columns, or heads of columns whose cells are folded on a narrow page.
        rows: cells; strings lose their control characters.
    """
    table = Table(
        *(Column(head, overflow="fold") if isinstance(head, str) else head for head in heads),
        # A rule below the heads helps people; a reader of a pipe would have to skip it.
        box=SIMPLE_HEAD if columns < PIPE_COLUMNS else None,
        pad_edge=False,
        header_style="dim",
        show_edge=False,
    )
    for row in rows:
        table.add_row(*(Text(plain(cell)) if isinstance(cell, str) else cell for cell in row))
    return table


def indent_page(part: RenderableType, columns: int = 2) -> Padding:
    """Return a part of a page, some columns further to the right."""
    return Padding(part, (0, 0, 0, columns), expand=False)
