"""Builds the status, the metrics and the state for systemd from the supervisor's parts."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from rbln_supervisor.core.pod_devices import devices_under_other_names
from rbln_supervisor.core.reporting import pool_summary
from rbln_supervisor.core.reporting.metrics import SupervisorMetrics
from rbln_supervisor.core.reporting.systemd import (
    SETTLED,
    ServiceState,
    misses_devices,
    status_line,
)
from rbln_supervisor.core.status import (
    CounterName,
    NodeStatus,
    PoolStatus,
    SupervisorStatus,
)
from rbln_supervisor.discovery.kernel_events import KernelEventListener
from rbln_supervisor.discovery.scheduler import DiscoveryScheduler
from rbln_supervisor.events.agent_files import read_problem
from rbln_supervisor.events.log import EventLog
from rbln_supervisor.pod_devices.watch import PodWatch
from rbln_supervisor.reporting.kubelet_watch import KubeletSocketWatch
from rbln_supervisor.reporting.systemd import SystemdNotifier
from rbln_supervisor.workers.pools import Pools
from rbln_supervisor.workers.router import Router
from rbln_worker.contract.pod_devices import PodSource
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.contract.version import VERSION


class SupervisorParts(NamedTuple):
    """Parts of a supervisor."""

    pools: Pools
    scheduler: DiscoveryScheduler
    kernel: KernelEventListener
    kubelet: KubeletSocketWatch
    pod_watch: PodWatch
    hub: Router
    control: Router
    notifier: SystemdNotifier
    event_log: EventLog


class SupervisorState(NamedTuple):
    """State of the supervisor at one moment."""

    now: float
    """Monotonic seconds."""
    age_s: float
    leaving: bool
    hangups: int
    """Number of SIGHUPs (reloads) so far."""


def node_status(parts: SupervisorParts, standing: SupervisorState) -> NodeStatus:
    """Return the status of the node."""
    pools = pool_statuses(parts, standing.now)
    return NodeStatus(
        supervisor=SupervisorStatus(
            pid=os.getpid(),
            version=VERSION,
            uptime_s=round(standing.age_s, 1),
            ready=_is_settled(parts, standing)
            and not any(pool.prevents_readiness for pool in pools.values()),
            problems=tuple(_node_problems(parts)),
            pod_source=_pod_source(parts),
            counters=dict(sorted(_counters(parts).items())),
        ),
        pools=dict(sorted(pools.items())),
    )


def supervisor_metrics(parts: SupervisorParts, standing: SupervisorState) -> SupervisorMetrics:
    """Return the status with all counters."""
    return SupervisorMetrics(
        status=node_status(parts, standing),
        discoveries=parts.scheduler.measures,
        pools={
            name: worker.counters.metrics_until(standing.now)
            for name, worker in sorted(parts.pools.workers.items())
            if worker.pool.configured
        },
    )


def service_state(parts: SupervisorParts, standing: SupervisorState) -> ServiceState:
    """Return the state for systemd."""
    pools = pool_statuses(parts, standing.now)
    settled = _is_settled(parts, standing) and all(one.state in SETTLED for one in pools.values())
    return ServiceState(
        ready=settled and not misses_devices(pools, _pod_source(parts)),
        leaving=standing.leaving,
        reloading=parts.scheduler.is_reloading,
        hangups=standing.hangups,
        status=status_line(pools),
    )


def pool_statuses(parts: SupervisorParts, now: float) -> dict[str, PoolStatus]:
    """Return the status of each pool."""
    pools: dict[str, PoolStatus] = {
        name: pool_summary.pool_status(worker.take_snapshot(now), now)
        for name, worker in parts.pools.workers.items()
        if worker.pool.configured
    }
    return pools | {
        one.name: pool_summary.invalid_status(one) for one in parts.pools.config.invalid
    }


def _pod_source(parts: SupervisorParts) -> PodSource | None:
    return parts.pools.pod_devices.source if parts.pools.pod_devices else None


def _is_settled(parts: SupervisorParts, standing: SupervisorState) -> bool:
    adopting = any(worker.pool.is_adopting for worker in parts.pools.workers.values())
    pools = parts.pools
    listed = all(
        one.pool.desired is not None for one in pools.workers.values() if one.pool.configured
    )
    known = pools.facts.inventory is not None and (pools.pod_devices is not None or listed)
    return known and not adopting and not standing.leaving


def _node_problems(parts: SupervisorParts) -> Iterator[Problem]:
    yield from parts.scheduler.problems
    yield from parts.kernel.problems
    yield from parts.kubelet.problems
    yield from parts.pod_watch.problems
    known = parts.pools.pod_devices
    listed = {name: state.devices.keys() for name, state in parts.pools.desired_states.items()}
    for resource, devices in devices_under_other_names(
        known.devices if known else (), listed
    ).items():
        text = f"pods hold devices of our pools as {resource}, which no pool exports"
        yield make_problem(Code.FOREIGN_EXPORTER, text, resource, devices)
    if parts.event_log.problem:
        yield make_problem(Code.EVENTS_NOT_SAVED, parts.event_log.problem)
    if (problem := read_problem(parts.event_log.folder)) is not None:
        yield problem
    yield from (router.problem for router in (parts.hub, parts.control) if router.problem)


def _counters(parts: SupervisorParts) -> Counter[CounterName]:
    figures = (worker.counters.figures for worker in parts.pools.workers.values())
    unread = sum(one.dropped_frames for one in figures if one is not None)
    return (
        parts.scheduler.reloader.counts
        + parts.hub.dropped
        + parts.control.dropped
        + parts.kernel.counts
        + Counter(
            {
                CounterName.KUBELET_RESTARTS: parts.kubelet.restarts,
                CounterName.FRAMES_UNREADABLE_BY_WORKERS: unread,
            }
        )
    )
