"""Device names that no supervisor knows: nodes below /dev, IOMMU groups, names of the driver."""

from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor.core.control.protocol import ErrorReply, Explain, ExplainReply, Reply
from rbln_supervisor.ctl.doctor import Overrides, find_owners
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.ctl.request import request_reply

_MAX_NAMED: Final = 8


def explain_owner(run_dir: Path, name: str, refused: ErrorReply) -> Reply | Exit:
    """Return the explanation of the first device with a name, or the refusal if there is none."""
    found = find_owners(Overrides(run_dir), name)
    if not found.what:
        return refused
    more = len(found.devices) - _MAX_NAMED
    devices = ", ".join((*found.devices[:_MAX_NAMED], *((f"{more} more",) if more > 0 else ())))
    note = f"{name} is {found.what}" + (f": {devices}" if devices else "")
    if not found.devices:
        return ErrorReply((f"{note}; no device is its",))
    reply: Reply | Exit = refused
    for device in found.devices[:_MAX_NAMED]:
        reply = request_reply(run_dir, Explain(device))
        match reply:
            case ExplainReply(explanation=one):
                noted = msgspec.structs.replace(one, notes=(note, *one.notes))
                return ExplainReply(noted)
            case ErrorReply(errors=errors):
                reply = ErrorReply((f"{note}; {'; '.join(errors)}",))
            case _:
                return reply
    return reply
