"""The status of a node for people: supervisor, pools, devices, problems."""

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rbln_supervisor.core.status import (
    DeviceStatus,
    NodeStatus,
    PodUse,
    PoolState,
    PoolStatus,
    SupervisorStatus,
)
from rbln_supervisor.ctl.rendering import table_for
from rbln_supervisor.ctl.wording import count, duration_text, plain, time_ago
from rbln_worker.contract.health import HealthPhase

NARROW_COLUMNS: Final = 90
"""Width below which a table of pools leaves out columns that --json has (columns)."""

_STATE_STYLES: Final[dict[PoolState, str]] = {
    "serving": "green",
    "starting": "cyan",
    "waiting": "yellow",
    "backoff": "red",
    "invalid": "bold red",
}


def status_page(
    status: NodeStatus, columns: int, now: float, whole: NodeStatus | None = None
) -> RenderableType:
    """Return a status for a page of this width.

    Args:
        status: the part to show.
        columns: width of the page.
        now: seconds since the epoch.
        whole: the full status; devices are counted there.
    """
    parts: list[RenderableType] = [_head_line(status.supervisor)]
    if status.pools:
        parts += [Text(), _pool_table(status, columns, whole or status)]
    ids = [len(device) for pool in status.pools.values() for device in pool.devices]
    for name, pool in status.pools.items():
        if pool.devices:
            parts += [Text(), _device_table(name, pool, columns, now, id_columns=max(ids))]
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


def _pool_table(status: NodeStatus, columns: int, whole: NodeStatus) -> Table:
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
        devices = whole.pools[name].devices
        healthy = sum(device.health == "Healthy" for device in devices.values())
        all_well = healthy == len(devices)
        ours = [
            Text(plain(name), "bold"),
            Text(pool.state, _STATE_STYLES[pool.state]),
            Text(f"{healthy}/{len(devices)}", "" if all_well else "red"),
        ]
        if not narrow:
            ours += [
                Text(pool.registration or "-", "" if pool.registered else "dim"),
                Text("-" if worker.pid is None else str(worker.pid)),
            ]
        ours += [
            Text(str(worker.restarts), "yellow" if worker.restarts else ""),
            Text("; ".join(_pool_notes(pool))),
        ]
        table.add_row(*ours)
    return table


def _pool_notes(pool: PoolStatus) -> Iterator[str]:
    """Yield the reasons for a pool's state, the newest first."""
    if pool.reason:
        yield plain(pool.reason)
    yield from map(plain, pool.problems)
    if pool.worker.backoff_s is not None:
        yield f"starts again in {pool.worker.backoff_s:.1f} s"
    if pool.worker.last_exit:
        yield f"last exit: {plain(pool.worker.last_exit)}"


def _device_table(
    name: str, pool: PoolStatus, columns: int, now: float, *, id_columns: int
) -> Group:
    all_well = all(is_.phase is HealthPhase.HEALTHY for is_ in pool.devices.values())
    table = table_for(columns)
    table.add_column("DEVICE", min_width=id_columns, overflow="fold")
    table.add_column("HEALTH", min_width=len("Unhealthy"), no_wrap=True)
    table.add_column("NUMA", justify="right", no_wrap=True)
    if not all_well:
        table.add_column("SINCE", no_wrap=True)
    held = any(is_.pods for is_ in pool.devices.values())
    if held:
        table.add_column("POD", overflow="fold")
    table.add_column("REASON", overflow="fold")
    for device, is_ in pool.devices.items():
        numa = "-" if is_.numa is None else str(is_.numa)
        cells = [Text(plain(device)), health_text(is_), Text(numa)]
        if not all_well:
            cells.append(Text("" if is_.phase is HealthPhase.HEALTHY else time_ago(is_.since, now)))
        if held:
            cells.append(Text(", ".join(map(pod_name, is_.pods))))
        table.add_row(*cells, Text(evidence_text(is_)))
        for warning in is_.warnings:
            table.add_row(*[Text()] * len(cells), Text(f"warning: {plain(warning)}", "yellow"))
    head = Text.assemble((plain(name), "bold"), f"  {count(list(pool.devices), 'device')}")
    return Group(head, Padding(table, (0, 0, 0, 2), expand=False))


def health_text(device: DeviceStatus) -> Text:
    """Return the health that the kubelet gets, and the detailed phase if it differs."""
    style = "green" if device.health == "Healthy" else "red"
    if device.phase in {HealthPhase.HEALTHY, HealthPhase.UNHEALTHY}:
        return Text(device.health, style)
    return Text.assemble((device.health, style), (f" ({device.phase})", "yellow"))


def pod_name(one: PodUse) -> str:
    """Return the name of a pod that holds a device; its UID if the name is not known."""
    return f"{plain(one.namespace)}/{plain(one.pod)}" if one.pod else plain(one.uid)


def evidence_text(device: DeviceStatus) -> str:
    """Return the evidence against a healthy state, with its source."""
    source = f"{plain(device.source)}: " if device.source and device.reason else ""
    return f"{source}{plain(device.reason)}"


def _problem_lines(status: NodeStatus) -> Iterator[RenderableType]:
    """Yield the problems, the last log lines of workers, and the counters."""
    if problems := status.supervisor.problems:
        yield Text()
        yield Text("Problems", "bold red")
        yield from (Text(f"  {plain(problem)}") for problem in problems)
    for name, pool in status.pools.items():
        if pool.worker.last_log and pool.state != "serving":
            yield Text()
            yield Text.assemble("Last log lines of ", (plain(name), "bold"))
            yield from (Text(f"  {plain(line)}", "dim") for line in pool.worker.last_log)
    if counted := {name: n for name, n in status.supervisor.counters.items() if n}:
        yield Text()
        yield Text("Counters", "bold")
        yield from (Text(f"  {plain(name)}  {n}") for name, n in sorted(counted.items()))
