"""Figures as tables: of one run, of a run and an earlier one, of two plugins."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from tests.bench.catalogue import FIGURES, OTHERWISE
from tests.bench.compare import Key, Ratio, ratios
from tests.bench.values import QUANTILES_OF, Figure, Made, Report

Column = tuple[str, Callable[[str], str]]
"""A heading, and the text for a figure's name."""


def show(report: Report, then: Report | None, console: Console, *, markdown: bool) -> None:
    """A run; with ratios where there is an earlier one."""
    over = ratios(report.figures, then.figures) if then is not None else None
    for sizes in _together(report.figures):
        mine = [one for one in report.figures if one.size in sizes]
        columns: list[Column] = []
        for size in sizes:
            columns.append((size, _measured({o.name: o for o in mine if o.size == size})))
            if over is not None:
                columns.append(("now / then", _ratio(over, size)))
        _print(_names(mine), columns, FIGURES, console, markdown=markdown)
    console.print(_READ_AS, highlight=False)
    console.print(f"now: {_said(report.made)}", highlight=False)
    if then is not None:
        console.print(f"then: {_said(then.made)}", highlight=False)


def show_both(report: Report, console: Console, *, markdown: bool) -> None:
    """Two plugins, and the ratio of ours to the other."""
    ours = [one for one in report.figures if one.of == "ours"]
    others = [one for one in report.figures if one.of == "other"]
    over = ratios(ours, others)
    columns: list[Column] = []
    for size in dict.fromkeys(one.size for one in report.figures):
        for heading, each in ((f"{size}: ours", ours), ("the other", others)):
            columns.append((heading, _measured({o.name: o for o in each if o.size == size})))
        columns.append(("ours / other", _ratio(over, size)))
    words = {**FIGURES, **OTHERWISE}
    _print(_names(report.figures), columns, words, console, markdown=markdown)
    console.print(_READ_AS, highlight=False)
    console.print(_said(report.made), highlight=False)


def cell(figure: Figure) -> str:
    """A figure in few words."""
    if not figure.count:
        return figure.why
    scale, digits, unit = _scale(figure)
    values: Sequence[float]
    if figure.count == 1:
        form, values = "{}", (figure.median,)
    elif figure.count >= QUANTILES_OF:
        form, values = "{} / {}", (figure.median, figure.p99)
    else:
        form, values = "{} ({} to {})", (figure.median, figure.least, figure.most)
    return f"{form.format(*(f'{value * scale:.{digits}f}' for value in values))} {unit}".rstrip()


_READ_AS: Final = (
    f"median (least to most); p50 / p99 of {QUANTILES_OF} samples or more; "
    "ratios are of the medians, or of both p50 / of both p99"
)


def _scale(figure: Figure) -> tuple[float, int, str]:
    """The factor, the digits and the unit in which it is read best."""
    match figure.unit:
        case "KiB":
            return 1 / 1024, 1, "MiB"
        case "cores":
            return 100, 2, "% of a core"
        case "s":
            if figure.median < 1e-3:
                return 1e6, 0, "µs"
            if figure.median < 10e-3:
                return 1e3, 1, "ms"
            return (1e3, 0, "ms") if figure.median < 10 else (1, 1, "s")
        case "":
            return 1, 0, ""


def _together(figures: Iterable[Figure]) -> list[list[str]]:
    """Sizes that have figures in common, each a table of its own."""
    names: dict[str, set[str]] = {}
    for one in figures:
        names.setdefault(one.size, set()).add(one.name)
    tables: list[list[str]] = []
    for size, there in names.items():
        mine = next((table for table in tables if names[table[0]] & there), None)
        if mine is None:
            tables.append([size])
        else:
            mine.append(size)
    return tables


def _names(figures: Iterable[Figure]) -> list[str]:
    there = {one.name for one in figures}
    return [name for name in FIGURES if name in there]


def _measured(figures: Mapping[str, Figure]) -> Callable[[str], str]:
    return lambda name: cell(figures[name]) if name in figures else ""


def _ratio(over: Mapping[Key, Ratio], size: str) -> Callable[[str], str]:
    def said(name: str) -> str:
        ratio = over.get((name, size))
        if ratio is None or ratio.median is None:
            return "-"
        return " / ".join(f"{one:.2f}" for one in ratio if one is not None)

    return said


def _said(made: Made) -> str:
    of = f", against {made.against}" if made.against else ""
    quick = ", quick" if made.quick else ""
    return f"{made.commit}, {made.date}, Python {made.python}, {made.cpus} CPUs{quick}{of}"


def _print(
    names: Sequence[str],
    columns: Sequence[Column],
    words: Mapping[str, str],
    console: Console,
    *,
    markdown: bool,
) -> None:
    table = Table(box=box.MARKDOWN if markdown else None, pad_edge=markdown)
    table.add_column("figure")
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for name in names:
        table.add_row(words[name], *(text(name) for _, text in columns))
    console.print(table)
    console.print()
