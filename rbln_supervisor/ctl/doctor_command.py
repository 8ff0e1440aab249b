"""``rbln-ctl doctor``: problems of this node, with evidence and a remedy each."""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from rbln_supervisor.core.doctor.diagnose import diagnose, is_wrong
from rbln_supervisor.core.doctor.facts import DoctorFacts
from rbln_supervisor.core.doctor.finding import SEVERITIES, Finding, Severity
from rbln_supervisor.ctl.command import Command, add_node_arguments
from rbln_supervisor.ctl.doctor import Overrides, gather_facts
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.ctl.output import write_json
from rbln_supervisor.ctl.rendering import print_page
from rbln_supervisor.ctl.text import plain

_STYLES: Final[dict[Severity, str]] = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def node_overrides(options: argparse.Namespace) -> Overrides:
    """Return the options of ``add_node_arguments``."""
    return Overrides(
        options.run_dir,
        options.config_file,
        options.kubelet_dir,
        options.device_plugins_dir,
        options.host_root,
    )


def _run_command(options: argparse.Namespace) -> Exit:
    facts = gather_facts(node_overrides(options))
    findings = diagnose(facts)
    if options.json:
        write_json(findings_json(facts))
    else:
        print_page(lambda _: doctor_page(findings, facts.unreachable))
    if facts.unreachable:
        return Exit.UNREACHABLE
    return Exit.REFUSED if is_wrong(findings) else Exit.DONE


def findings_json(facts: DoctorFacts) -> dict[str, object]:
    """Return the findings for JSON output and bundles."""
    findings = diagnose(facts)
    return {
        "ok": not is_wrong(findings),
        "version": facts.version,
        "unreachable": facts.unreachable or None,
        "findings": findings,
    }


def doctor_page(findings: Sequence[Finding], unreachable: str) -> RenderableType:
    """Return all findings, the most severe first, and a summary."""
    parts: list[RenderableType] = []
    for one in findings:
        parts += [*_finding_rows(one), Text()]
    parts.append(_summary_line(findings, unreachable))
    return Group(*parts)


def _finding_rows(one: Finding) -> Iterator[RenderableType]:
    yield Text.assemble(
        (f"{one.severity.upper():<7}  ", _STYLES[one.severity]),
        (one.code, "bold"),
        f"  {plain(one.subject)}" if one.subject else "",
    )
    yield Padding(Text(plain(one.cause)), (0, 0, 0, 9), expand=False)
    for line in one.evidence:
        if line:
            yield Padding(Text(f"· {plain(line)}", "dim"), (0, 0, 0, 9), expand=False)
    yield Padding(Text.assemble(("next: ", "bold"), plain(one.next)), (0, 0, 0, 9), expand=False)


def _summary_line(findings: Sequence[Finding], unreachable: str) -> Text:
    counts = Counter(one.severity for one in findings)
    present = [(severity, counts[severity]) for severity in SEVERITIES if counts[severity]]
    if not present:
        return Text("● no problem found", "green")
    parts = [f"{n} {severity}{'' if n == 1 else 's'}" for severity, n in present]
    ending = "; the supervisor does not reply" if unreachable else ""
    return Text(f"● {', '.join(parts)}{ending}", _STYLES[present[0][0]])


COMMAND: Final = Command(
    "find problems of this node; needs no supervisor",
    "  rbln-ctl doctor\n"
    "  rbln-ctl doctor --json | jq -r '.findings[] | select(.severity == \"error\") | .code'\n"
    "  rbln-ctl doctor --config-file /etc/pcidp/config.json   # if no supervisor ever ran",
    _run_command,
    add_node_arguments,
)
