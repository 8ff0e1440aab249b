"""Two runs are compared figure by figure; what can't be compared is said in one line."""

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from tests.bench.catalogue import FIGURES, OTHERWISE
from tests.bench.compare import NotComparable, Ratio, load, ratios
from tests.bench.measuring import figure
from tests.bench.table import cell, show
from tests.bench.values import FORMAT, QUANTILES_OF, Figure, Made, Report

NOW = Made("abc", "2026-11-25 03:00 UTC", "3.13.1", 4)
THEN = Made("v0.1.0", "2026-11-24 03:00 UTC", "3.11.7", 2)


def many(name: str, size: str, median: float, p99: float) -> Figure:
    return Figure(name, size, "s", QUANTILES_OF, median, p99, median / 2, p99 * 2)


def one(name: str, size: str, value: float) -> Figure:
    return figure(name, size, "KiB", [value])


def test_a_ratio_is_now_over_then() -> None:
    now = [many("allocate", "small", 1.0, 6.0), one("pss", "small", 30.0)]
    then = [one("pss", "small", 60.0), many("allocate", "small", 2.0, 4.0)]
    assert ratios(now, then) == {
        ("allocate", "small"): Ratio(0.5, 1.5),
        ("pss", "small"): Ratio(0.5, None),
    }


def test_figures_of_one_run_alone_have_no_ratio() -> None:
    now = [one("pss", "small", 30.0), one("pss", "large", 90.0)]
    then = [one("pss", "small", 60.0), one("rss", "large", 90.0)]
    assert ratios(now, then).keys() == {("pss", "small")}


def test_what_was_not_measured_has_no_ratio() -> None:
    never = figure("driver-gone", "small", "s", [], "never (3 s)")
    assert not ratios([never], [many("driver-gone", "small", 1.0, 1.0)])
    assert not ratios([many("driver-gone", "small", 1.0, 1.0)], [never])


def test_nothing_is_divided_by_nothing() -> None:
    messages = figure("supervisor-messages", "small", "", [0])
    assert ratios([messages], [messages]) == {("supervisor-messages", "small"): Ratio(None, None)}


def test_figures_of_samples() -> None:
    samples = [float(n) for n in range(100, 0, -1)]
    assert figure("allocate", "small", "s", samples) == Figure(
        "allocate", "small", "s", 100, 50.5, 100.0, 1.0, 100.0
    )


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (many("allocate", "small", 5e-4, 1e-3), "500 / 1000 µs"),
        (many("allocate", "small", 5e-3, 20e-3), "5.0 / 20.0 ms"),
        (figure("start", "small", "s", [0.2, 0.3, 0.5]), "300 (200 to 500) ms"),
        (figure("start", "small", "s", [28.74]), "28.7 s"),
        (figure("start", "small", "s", [], "never (3 s)"), "never (3 s)"),
        (figure("pss", "small", "KiB", [64 * 1024]), "64.0 MiB"),
        (figure("idle", "small", "cores", [0.0031]), "0.31 % of a core"),
        (figure("supervisor-messages", "small", "", [0]), "0"),
    ],
)
def test_a_figure_in_few_words(shown: Figure, text: str) -> None:
    assert cell(shown) == text


def test_the_table_has_ratios_and_says_where_both_come_from() -> None:
    now = Report(FORMAT, NOW, (many("allocate", "small", 1e-3, 6e-3), one("rss", "large", 7.0)))
    then = Report(FORMAT, THEN, (many("allocate", "small", 2e-3, 4e-3),))
    console = Console(width=200, file=io.StringIO(), record=True)
    show(now, then, console, markdown=False)
    text = console.export_text()
    row = next(line for line in text.splitlines() if line.startswith(FIGURES["allocate"]))
    assert row.split()[-3:] == ["0.50", "/", "1.50"]
    rss = next(line for line in text.splitlines() if line.startswith(FIGURES["rss"]))
    assert rss.split()[-1] == "-"
    for run, made in (("now", NOW), ("then", THEN)):
        said = f"{run}: {made.commit}, {made.date}, Python {made.python}, {made.cpus} CPUs"
        assert said in text


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = Report(FORMAT, NOW, (many("allocate", "small", 1e-3, 6e-3),))
    path = tmp_path / "bench.json"
    path.write_bytes(msgspec.json.encode(report))
    assert load(path) == report


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"format": 1', "no report of scripts/bench"),
        (b"\xff\xfe", "no report of scripts/bench"),
        (b"[" * 100_000, "no report of scripts/bench"),
        (b'{"seed": 1, "faults": {}}', "no report of scripts/bench"),
        (b'{"format": 1, "made": {}, "figures": []}', "no report of scripts/bench"),
        (b'{"format": 0}', "format 0, and this is 1"),
        (None, "No such file"),
    ],
)
def test_what_is_no_report_is_said_in_one_line(
    tmp_path: Path, text: bytes | None, why: str
) -> None:
    path = tmp_path / "bench.json"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(NotComparable) as caught:
        load(path)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_plugins_are_no_earlier_run(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    made = msgspec.structs.replace(NOW, against="sriovdp {config}")
    path.write_bytes(msgspec.json.encode(Report(FORMAT, made, ())))
    with pytest.raises(NotComparable, match="of two plugins"):
        load(path)


def test_other_words_are_for_figures_that_there_are() -> None:
    assert OTHERWISE.keys() <= FIGURES.keys()
