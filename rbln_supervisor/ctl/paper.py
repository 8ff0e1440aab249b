"""What is written on: a terminal with its width and colours, or a pipe with neither."""

from collections.abc import Callable
from typing import Final, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

PIPE_COLUMNS: Final = 1000
"""Where no terminal is: a line is as long as what it says, for grep and for reports."""


def text(page: Callable[[int], RenderableType], stream: TextIO) -> str:
    """What to write to a stream, of a page that is so many columns wide."""
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        columns = console.width
    else:
        columns = console.width = PIPE_COLUMNS
    with console.capture() as capture:
        console.print(page(columns))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def table_for(columns: int) -> Table:
    """An empty table for a page so many columns wide."""
    # A rule below the heads is for eyes; what reads a pipe would have to skip it.
    box = SIMPLE_HEAD if columns < PIPE_COLUMNS else None
    return Table(box=box, pad_edge=False, header_style="dim", show_edge=False)
