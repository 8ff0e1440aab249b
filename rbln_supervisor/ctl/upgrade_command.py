"""``rbln-ctl upgrade``: replaces the running version by the installed one; waits for it."""

import argparse
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import msgspec

from rbln_supervisor.core.control.protocol import Status, StatusReply, Upgrade, UpgradeReply
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl import client
from rbln_supervisor.ctl.command import Command, CommandError, Exit
from rbln_supervisor.ctl.output import write_json, write_text
from rbln_supervisor.ctl.text import plain
from rbln_worker.contract.problem import count_text

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


def _run_command(options: argparse.Namespace) -> Exit:
    """Upgrade, and wait until every pool that served before serves again."""
    run_dir: Path = options.run_dir
    before = client.request_reply(run_dir, Status(), StatusReply).status
    started = monotonic() - before.supervisor.uptime_s
    client.request_reply(run_dir, Upgrade(), UpgradeReply)
    after = None
    missing: tuple[str, ...] = ("the supervisor does not reply yet",)
    end = monotonic() + READY_TIMEOUT_S
    while missing and monotonic() < end:
        sleep(_POLL_INTERVAL_S)  # a future supervisor has no descriptor to wait for
        after = _next_status(run_dir, started)
        if after is not None:
            missing = _missing_pools(before, after)
    if after is None or missing:
        problem = f"the installed version does not serve all pools after {READY_TIMEOUT_S:g} s:"
        raise CommandError(problem, *missing)
    result = _compare_pools(before, after)
    if options.json:
        write_json(result)
    else:
        write_text(f"{_result_sentence(result)}\n")
    return Exit.DONE


def _next_status(run_dir: Path, started: float) -> NodeStatus | None:
    """Return the status of the next supervisor; None if there is none yet."""
    try:
        status = client.request_reply(run_dir, Status(), StatusReply).status
    except CommandError:
        return None
    return status if monotonic() - status.supervisor.uptime_s >= started + _LATER_S else None


def _missing_pools(before: NodeStatus, after: NodeStatus) -> tuple[str, ...]:
    """Return pools that served before and do not yet, or that have a worker of another version."""
    version = after.supervisor.version
    served = {name for name, pool in before.pools.items() if pool.state == "serving"}
    return tuple(
        f"{plain(name)}: {pool.state}: {pool.reason or 'its worker still has the previous version'}"
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
        f"{count_text(len(done.kept), 'worker')} kept, {len(done.replaced)} replaced"
    )


COMMAND: Final = Command(
    "replace the running processes by the installed version, without a gap",
    "  /opt/rbln/bin/pip install --upgrade rbln-device-plugin && rbln-ctl upgrade",
    _run_command,
)
