"""Sends requests of rbln-ctl to a supervisor, and formats replies for people."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rbln_supervisor.core.control import protocol
from rbln_supervisor.core.matching.explain import Explanation
from rbln_supervisor.core.matching.plan import Plan
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.ctl.output import print_errors, write_json

ANOTHER: Final = "an answer to another question: are rbln-ctl and the supervisor of one version?"


def request_reply(
    run_dir: Path, request: protocol.Request, *, timeout_s: float | None = None
) -> protocol.Reply | Exit:
    """Return the reply, or the exit code without one; ``timeout_s``: None for the request's own."""
    from rbln_supervisor.ctl import client  # noqa: PLC0415 - a validation needs no ZeroMQ

    try:
        return client.send_request(run_dir, request, timeout_s=timeout_s)
    except client.UnreachableError as error:
        print_errors(str(error))
        return Exit.UNREACHABLE
    except client.UnreadableAnswerError as error:
        print_errors(str(error))
        return Exit.REFUSED


def print_refusal(reply: protocol.ErrorReply, *, as_json: bool) -> Exit:
    """Print why the request was refused."""
    if as_json:
        write_json(reply)
    print_errors(*(reply.errors or ("refused without a reason, see the supervisor's log",)))
    return Exit.REFUSED


def reply_text(
    answer: NodeStatus | Explanation | Plan,
    *,
    done: bool = False,
    whole: NodeStatus | None = None,
) -> str:
    """Return a reply of several lines as text.

    Args:
        answer: of a supervisor.
        done: True if the plan has been carried out.
        whole: the full status, if ``answer`` is a part of it.
    """
    # rich is loaded for output to people only
    from rbln_supervisor.ctl import explain_table, plan_table, rendering, status_table  # noqa: PLC0415

    now = datetime.now(UTC).timestamp()
    match answer:
        case NodeStatus():
            return rendering.render_text(
                lambda columns: status_table.status_page(answer, columns, now, whole), sys.stdout
            )
        case Explanation():
            return rendering.render_text(
                lambda columns: explain_table.explain_page(answer, columns, now), sys.stdout
            )
        case Plan():
            return rendering.render_text(
                lambda columns: plan_table.plan_page(answer, columns, done=done), sys.stdout
            )
