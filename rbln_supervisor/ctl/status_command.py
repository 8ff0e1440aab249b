"""``rbln-ctl status``: the supervisor, pools, devices and problems, once or with ``--watch``."""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.core.events.query import matches_name
from rbln_supervisor.core.status import (
    DeviceStatus,
    NodeStatus,
    PodUse,
    PoolState,
    PoolStatus,
    SupervisorStatus,
)
from rbln_supervisor.ctl import client, completers
from rbln_supervisor.ctl.command import Command, CommandError, Exit
from rbln_supervisor.ctl.output import write_json
from rbln_supervisor.ctl.rendering import (
    build_table,
    fixed_column,
    indent_page,
    number_column,
    print_page,
)
from rbln_supervisor.ctl.text import duration_text, plain, reason_text, time_ago
from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.problem import count_text

NARROW_COLUMNS: Final = 90
"""Width below which a table of pools leaves out columns that --json has (columns)."""

STATE_STYLES: Final[dict[PoolState, str]] = {
    "serving": "green",
    "starting": "cyan",
    "waiting": "yellow",
    "backoff": "red",
    "invalid": "bold red",
}


class StatusFilter(NamedTuple):
    """The filter of ``rbln-ctl status``."""

    pool: str | None = None
    """With or without its prefix; None: all."""
    unhealthy: bool = False
    """True: only devices that are not healthy, and pools that have such or that do not serve."""


def filter_status(status: NodeStatus, choice: StatusFilter) -> NodeStatus:
    """Return the status reduced to the selected pools and devices, in the same structure."""
    pools = {
        name: pool
        for name, pool in status.pools.items()
        if choice.pool is None or matches_name(name, choice.pool)
    }
    if choice.unhealthy:
        pools = {name: _unhealthy_part(pool) for name, pool in pools.items()}
        pools = {
            name: pool for name, pool in pools.items() if pool.devices or pool.state != "serving"
        }
    return msgspec.structs.replace(status, pools=pools)


def unknown_pool_error(status: NodeStatus, choice: StatusFilter) -> str:
    """Return an error if the selected pool does not exist; empty if it does."""
    if choice.pool is None or any(matches_name(name, choice.pool) for name in status.pools):
        return ""
    return f"no pool {choice.pool}: the pools are {', '.join(status.pools) or 'none'}"


def _unhealthy_part(pool: PoolStatus) -> PoolStatus:
    """Return the pool with the devices that are not healthy without any doubt."""
    devices = {name: d for name, d in pool.devices.items() if d.phase is not HealthPhase.HEALTHY}
    return msgspec.structs.replace(pool, devices=devices)


def status_page(
    status: NodeStatus, columns: int, now: float, full: NodeStatus | None = None
) -> RenderableType:
    """Return a status for a page of this width.

    Args:
        status: the part to show.
        columns: width of the page.
        now: seconds since the epoch.
        full: the full status; devices are counted there.
    """
    parts: list[RenderableType] = [_head_line(status.supervisor)]
    if status.pools:
        parts += [Text(), _pool_table(status, columns, full or status)]
    ids = [len(device) for pool in status.pools.values() for device in pool.devices]
    for name, pool in status.pools.items():
        if pool.devices:
            parts += [Text(), _device_table(name, pool, columns, now, id_columns=max(ids))]
        if pool.claims:
            parts += [Text(), _claim_table(name, pool, columns, now)]
    parts += _problem_lines(status)
    return Group(*parts)


def _head_line(supervisor: SupervisorStatus) -> Text:
    ready = ("● ready", "green") if supervisor.ready else ("● not ready", "yellow")
    version = f"rbln-supervisor {plain(supervisor.version)}"
    process = f"  pid {supervisor.pid}  up {duration_text(supervisor.uptime_s)}  "
    return Text.assemble((version, "bold"), process, ready)


