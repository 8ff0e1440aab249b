"""rbln-ctl upgrade: replaces the running version by the installed one; waits until it serves."""

from pathlib import Path
from time import monotonic, sleep
from typing import Final

import msgspec

from rbln_supervisor.core.control import protocol
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl import client
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.ctl.output import print_errors, write_json, write_text
from rbln_supervisor.ctl.request import ANOTHER, print_refusal, request_reply
from rbln_supervisor.ctl.wording import count, plain

READY_TIMEOUT_S: Final = 60.0
"""A start takes a second, and a worker has 10 s to send its hello."""
_POLL_INTERVAL_S: Final = 0.1
_LATER_S: Final = 0.5
"""Minimum time between two supervisors' starts (seconds); both uptimes are rounded to 0.1 s."""


class Upgraded(msgspec.Struct, frozen=True):
    """The result of an upgrade."""

    before: str
    """Version of the supervisor."""
    after: str
    kept: tuple[str, ...]
    """Pools whose worker stayed alive."""
    replaced: tuple[str, ...]
    """Pools that have another worker."""


def run_upgrade(run_dir: Path, *, as_json: bool) -> Exit:
    """Upgrade; return the exit code. It is done when every pool that served before serves again."""
    before = _status_of(request_reply(run_dir, protocol.Status()))
    if isinstance(before, Exit):
        return before
    started = monotonic() - before.supervisor.uptime_s
    reply = request_reply(run_dir, protocol.Upgrade())
    match reply:
        case Exit():
            return reply
        case protocol.ErrorReply():
            return print_refusal(reply, as_json=as_json)
        case protocol.UpgradeReply():
            pass
        case _:
            print_errors(ANOTHER)
            return Exit.REFUSED
    after = None
    missing: tuple[str, ...] = ("it does not answer yet",)
    end = monotonic() + READY_TIMEOUT_S
    while missing and monotonic() < end:
        sleep(_POLL_INTERVAL_S)  # a future supervisor has no descriptor to wait for
        after = _next_status(run_dir, started)
        if after is not None:
            missing = _missing_pools(before, after)
    if after is None or missing:
        problem = f"the installed version does not serve all after {READY_TIMEOUT_S:g} s:"
        print_errors(problem, *missing)
        return Exit.REFUSED
    done = _compare_pools(before, after)
    if as_json:
        write_json(done)
    else:
        write_text(f"{_result_sentence(done)}\n")
    return Exit.DONE


def _next_status(run_dir: Path, started: float) -> NodeStatus | None:
    """Return the status of the next supervisor; None if there is none yet."""
    try:
        reply = client.send_request(run_dir, protocol.Status())
    except (client.UnreachableError, client.UnreadableAnswerError):
        return None
    status = _status_of(reply)
    if isinstance(status, Exit) or monotonic() - status.supervisor.uptime_s < started + _LATER_S:
        return None
    return status


def _status_of(reply: protocol.Reply | Exit) -> NodeStatus | Exit:
    match reply:
        case Exit():
            return reply
        case protocol.StatusReply(status=status):
            return status
        case _:
            print_errors(ANOTHER)
            return Exit.REFUSED


def _missing_pools(before: NodeStatus, after: NodeStatus) -> tuple[str, ...]:
    """Return pools that served before and do not yet, or that have a worker of another version."""
    version = after.supervisor.version
    served = {name for name, pool in before.pools.items() if pool.state == "serving"}
    return tuple(
        f"{plain(name)}: {pool.state}: {pool.reason or 'its worker is of the version before'}"
        for name, pool in after.pools.items()
        if pool.state == "starting"
        or (name in served and pool.state != "serving")
        or pool.worker.version not in {"", version}
    )


def _compare_pools(before: NodeStatus, after: NodeStatus) -> Upgraded:
    pids = {name: pool.worker.pid for name, pool in before.pools.items()}
    living = {name: pool.worker.pid for name, pool in after.pools.items() if pool.worker.pid}
    return Upgraded(
        before=before.supervisor.version,
        after=after.supervisor.version,
        kept=tuple(name for name, pid in living.items() if pids.get(name) == pid),
        replaced=tuple(name for name, pid in living.items() if pids.get(name) != pid),
    )


def _result_sentence(done: Upgraded) -> str:
    return (
        f"upgraded: {plain(done.before)} to {plain(done.after)}, "
        f"{count(done.kept, 'worker')} kept, {len(done.replaced)} replaced"
    )
