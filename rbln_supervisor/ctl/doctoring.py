"""``rbln-ctl doctor``: prints the findings of all checks."""

import sys

from rbln_supervisor.core.diagnosis.diagnose import diagnose, is_wrong
from rbln_supervisor.core.diagnosis.facts import Facts
from rbln_supervisor.ctl import findings, output, paper
from rbln_supervisor.ctl.examination import Where, facts
from rbln_supervisor.ctl.exits import Exit


def doctor(where: Where, *, as_json: bool) -> Exit:
    """Examine this node, and print the findings."""
    seen = facts(where)
    found = diagnose(seen)
    if as_json:
        output.write_json(told(seen))
    else:
        output.write(paper.text(lambda _: findings.page(found, seen.unreachable), sys.stdout))
    if seen.unreachable:
        return Exit.UNREACHABLE
    return Exit.REFUSED if is_wrong(found) else Exit.DONE


def told(seen: Facts) -> dict[str, object]:
    """Return the findings for JSON output and bundles."""
    found = diagnose(seen)
    return {
        "ok": not is_wrong(found),
        "version": seen.version,
        "unreachable": seen.unreachable or None,
        "findings": found,
    }
