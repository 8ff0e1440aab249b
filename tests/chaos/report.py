"""The table at the end, and its JSON."""

from collections.abc import Mapping, Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from tests.chaos.story import Tally


class Memory(msgspec.Struct, frozen=True):
    """What all processes have."""

    processes: int
    pss_kib: int
    descriptors: int


class Report(msgspec.Struct, frozen=True):
    """One run."""

    seed: int
    seconds: float
    faults: Mapping[str, Tally]
    calls: int
    lost: int
    quiet_us: tuple[float, float]
    """p50 and p99 of calls while nothing was broken."""
    faulty_us: tuple[float, float]
    """… of calls to pools that no fault might disturb, while others were disturbed."""
    start: Memory
    end: Memory
    slowest_status_ms: float
    claim_calls: int = 0
    """Claims that were prepared and unprepared, each counted."""
    slowest_claim_s: float = 0.0
    refused_claims: int = 0
    """Second claims of a device that another claim has."""
    changes: int = 0
    """Changes of the node that have their Events."""
    agents: int = 0
    """Agents that were started."""
    most_waiting: int = 0
    """Events that waited at once."""
    broken: str = ""
    """What did not hold; empty where all did."""


def centiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99, in microseconds."""
    if not seconds:
        return 0.0, 0.0
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2] * 1e6, ordered[len(ordered) * 99 // 100] * 1e6


def show(report: Report, console: Console) -> None:
    """Print it."""
    table = Table(box=None, pad_edge=False)
    for name, justify in (("fault", "left"), ("injected", "right"), ("alone", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("calls that failed", justify="right")
    table.add_column("slowest to rest", justify="right")
    for name, tally in sorted(report.faults.items()):
        slowest = f"{tally.slowest_s:.2f} s" if tally.alone else ""
        table.add_row(name, f"{tally.injected}", f"{tally.alone}", f"{tally.lost}", slowest)
    console.print(table)
    console.print()
    for line in _lines(report):
        console.print(line, highlight=False)


def _lines(report: Report) -> tuple[str, ...]:
    quiet, faulty = report.quiet_us, report.faulty_us
    ratio = faulty[1] / quiet[1] if quiet[1] else 0.0
    start, end = report.start, report.end
    return (
        f"seed {report.seed}, {report.seconds:.0f} s, "
        f"{sum(tally.injected for tally in report.faults.values())} faults",
        f"calls {report.calls}, failed {report.lost}, to pools that may not be disturbed 0"
        if not report.broken
        else f"calls {report.calls}, failed {report.lost}",
        f"Allocate p50 / p99, quiet: {quiet[0]:.0f} / {quiet[1]:.0f} µs",
        f"… of undisturbed pools under faults: {faulty[0]:.0f} / {faulty[1]:.0f} µs "
        f"({ratio:.1f} times the quiet p99)",
        f"memory of all processes: {start.pss_kib / 1024:.1f} MiB in {start.processes}, "
        f"at the end {end.pss_kib / 1024:.1f} MiB in {end.processes}",
        f"open descriptors: {start.descriptors}, at the end {end.descriptors}",
        f"Events: of {report.changes} changes, each once; {report.most_waiting} waited at once; "
        f"{report.agents} agents",
        f"slowest answer to rbln-ctl status: {report.slowest_status_ms:.0f} ms",
        f"BROKEN: {report.broken}" if report.broken else "every invariant held",
    )
