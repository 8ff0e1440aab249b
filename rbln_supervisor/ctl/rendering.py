"""The page for output: a terminal with its width and colours, or a pipe with neither."""

import sys
from collections.abc import Callable
from typing import Final, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

from rbln_supervisor.ctl.output import write_text

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


def print_page(page: Callable[[int], RenderableType]) -> bool:
    """Write a page to standard output; return False if its reader is gone."""
    return write_text(render_text(page, sys.stdout))


def table_for(columns: int) -> Table:
    """Return an empty table for a page of this width."""
    # A rule below the heads helps people; a reader of a pipe would have to skip it.
    box = SIMPLE_HEAD if columns < PIPE_COLUMNS else None
    return Table(box=box, pad_edge=False, header_style="dim", show_edge=False)
