"""Tables of ``kubectl rbln``: rows of all nodes together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from rich.console import RenderableType
from rich.text import Text

from rbln_supervisor.core.matching.explain import Explanation
from rbln_supervisor.core.status import DeviceStatus, NodeStatus
from rbln_supervisor.ctl import events_command, status_command
from rbln_supervisor.ctl.doctor_command import SEVERITY_STYLES, DoctorReport
from rbln_supervisor.ctl.rendering import build_table
from rbln_supervisor.ctl.text import plain, time_ago, time_stamp
from rbln_worker.contract.problem import Problem, Severity

_SEVERITIES: Final = tuple(Severity)
MAX_NAMES: Final = 3
"""Nodes that are named for one problem; then "and N more"."""

Row = Sequence[str | Text]


def status_table(results: Mapping[str, NodeStatus], columns: int) -> RenderableType:
    """Return a row for each pool of each node, and for each problem of the node itself."""
    rows: list[Row] = []
    for node, status in results.items():
        rows += [
            (
                node,
                name,
                Text(pool.state, status_command.STATE_STYLES[pool.state]),
                status_command.healthy_share(pool),
                str(sum(bool(one.pods) for one in pool.devices.values())),
                "; ".join(status_command.pool_notes(pool)),
            )
            for name, pool in status.pools.items()
        ] or [(node, "-", "-", "-", "-", "it has no resource pool")]
        rows += [(node, "-", "-", "-", "-", one.text) for one in status.supervisor.problems]
    return build_table(columns, ("NODE", "RESOURCE", "STATE", "HEALTHY", "IN PODS", "NOTE"), rows)


def device_table(
    results: Mapping[str, NodeStatus], columns: int, now: float, *, unhealthy: bool
) -> RenderableType:
    """Return a row for each device, with the pods that hold it; or for each Unhealthy one."""
    rows: list[Row] = [
        (
            node,
            resource,
            device,
            status_command.health_text(one),
            time_ago(one.since, now),
            status_command.pod_names(one) or "-",
            status_command.evidence_text(one),
        )
        for node, status in results.items()
        for resource, pool in status.pools.items()
        for device, one in pool.devices.items()
        if not (unhealthy and _is_healthy(one))
    ]
    heads = ("NODE", "RESOURCE", "DEVICE", "HEALTH", "SINCE", "POD", "REASON")
    return build_table(columns, heads, rows)


def top_table(results: Mapping[str, NodeStatus], columns: int) -> RenderableType:
    """Return devices, healthy, held and free ones of each resource and node; the fullest first."""
    counts = []
    total: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for node, status in results.items():
        for resource, pool in status.pools.items():
            devices = pool.devices.values()
            row = [
                len(devices),
                sum(_is_healthy(one) for one in devices),
                sum(bool(one.pods) for one in devices),
                sum(_is_healthy(one) and not one.pods for one in devices),
                sum(bool(one.pods) and not _is_healthy(one) for one in devices),
            ]
            counts.append((node, resource, row))
            total[resource] = [a + b for a, b in zip(total[resource], row, strict=True)]
    counts.sort(key=lambda one: (one[1], -one[2][2] / max(one[2][0], 1), one[0]))
    if len(results) > 1:
        counts += [("all nodes", resource, row) for resource, row in total.items()]
    rows: list[Row] = [
        (
            node,
            resource,
            *map(str, row[:4]),
            Text(str(row[4]), "red" if row[4] else "dim"),
        )
        for node, resource, row in counts
    ]
    heads = ("NODE", "RESOURCE", "DEVICES", "HEALTHY", "IN PODS", "FREE", "UNHEALTHY IN PODS")
    return build_table(columns, heads, rows)


def problem_table(results: Mapping[str, DoctorReport], columns: int) -> RenderableType:
    """Return each problem once, with its nodes; the most severe first."""
    nodes: dict[Problem, list[str]] = defaultdict(list)
    for node, result in results.items():
        for one in result.problems:
            nodes[msgspec.structs.replace(one, evidence=())].append(node)
    rows: list[Row] = [
        (
            _list_names(nodes[one]),
            Text(one.severity, SEVERITY_STYLES[one.severity]),
            one.code,
            one.subject or "-",
            Text.assemble(plain(one.text), ("\nnext: ", "bold"), plain(one.hint)),
        )
        for one in sorted(nodes, key=lambda one: (_SEVERITIES.index(one.severity), one.code))
    ]
    return build_table(columns, ("NODE", "SEVERITY", "CODE", "SUBJECT", "PROBLEM"), rows)


def event_table(results: Mapping[str, events_command.EventsReport], columns: int) -> RenderableType:
    """Return the events of all nodes by time, the newest last."""
    merged = sorted(
        ((one.at, node, one) for node, result in results.items() for one in result.events),
        key=lambda row: row[:2],
    )
    rows: list[Row] = [
        (
            time_stamp(at),
            node,
            one.pool or "-",
            one.device or "-",
            events_command.state_text(one),
            events_command.evidence_text(one),
        )
        for at, node, one in merged
    ]
    return build_table(columns, ("TIME (UTC)", "NODE", "POOL", "DEVICE", "WHAT", "WHY"), rows)


def explanation_table(results: Mapping[str, Explanation], columns: int) -> RenderableType:
    """Return a row for each node that knows the device."""
    rows: list[Row] = []
    for node, one in results.items():
        evidence = status_command.evidence_text(one.health) if one.health else ""
        why = "; ".join(filter(None, (evidence, one.detail, *one.notes)))
        health = status_command.health_text(one.health) if one.health else "-"
        rows.append((node, one.device, one.pool or "-", health, why))
    return build_table(columns, ("NODE", "DEVICE", "POOL", "HEALTH", "WHY"), rows)


def _is_healthy(device: DeviceStatus) -> bool:
    return device.health == "Healthy"


def _list_names(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
