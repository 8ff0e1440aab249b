"""The status of a pool: its state in one word, and the reason if it does not serve."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from rbln_supervisor.core.config.node_config import InvalidPool
from rbln_supervisor.core.status import DeviceStatus, PodUse, PoolState, PoolStatus, WorkerStatus
from rbln_supervisor.core.workers.desired_state import DesiredState
from rbln_supervisor.core.workers.lifecycle import Child, State
from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.health import HealthPhase, Verdict
from rbln_worker.contract.messages import Phase, Report
from rbln_worker.contract.pod_devices import PodDevice, PodSource

Holders = Mapping[DeviceId, tuple[PodDevice, ...]]
"""Pods that hold a pool's devices."""


class PoolSnapshot(msgspec.Struct, frozen=True):
    """The supervisor's facts of a pool."""

    roster: DesiredState | None
    child: Child
    pid: int | None
    report: Report | None
    last_exit: str | None
    last_log: tuple[str, ...] = ()
    version: str = ""
    is_replacing: bool = False
    """True while the previous worker serves until this one is listed."""
    holders: Holders = {}
    pod_source: PodSource = PodSource.NONE


NO_DEVICES: Final = "no device of the node matches its selectors"
NOT_READ: Final = "the node has not been looked at yet"
NO_WORKER: Final = "its worker is not running"
NOT_LOOKED_AT: Final = "its worker has not looked at it yet"


def pool_status(snapshot: PoolSnapshot, now: float) -> PoolStatus:
    """Return the status of a configured pool."""
    state, reason = reported_state(snapshot)
    report = snapshot.report
    backoff = snapshot.child.deadline if snapshot.child.state is State.DOWN else None
    return PoolStatus(
        state=state,
        registered=state == "serving",
        registration=_registration_text(report),
        reason=reason,
        endpoint=(report.endpoint or None) if report else None,
        worker=WorkerStatus(
            pid=snapshot.pid,
            restarts=snapshot.child.restarts,
            last_exit=snapshot.last_exit,
            last_log=snapshot.last_log,
            backoff_s=None if backoff is None else round(max(0.0, backoff - now), 1),
            failed_writes=report.failed_writes if report else 0,
            version=snapshot.version,
        ),
        devices=_device_statuses(snapshot),
        problems=report.problems if report else (),
    )


def invalid_status(pool: InvalidPool) -> PoolStatus:
    """Return the status of a pool whose configuration can't be used."""
    return PoolStatus(
        state="invalid",
        registered=False,
        registration=None,
        reason="; ".join(str(complaint) for complaint in pool.complaints),
        endpoint=None,
        worker=WorkerStatus(),
        devices={},
    )


def reported_state(snapshot: PoolSnapshot) -> tuple[PoolState, str]:
    """Return a configured pool's state, and the reason if it does not serve."""
    match snapshot.child.state:
        case State.NONE:
            return "waiting", NO_DEVICES if snapshot.roster else NOT_READ
        case State.DOWN:
            return "backoff", f"its worker ended: {snapshot.last_exit}"
        case State.KILLED:
            return "backoff", "its worker did not answer and is being killed"
        case State.ADOPTING if snapshot.report is None:
            return "starting", "the worker of an earlier supervisor has not said hello yet"
        case State.LEAVING:
            return "starting", "its former worker is leaving"
        case State.STARTING if snapshot.is_replacing:
            return (
                "starting",
                "its new worker is starting; the one before serves until it is listed",
            )
        case State.STARTING:
            return "starting", "its worker is starting"
        case State.UP | State.ADOPTING:
            return _serving_state(snapshot.report)


def _serving_state(report: Report | None) -> tuple[PoolState, str]:
    if report is None:
        return "starting", "its worker is starting"
    match report.phase:
        case Phase.REGISTERED:
            return "serving", ""
        case Phase.WAITING:
            return "waiting", report.reason
        case Phase.REGISTERING:
            return "starting", report.reason or "the kubelet has not listed it yet"


def _registration_text(
    report: Report | None,
) -> Literal["kubelet-sock", "plugin-watcher"] | None:
    match report.registration if report else "":
        case "kubelet-sock":
            return "kubelet-sock"
        case "plugin-watcher":
            return "plugin-watcher"
        case _:
            return None


def _device_statuses(snapshot: PoolSnapshot) -> dict[str, DeviceStatus]:
    judged = {one.id: one.verdict for one in snapshot.report.devices} if snapshot.report else {}
    looking = snapshot.child.state in {State.UP, State.STARTING, State.ADOPTING}
    why = NOT_LOOKED_AT if looking else NO_WORKER
    return {
        device.id: _device_status(
            device,
            judged.get(device.id) or Verdict(healthy=False, reason=why),
            _pod_uses(snapshot, device),
        )
        for device in (snapshot.roster.devices.values() if snapshot.roster else ())
    }


def _pod_uses(snapshot: PoolSnapshot, device: Device) -> tuple[PodUse, ...]:
    return tuple(
        PodUse(
            one.namespace, one.pod, one.container, one.uid, one.since or None, snapshot.pod_source
        )
        for one in snapshot.holders.get(device.id, ())
    )


def _device_status(device: Device, verdict: Verdict, pods: tuple[PodUse, ...] = ()) -> DeviceStatus:
    if device.gone is not None and verdict.healthy:  # its worker reports it in a moment
        verdict = Verdict(healthy=False, reason=device.gone, source="sysfs")
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
