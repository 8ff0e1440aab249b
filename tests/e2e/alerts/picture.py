"""Draws the dashboard's panels as an SVG, from the data that its queries returned."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

from tests.e2e.alerts.panels import Line, Panel
from tests.e2e.prometheus import Series

COLUMN: Final = 52
ROW: Final = 27
HEAD: Final = 58
COLORS: Final = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#6a3d9a",
    "#666",
)
MAX_NAMES: Final = 8
TICKS: Final = 3
FONT: Final = 'font-family="sans-serif"'
_LEGEND_CHARACTER: Final = 6.4
"""Mean width of a character in the legend."""


class Span(NamedTuple):
    """The time of the picture, in seconds since the epoch, and the moment of stats and tables."""

    start: float
    end: float
    moment: float


class Box(NamedTuple):
    """A rectangle of the picture."""

    left: float
    top: float
    width: float
    height: float


def draw_dashboard(panels: Sequence[tuple[Panel, Sequence[Line]]], span: Span, title: str) -> str:
    """Return the picture."""
    width = 24 * COLUMN
    height = HEAD + max(panel.place.y + panel.place.h for panel, _ in panels) * ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {FONT}>',
        f'<rect width="{width}" height="{height}" fill="#f4f5f7"/>',
        _text(8, 24, title, size=18, weight="bold"),
        _text(
            *(8, 44),
            "Numbers and the table show the moment of the dashed lines, when most devices were "
            "Unhealthy. "
            f"Time in seconds; rates over 4 s; {span.end - span.start:.0f} s in all.",
            size=12,
            color="#555",
        ),
    ]
    for panel, lines in panels:
        box = Box(
            panel.place.x * COLUMN + 3,
            HEAD + panel.place.y * ROW + 3,
            panel.place.w * COLUMN - 6,
            panel.place.h * ROW - 6,
        )
        parts.append(
            f'<rect x="{box.left}" y="{box.top}" width="{box.width}" height="{box.height}" '
            'fill="#fff" stroke="#d0d4da"/>'
        )
        parts.append(_text(box.left + 8, box.top + 18, panel.title, size=12, weight="bold"))
        match panel.kind:
            case "stat":
                parts += _draw_number(panel, lines, span, box)
            case "table":
                parts += _draw_table(lines, span, box)
            case _:
                parts += _draw_lines(panel, lines, span, box)
    return "\n".join([*parts, "</svg>", ""])


def _draw_number(panel: Panel, lines: Sequence[Line], span: Span, box: Box) -> list[str]:
    value = value_at(lines[0].series, span.moment)
    said = "no data" if value is None else format_value(value, panel.unit)
    middle = box.left + box.width / 2
    return [_text(middle, box.top + box.height * 0.75, said, size=34, anchor="middle")]


def _draw_table(lines: Sequence[Line], span: Span, box: Box) -> list[str]:
    shown = [line for line in lines if value_at(line.series, span.moment) is not None]
    heads = sorted({name for line in shown for name in line.series.labels})
    rows = [[*heads, "Value"]]
    for line in shown:
        value = value_at(line.series, span.moment)
        rows.append([*(line.series.labels.get(head, "") for head in heads), f"{value:g}"])
    column = (box.width - 16) / len(rows[0])
    return [
        _text(
            *(box.left + 8 + column * place, box.top + 42 + 20 * number, cell),
            size=12,
            weight="normal" if number else "bold",
        )
        for number, row in enumerate(rows)
        for place, cell in enumerate(row)
    ]


def _draw_lines(panel: Panel, lines: Sequence[Line], span: Span, box: Box) -> list[str]:
    lines = sorted(lines, key=lambda line: -_highest(line.series))
    names = _place_names([line.name for line in lines], box)
    plot = Box(box.left + 58, box.top + 28, box.width - 72, box.height - 52 - 15 * names[0])
    highest = max((_highest(line.series) for line in lines), default=0.0)
    scale = 2**20 if panel.unit == "bytes" else 1
    top = nice_ceiling(highest / scale) * scale
    parts: list[str] = []
    for tick in range(TICKS + 1):
        y = plot.top + plot.height * (1 - tick / TICKS)
        parts.append(_line(plot.left, y, plot.left + plot.width, y, "#e3e6ea"))
        said = format_value(top * tick / TICKS, panel.unit)
        parts.append(_text(plot.left - 5, y + 4, said, size=10, anchor="end", color="#555"))
    seconds = span.end - span.start
    for second in range(0, int(seconds) + 1, 20):
        x = plot.left + plot.width * second / seconds
        parts.append(_line(x, plot.top + plot.height, x, plot.top + plot.height + 4, "#888"))
        y = plot.top + plot.height + 15
        parts.append(_text(x, y, f"{second} s", size=10, anchor="middle", color="#555"))
    x = plot.left + plot.width * (span.moment - span.start) / seconds
    parts.append(_line(x, plot.top, x, plot.top + plot.height, "#999", dashed=True))
    for number, line in reversed(list(enumerate(lines))):
        color = COLORS[number % len(COLORS)]
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>'
            for points in _strokes(line.series, span, plot, top)
        ]
    return [*parts, *names[1]]


def _place_names(names: Sequence[str], box: Box) -> tuple[int, list[str]]:
    """The number of rows that the legend takes at the bottom, and its elements."""
    shown = [*names[:MAX_NAMES]]
    if len(names) > MAX_NAMES:
        shown.append(f"and {len(names) - MAX_NAMES} more")
    places: list[tuple[float, int, str]] = []
    x, row = 0.0, 0
    for name in shown:
        wide = 22 + _LEGEND_CHARACTER * len(name)
        if x and x + wide > box.width - 16:
            x, row = 0.0, row + 1
        places.append((x, row, name))
        x += wide
    parts: list[str] = []
    for number, (x, line, name) in enumerate(places):
        left, y = box.left + 8 + x, box.top + box.height - 9 - 15 * (row - line)
        if number < MAX_NAMES:
            color = COLORS[number % len(COLORS)]
            parts.append(
                f'<rect x="{left:.0f}" y="{y - 7:.0f}" width="10" height="4" fill="{color}"/>'
            )
        parts.append(_text(left + 14, y, name, size=10.5))
    return row + 1, parts


def _strokes(series: Series, span: Span, plot: Box, top: float) -> list[str]:
    """The points of a line; it is interrupted where there is no value."""
    strokes: list[list[str]] = [[]]
    before = span.start
    for at, value in series.points:
        if not math.isfinite(value):
            continue
        if at - before > 1.5 and strokes[-1]:
            strokes.append([])
        before = at
        x = plot.left + plot.width * (at - span.start) / (span.end - span.start)
        y = plot.top + plot.height * (1 - value / top)
        strokes[-1].append(f"{x:.0f},{y:.1f}")
    # A point alone would be invisible.
    return [" ".join(one if len(one) > 1 else one * 2) for one in strokes if one]


def value_at(series: Series, moment: float) -> float | None:
    """The last value in the 5 s before a moment; None where there is none."""
    found = [value for at, value in series.points if moment - 5 <= at <= moment]
    return found[-1] if found else None


def _highest(series: Series) -> float:
    return max((value for _, value in series.points if math.isfinite(value)), default=0.0)


def nice_ceiling(value: float) -> float:
    """The next of 3, 6, 15, 30, … units, which TICKS parts divide well; 3 for 0."""
    if value <= 0:
        return 3.0
    unit: float = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1.5, 3, 6, 9, 15) if value <= step * unit)


def format_value(value: float, unit: str) -> str:
    """A value with its unit, as Grafana abbreviates it."""
    if value == 0:
        return "0"
    match unit:
        case "s":
            return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
        case "bytes":
            return f"{value / 2**20:.3g} MiB"
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "reqps" | "ops":
            return f"{_plain(value)}/s"
        case _:
            return _plain(value)


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _line(x1: float, y1: float, x2: float, y2: float, color: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"{dashes}/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    weight: str = "normal",
    anchor: str = "start",
    color: str = "#222",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{color}">{escape(text)}</text>'
    )
