"""The status of a pool: its state in one word, and the reason if it does not serve."""

from typing import Final

import msgspec

from rbln_supervisor.core.config.node_config import InvalidPool
from rbln_supervisor.core.reporting.unavailability import device_verdicts
from rbln_supervisor.core.status import DeviceStatus, PodUse, PoolState, PoolStatus, WorkerStatus
from rbln_supervisor.core.workers.lifecycle import State
from rbln_supervisor.core.workers.managed_pool import ManagedPool
from rbln_worker.contract.device import Device
from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.contract.messages import Phase, Report
from rbln_worker.contract.pod_devices import PodSource


class PoolSnapshot(msgspec.Struct, frozen=True):
    """The supervisor's facts of a pool."""

    pool: ManagedPool
    last_exit: str | None
    last_log: tuple[str, ...] = ()
    failed_writes: int = 0


NO_DEVICES: Final = "no device of the node matches its selectors"
NOT_READ: Final = "the node has not been discovered yet"
NO_WORKER: Final = "its worker is not running"
NOT_CHECKED_YET: Final = "its worker has not checked it yet"


def pool_status(snapshot: PoolSnapshot, now: float) -> PoolStatus:
    """Return the status of a configured pool."""
    state, reason = reported_state(snapshot)
    pool, worker, report = snapshot.pool, snapshot.pool.worker, snapshot.pool.worker.report
    backoff = pool.child.deadline if pool.child.state is State.DOWN else None
    return PoolStatus(
        state=state,
        registered=state == "serving",
        registration=(report.registration or None) if report else None,
        reason=reason,
        endpoint=(report.endpoint or None) if report else None,
        worker=WorkerStatus(
            pid=worker.pid,
            restarts=pool.child.restarts,
            last_exit=snapshot.last_exit,
            last_log=snapshot.last_log,
            backoff_s=None if backoff is None else round(max(0.0, backoff - now), 1),
            failed_writes=snapshot.failed_writes,
            version=worker.version,
        ),
        devices=_device_statuses(snapshot),
        problems=report.problems if report else (),
        driver=pool.driver,
        claims=report.claims if report else (),
    )


def invalid_status(pool: InvalidPool) -> PoolStatus:
    """Return the status of a pool whose configuration can't be used."""
    return PoolStatus("invalid", reason="; ".join(map(str, pool.complaints)))


def reported_state(snapshot: PoolSnapshot) -> tuple[PoolState, str]:
    """Return a configured pool's state, and the reason if it does not serve."""
    pool, report = snapshot.pool, snapshot.pool.worker.report
    match pool.child.state:
        case State.NONE:
            return "waiting", NO_DEVICES if pool.desired else NOT_READ
        case State.DOWN:
            return "backoff", f"its worker ended: {snapshot.last_exit}"
        case State.KILLED:
            return "backoff", "its worker did not answer and is being killed"
        case State.ADOPTING if report is None:
            return "starting", "the worker of an earlier supervisor has not said hello yet"
        case State.STARTING if pool.predecessor is not None:
            reason = "its new worker is starting; the one before serves until it is listed"
            return "starting", reason
        case State.LEAVING:
            return "starting", "its former worker is leaving"
        case State.WITHDRAWING:
            return "starting", "its former worker is withdrawing its ResourceSlices"
        case State.STARTING | State.UP | State.ADOPTING:
            return _serving_state(report)


def _serving_state(report: Report | None) -> tuple[PoolState, str]:
    if report is None:
        return "starting", "its worker is starting"
    match report.phase:
        case Phase.REGISTERED if report.awaits_slices:
            return "starting", "its ResourceSlices are not published yet"
        case Phase.REGISTERED:
            return "serving", ""
        case Phase.WAITING:
            return "waiting", report.reason
        case Phase.REGISTERING:
            return "starting", report.reason or "the kubelet has not listed it yet"


def _device_statuses(snapshot: PoolSnapshot) -> dict[str, DeviceStatus]:
    pool = snapshot.pool
    if pool.desired is None:
        return {}
    has_worker = pool.child.state in {State.UP, State.STARTING, State.ADOPTING}
    missing = NOT_CHECKED_YET if has_worker else NO_WORKER
    verdicts = device_verdicts(pool.desired, pool.worker.report, missing)
    return {
        device.id: _device_status(device, verdicts[device.id], _pod_uses(pool, device))
        for device in pool.desired.devices.values()
    }


def _pod_uses(pool: ManagedPool, device: Device) -> tuple[PodUse, ...]:
    """Return the pods that hold a device: those of the kubelet, then others of prepared claims."""
    uses: list[PodUse] = []
    for one in pool.holders.get(device.id, ()):
        source = PodSource.POD_RESOURCES if one.claim else pool.pod_source
        pod = one.namespace, one.pod, one.container, one.uid
        uses.append(PodUse(*pod, one.since or None, source, one.claim))
    known = {(use.namespace, use.pod, use.claim) for use in uses}
    report = pool.worker.report
    for claim in report.claims if report else ():
        name, since = f"{claim.namespace}/{claim.name}", claim.since or None
        for one_pod in claim.pods if device.id in claim.devices else ():
            namespace, _, holder = one_pod.partition("/")
            if (namespace, holder, name) not in known:
                uses.append(PodUse(namespace, holder, "", "", since, PodSource.CLAIMS, name))
    return tuple(uses)


def _device_status(device: Device, verdict: Verdict, pods: tuple[PodUse, ...]) -> DeviceStatus:
    phase = verdict.phase
    if not verdict.healthy and phase is HealthPhase.HEALTHY:  # no further detail
        phase = HealthPhase.UNHEALTHY
    return DeviceStatus(
        health="Healthy" if verdict.healthy else "Unhealthy",
        reason=device.gone or verdict.reason,
        numa=device.function.numa_node,
        phase=phase,
        source=verdict.source,
        since=verdict.since or None,
        warnings=verdict.warnings,
        pods=pods,
    )
