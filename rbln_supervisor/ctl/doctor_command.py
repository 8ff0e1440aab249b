"""``rbln-ctl doctor``: problems of this node, with evidence and a remedy each."""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from rbln_supervisor.core.doctor.status_checks import has_errors
from rbln_supervisor.ctl.command import Command, Exit
from rbln_supervisor.ctl.doctor import Diagnosis, diagnose_node
from rbln_supervisor.ctl.output import write_json
from rbln_supervisor.ctl.rendering import indent_page, print_page
from rbln_supervisor.ctl.text import plain
from rbln_supervisor.options import Options, last_options
from rbln_worker.contract.problem import Problem, Severity, count_text
from rbln_worker.contract.version import VERSION

SEVERITY_STYLES: Final = {
    Severity.ERROR: "bold red",
    Severity.WARNING: "yellow",
    Severity.NOTE: "cyan",
}


def add_node_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that read the node without the supervisor."""
    for flag, value, text in (
        ("--config-file", "FILE", "the configuration file"),
        ("--host-root", "DIR", "the directory where the host's root is mounted"),
    ):
        help_text = f"{text} (default: as the supervisor has it, or had it last)"
        parser.add_argument(flag, type=Path, metavar=value, help=help_text)


def node_options(arguments: argparse.Namespace) -> Options:
    """Return the last supervisor's options, changed by those of ``add_node_arguments``."""
    options = last_options(arguments.run_dir)
    return msgspec.structs.replace(
        options,
        config_file=arguments.config_file or options.config_file,
        host_root=arguments.host_root or options.host_root,
    )


def _run_command(options: argparse.Namespace) -> Exit:
    found = diagnose_node(node_options(options))
    if options.json:
        write_json(doctor_report(found))
    else:
        print_page(lambda _: doctor_page(found.problems, found.unreachable))
    if found.unreachable is not None:
        return Exit.UNREACHABLE
    return Exit.REFUSED if has_errors(found.problems) else Exit.DONE


class DoctorReport(msgspec.Struct, frozen=True):
    """The JSON of ``rbln-ctl doctor``."""

    ok: bool
    """True if no problem is an error."""
    version: str
    unreachable: str | None
    """Reason why the supervisor did not answer."""
    problems: tuple[Problem, ...]


def doctor_report(found: Diagnosis) -> DoctorReport:
    """Return the problems for JSON output and bundles."""
    is_ok = not has_errors(found.problems)
    return DoctorReport(is_ok, VERSION, found.unreachable, found.problems)


def doctor_page(problems: Sequence[Problem], unreachable: str | None) -> RenderableType:
    """Return all problems, and a summary."""
    parts: list[RenderableType] = []
    for one in problems:
        parts += [*_problem_rows(one), Text()]
    parts.append(_summary_line(problems, unreachable))
    return Group(*parts)


def _problem_rows(one: Problem) -> Iterator[RenderableType]:
    yield Text.assemble(
        (f"{one.severity.upper():<7}  ", SEVERITY_STYLES[one.severity]),
        (one.code, "bold"),
        f"  {plain(one.subject)}" if one.subject else "",
    )
    yield indent_page(Text(plain(one.text)), 9)
    for line in filter(None, one.evidence):
        yield indent_page(Text(f"· {plain(line)}", "dim"), 9)
    yield indent_page(Text.assemble(("next: ", "bold"), plain(one.hint)), 9)


def _summary_line(problems: Sequence[Problem], unreachable: str | None) -> Text:
    counts = Counter(one.severity for one in problems)
    present = [severity for severity in Severity if counts[severity]]
    if not present:
        return Text("● no problem found", "green")
    text = ", ".join(count_text(counts[severity], severity) for severity in present)
    ending = "" if unreachable is None else "; the supervisor does not reply"
    return Text(f"● {text}{ending}", SEVERITY_STYLES[present[0]])


COMMAND: Final = Command(
    "find problems of this node; needs no supervisor",
    "  rbln-ctl doctor\n"
    "  rbln-ctl doctor --json | jq -r '.problems[] | select(.severity == \"error\") | .code'\n"
    "  rbln-ctl doctor --config-file /etc/pcidp/config.json   # if no supervisor ever ran",
    _run_command,
    add_node_arguments,
)
