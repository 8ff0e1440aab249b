"""``rbln-ctl status``: the supervisor, pools, devices and problems, once or with ``--watch``."""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
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
from rbln_supervisor.ctl.claims_table import claims_table
from rbln_supervisor.ctl.command import Command
from rbln_supervisor.ctl.exits import CommandError, Exit
from rbln_supervisor.ctl.output import write_json
from rbln_supervisor.ctl.rendering import print_page, table_for
from rbln_supervisor.ctl.text import duration_text, plain, time_ago
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
        pools = {
            name: msgspec.structs.replace(
                pool, devices={d: one for d, one in pool.devices.items() if not is_healthy(one)}
            )
            for name, pool in pools.items()
        }
        pools = {
            name: pool for name, pool in pools.items() if pool.devices or pool.state != "serving"
        }
    return msgspec.structs.replace(status, pools=pools)


def unknown_pool_error(status: NodeStatus, choice: StatusFilter) -> str:
    """Return an error if the selected pool does not exist; empty if it does."""
    if choice.pool is None or any(matches_name(name, choice.pool) for name in status.pools):
        return ""
    return f"no pool {choice.pool}: the pools are {', '.join(status.pools) or 'none'}"


def is_healthy(device: DeviceStatus) -> bool:
    """Return True if the device is healthy without any doubt."""
    return device.health == "Healthy" and device.phase is HealthPhase.HEALTHY


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
            parts += [Text(), claims_table(name, pool, columns, now)]
    parts += _problem_lines(status)
    return Group(*parts)


def _head_line(supervisor: SupervisorStatus) -> Text:
    ready = ("● ready", "green") if supervisor.ready else ("● not ready", "yellow")
    return Text("  ").join(
        [
            Text(f"rbln-supervisor {plain(supervisor.version)}", "bold"),
            Text(f"pid {supervisor.pid}"),
            Text(f"up {duration_text(supervisor.uptime_s)}"),
            Text(*ready),
        ]
    )


def _pool_table(status: NodeStatus, columns: int, full: NodeStatus) -> Table:
    narrow = columns < NARROW_COLUMNS
    table = table_for(columns)
    name_columns = min(columns // 2, max(map(len, status.pools)))
    table.add_column("RESOURCE", min_width=name_columns, overflow="fold")
    table.add_column("STATE", no_wrap=True)
    table.add_column("DEVICES", justify="right", no_wrap=True)
    if not narrow:
        table.add_column("VIA", no_wrap=True)
        table.add_column("WORKER", justify="right", no_wrap=True)
    table.add_column("RESTARTS", justify="right", no_wrap=True)
    table.add_column("NOTE", overflow="fold")
    for name, pool in status.pools.items():
        worker = pool.worker
        devices = full.pools[name].devices
        healthy = sum(device.health == "Healthy" for device in devices.values())
        all_healthy = healthy == len(devices)
        cells = [
            Text(plain(name), "bold"),
            Text(pool.state, STATE_STYLES[pool.state]),
            Text(f"{healthy}/{len(devices)}", "" if all_healthy else "red"),
        ]
        if not narrow:
            cells += [
                Text(_export_text(pool), "" if pool.registered else "dim"),
                Text("-" if worker.pid is None else str(worker.pid)),
            ]
        cells += [
            Text(str(worker.restarts), "yellow" if worker.restarts else ""),
            Text("; ".join(pool_notes(pool))),
        ]
        table.add_row(*cells)
    return table


def _export_text(pool: PoolStatus) -> str:
    return "dra" if pool.driver else pool.registration or "-"


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
    table = table_for(columns)
    table.add_column("DEVICE", min_width=id_columns, overflow="fold")
    table.add_column("HEALTH", min_width=len("Unhealthy"), no_wrap=True)
    table.add_column("NUMA", justify="right", no_wrap=True)
    if not all_healthy:
        table.add_column("SINCE", no_wrap=True)
    any_pods = any(is_.pods for is_ in pool.devices.values())
    if any_pods:
        table.add_column("POD", overflow="fold")
    table.add_column("REASON", overflow="fold")
    for device, is_ in pool.devices.items():
        numa = "-" if is_.numa is None else str(is_.numa)
        cells = [Text(plain(device)), health_text(is_), Text(numa)]
        if not all_healthy:
            cells.append(Text("" if is_.phase is HealthPhase.HEALTHY else time_ago(is_.since, now)))
        if any_pods:
            cells.append(Text(", ".join(map(pod_name, is_.pods))))
        table.add_row(*cells, Text(evidence_text(is_)))
        for warning in is_.warnings:
            table.add_row(*[Text()] * len(cells), Text(f"warning: {plain(warning)}", "yellow"))
    head = Text.assemble((plain(name), "bold"), f"  {count_text(len(pool.devices), 'device')}")
    return Group(head, Padding(table, (0, 0, 0, 2), expand=False))


def health_text(device: DeviceStatus) -> Text:
    """Return the health that the kubelet gets, and the detailed phase if it differs."""
    style = "green" if device.health == "Healthy" else "red"
    if device.phase in {HealthPhase.HEALTHY, HealthPhase.UNHEALTHY}:
        return Text(device.health, style)
    return Text.assemble((device.health, style), (f" ({device.phase})", "yellow"))


def pod_name(one: PodUse) -> str:
    """Return the name of a pod that holds a device; its UID if the name is not known."""
    name = f"{plain(one.namespace)}/{plain(one.pod)}" if one.pod else plain(one.uid)
    return f"{name} (claim {plain(one.claim)})" if one.claim else name


def evidence_text(device: DeviceStatus) -> str:
    """Return the evidence against a healthy state, with its source."""
    source = f"{plain(device.source)}: " if device.source and device.reason else ""
    return f"{source}{plain(device.reason)}"


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
    parser.add_argument("--watch", action="store_true", help="refresh until Ctrl-C")
    parser.add_argument(
        "--interval",
        type=_parse_seconds,
        default=1.0,
        metavar="SECONDS",
        help="time between two refreshes of --watch (default: 1)",
    )


def _parse_seconds(text: str) -> float:
    number = float(text)
    if not 0.1 <= number <= 3600:
        raise argparse.ArgumentTypeError(f"expected 0.1 to 3600 seconds, got {text}")
    return number


def _run_command(options: argparse.Namespace) -> Exit:
    run_dir: Path = options.run_dir
    choice = StatusFilter(options.pool, options.unhealthy)
    if options.watch:
        from rbln_supervisor.ctl import status_watch  # noqa: PLC0415 - rich.live, for a terminal only

        return status_watch.watch_status(
            run_dir, choice, as_json=options.json, interval_s=options.interval
        )
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
