"""Findings for people: the problem, its evidence, and a remedy."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from rbln_supervisor.core.doctor.finding import SEVERITIES, Finding, Severity
from rbln_supervisor.ctl.wording import plain

_STYLES: Final[dict[Severity, str]] = {"error": "bold red", "warning": "yellow", "note": "cyan"}


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
    counts = {word: sum(one.severity == word for one in findings) for word in SEVERITIES}
    told = [f"{n} {word}{'' if n == 1 else 's'}" for word, n in counts.items() if n]
    if not told:
        return Text("● nothing is wrong", "green")
    style = next(_STYLES[word] for word, n in counts.items() if n)
    ending = "; the supervisor was not there to be asked" if unreachable else ""
    return Text(f"● {', '.join(told)}{ending}", style)