def _pool_table(status: NodeStatus, columns: int, full: NodeStatus) -> Table:
    narrow = columns < NARROW_COLUMNS
    name_columns = min(columns // 2, max(map(len, status.pools)))
    heads = (
        Column("RESOURCE", min_width=name_columns, overflow="fold"),
        fixed_column("STATE"),
        number_column("DEVICES"),
        *(() if narrow else (fixed_column("VIA"), number_column("WORKER"))),
        number_column("RESTARTS"),
        "NOTE",
    )
    rows = []
    for name, pool in status.pools.items():
        worker = pool.worker
        export = "dra" if pool.driver else pool.registration or "-"
        process = "-" if worker.pid is None else str(worker.pid)
        rows.append(
            (
                Text(plain(name), "bold"),
                Text(pool.state, STATE_STYLES[pool.state]),
                healthy_share(full.pools[name]),
                *(() if narrow else (Text(export, "" if pool.registered else "dim"), process)),
                Text(str(worker.restarts), "yellow" if worker.restarts else ""),
                "; ".join(pool_notes(pool)),
            )
        )
    return build_table(columns, heads, rows)


def healthy_share(pool: PoolStatus) -> Text:
    """Return the number of Healthy devices, and of all."""
    healthy = sum(device.health == "Healthy" for device in pool.devices.values())
    return Text(f"{healthy}/{len(pool.devices)}", "" if healthy == len(pool.devices) else "red")


def pool_notes(pool: PoolStatus) -> Iterator[str]:
    """Yield the reasons for a pool's state, the newest first."""
    if pool.reason:
        yield plain(pool.reason)
    yield from (plain(problem.text) for problem in pool.problems)
    if pool.worker.backoff_s is not None:
        yield f"starts again in {pool.worker.backoff_s:.1f} s"
    if pool.worker.last_exit:
        yield f"last exit: {plain(pool.worker.last_exit)}"


def _device_table(
    name: str, pool: PoolStatus, columns: int, now: float, *, id_columns: int
) -> Group:
    all_healthy = all(is_.phase is HealthPhase.HEALTHY for is_ in pool.devices.values())
    any_pods = any(is_.pods for is_ in pool.devices.values())
    heads = (
        Column("DEVICE", min_width=id_columns, overflow="fold"),
        fixed_column("HEALTH", min_width=len("Unhealthy")),
        number_column("NUMA"),
        *(() if all_healthy else (fixed_column("SINCE"),)),
        *(("POD",) if any_pods else ()),
        "REASON",
    )
    rows: list[tuple[str | Text, ...]] = []
    for device, is_ in pool.devices.items():
        since = "" if is_.phase is HealthPhase.HEALTHY else time_ago(is_.since, now)
        rows.append(
            (
                device,
                health_text(is_),
                "-" if is_.numa is None else str(is_.numa),
                *(() if all_healthy else (since,)),
                *((pod_names(is_),) if any_pods else ()),
                evidence_text(is_),
            )
        )
        empty = ("",) * (len(heads) - 1)
        rows += [(*empty, Text(f"warning: {plain(warning)}", "yellow")) for warning in is_.warnings]
    return _titled_table(
        name, count_text(len(pool.devices), "device"), build_table(columns, heads, rows)
    )


def _claim_table(name: str, pool: PoolStatus, columns: int, now: float) -> Group:
    rows = (
        (
            f"{claim.namespace}/{claim.name}",
            time_ago(claim.since or None, now),
            ", ".join(claim.pods),
            ", ".join(claim.devices) + (" (adminAccess)" if claim.admin else ""),
        )
        for claim in pool.claims
    )
    table = build_table(columns, ("CLAIM", fixed_column("SINCE"), "POD", "DEVICES"), rows)
    title = f"{count_text(len(pool.claims), 'prepared claim')} of {plain(pool.driver)}"
    return _titled_table(name, title, table)


def _titled_table(name: str, title: str, table: Table) -> Group:
    return Group(Text.assemble((plain(name), "bold"), f"  {title}"), indent_page(table))


def health_text(device: DeviceStatus) -> Text:
    """Return the health that the kubelet gets, and the detailed phase if it differs."""
    style = "green" if device.health == "Healthy" else "red"
    if device.phase in {HealthPhase.HEALTHY, HealthPhase.UNHEALTHY}:
        return Text(device.health, style)
    return Text.assemble((device.health, style), (f" ({device.phase})", "yellow"))


def pod_names(device: DeviceStatus) -> str:
    """Return the names of the pods that hold a device."""
    return ", ".join(map(pod_name, device.pods))


def pod_name(one: PodUse) -> str:
    """Return the name of a pod that holds a device; its UID if the name is not known."""
    name = f"{plain(one.namespace)}/{plain(one.pod)}" if one.pod else plain(one.uid)
    return f"{name} (claim {plain(one.claim)})" if one.claim else name


def evidence_text(device: DeviceStatus) -> str:
    """Return the evidence against a healthy state, with its source."""
    return reason_text(device.source, device.reason)


def _problem_lines(status: NodeStatus) -> Iterator[RenderableType]:
    """Yield the problems, the last log lines of workers, and the counters."""
    if problems := status.supervisor.problems:
        yield Text()
        yield Text("Problems", "bold red")
        yield from (Text(f"  {plain(problem.text)}") for problem in problems)
    for name, pool in status.pools.items():
        if pool.worker.last_log and pool.state != "serving":
            yield Text()
            yield Text.assemble("Last log lines of ", (plain(name), "bold"))
            yield from (Text(f"  {plain(line)}", "dim") for line in pool.worker.last_log)
    if counters := status.supervisor.counters:
        yield Text()
        yield Text("Counters", "bold")
        yield from (Text(f"  {name}  {n}") for name, n in sorted(counters.items()))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    pool = parser.add_argument(
        "--pool", metavar="POOL", help="only this pool, with or without its prefix"
    )
    completers.complete_with(pool, completers.pool_names)
    parser.add_argument(
        "--unhealthy",
        action="store_true",
        help="only devices that are not healthy, and pools that do not serve",
    )
    parser.add_argument("--watch", action="store_true", help="refresh every second until Ctrl-C")


def _run_command(options: argparse.Namespace) -> Exit:
    run_dir: Path = options.run_dir
    choice = StatusFilter(options.pool, options.unhealthy)
    if options.watch and options.json:
        raise CommandError("--watch shows a screen: use status --json, or events --follow --json")
    if options.watch:
        from rbln_supervisor.ctl import status_watch  # noqa: PLC0415 - rich.live, for a terminal only

        return status_watch.watch_status(run_dir, choice)
    status = client.request_reply(run_dir, Status(), StatusReply).status
    if error := unknown_pool_error(status, choice):
        raise CommandError(error)
    part = filter_status(status, choice)
    if options.json:
        write_json(part)
    else:
        now = datetime.now(UTC).timestamp()
        print_page(lambda columns: status_page(part, columns, now, status))
    return Exit.DONE


COMMAND: Final = Command(
    "show pools, workers and devices",
    "  rbln-ctl status --watch --unhealthy\n"
    "  rbln-ctl status --pool ATOM --json | jq '.pools[].devices'",
    _run_command,
    _add_arguments,
)
