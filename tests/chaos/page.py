"""The tables of docs/measured/chaos.md, written from the report of a run."""

import subprocess
from pathlib import Path
from typing import Final

from tests.chaos.report import Report

BEGIN: Final = "<!-- tables: scripts/chaos --record -->"
END: Final = "<!-- end of tables -->"


def write_tables(page: Path, report: Report) -> None:
    """Replace the tables of the page; ValueError if it has no place for them."""
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page}: no {BEGIN} and {END}")
    page.write_text(
        "\n".join((f"{before}{BEGIN}", *page_lines(report, _commit()), f"{END}{after}"))
    )


def page_lines(report: Report, commit: str) -> tuple[str, ...]:
    """Return the lines between the marks."""
    count = sum(tally.injected for tally in report.faults.values())
    quiet, faulty = (
        "{:.1f} / {:.1f} ms".format(*(one / 1000 for one in pair))
        for pair in (report.quiet_us, report.faulty_us)
    )
    return (
        "",
        f"Commit {commit}, `--seed {report.seed} --minutes {report.seconds / 60:.0f}`: {count} "
        f"faults of {len(report.faults)} kinds, every check passed.",
        "",
        "| fault | times | alone | slowest recovery, alone |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {tally.injected} | {tally.alone} | "
            f"{f'{tally.slowest_s:.1f} s' if tally.alone else ''} |"
            for name, tally in sorted(report.faults.items())
        ),
        "",
        "| | |",
        "|---|---|",
        f"| calls | {report.calls:,}; for pools that a step must not disturb, none failed, no "
        "stream ended, no message was sent |",
        f"| … to pools with a fault | {report.lost:,} failed during the fault |",
        f"| … of DRA pools (prepare and unprepare) | {report.claim_calls:,}; slowest answer "
        f"{report.slowest_claim_s:.1f} s |",
        f"| second claims of a device that a claim has | {report.refused_claims:,}, all refused |",
        f"| changes that have their Events, each counted once with its own time | "
        f"{report.changes:,}, sent by {report.agents} agents one after another; "
        f"{report.most_waiting} Events waited at once |",
        f"| Allocate p50 / p99, without faults | {quiet} |",
        f"| … in pools beside those with a fault | {faulty} |",
        f"| slowest answer to `rbln-ctl status` | {report.slowest_status_ms:.0f} ms |",
        f"| memory of all {report.start.processes} processes (PSS), at the start and at the end | "
        f"{report.start.pss_kib / 1024:.1f} MiB, {report.end.pss_kib / 1024:.1f} MiB |",
        f"| open descriptors | {report.start.descriptors}, {report.end.descriptors} |",
        "",
    )


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
