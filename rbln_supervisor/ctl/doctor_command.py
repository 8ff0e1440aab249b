"""``rbln-ctl doctor``: prints the findings of all checks."""

import sys

from rbln_supervisor.core.doctor.diagnose import diagnose, is_wrong
from rbln_supervisor.core.doctor.facts import DoctorFacts
from rbln_supervisor.ctl import doctor_table, output, rendering
from rbln_supervisor.ctl.doctor import Overrides, gather_facts
from rbln_supervisor.ctl.exits import Exit


def run_doctor(where: Overrides, *, as_json: bool) -> Exit:
    """Examine this node, and print the findings."""
    seen = gather_facts(where)
    found = diagnose(seen)
    if as_json:
        output.write_json(findings_json(seen))
    else:
        output.write_text(
            rendering.render_text(
                lambda _: doctor_table.doctor_page(found, seen.unreachable), sys.stdout
            )
        )
    if seen.unreachable:
        return Exit.UNREACHABLE
    return Exit.REFUSED if is_wrong(found) else Exit.DONE


def findings_json(seen: DoctorFacts) -> dict[str, object]:
    """Return the findings for JSON output and bundles."""
    found = diagnose(seen)
    return {
        "ok": not is_wrong(found),
        "version": seen.version,
        "unreachable": seen.unreachable or None,
        "findings": found,
    }
