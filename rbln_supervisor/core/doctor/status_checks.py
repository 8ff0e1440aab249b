"""Problems of the supervisor's status, its pools and their devices."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from rbln_supervisor.core.status import DeviceStatus, NodeStatus, PoolStatus
from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.problem import Code, Problem, Severity, make_problem

_LOG_LINES = 4


def all_problems(
    status: NodeStatus | None, others: Iterable[Problem], version: str
) -> tuple[Problem, ...]:
    """Return the problems of a status and others, the worst first.

    Of the same severity the others come first: a missing driver before its unhealthy device.

    Args:
        status: the status; None if the supervisor does not answer.
        others: problems that were found without the supervisor. They have more evidence than those
            of the status with the same code and subject.
        version: the version of rbln-ctl.
    """
    from_status = _status_problems(status, version) if status else ()
    ours = tuple(others)
    known = {(one.code, one.subject) for one in ours}
    every = dict.fromkeys(
        (*ours, *(one for one in from_status if (one.code, one.subject) not in known))
    )
    return tuple(sorted(every, key=lambda one: tuple(Severity).index(one.severity)))


def has_errors(problems: Iterable[Problem]) -> bool:
    """Return True if a problem is an error."""
    return any(one.severity is Severity.ERROR for one in problems)


def _status_problems(status: NodeStatus, version: str) -> Iterator[Problem]:
    supervisor = status.supervisor
    yield from supervisor.problems
    if supervisor.version != version:
        text = f"rbln-ctl has version {version}, the supervisor {supervisor.version}"
        yield make_problem(Code.VERSION_DIFFERS, text, "rbln-supervisor")
    for name, pool in status.pools.items():
        yield from pool.problems
        yield from _check_pool(name, pool)
        if pool.worker.pid is not None:  # without a worker nothing checks devices
            yield from _check_devices(name, pool)


def _check_pool(name: str, pool: PoolStatus) -> Iterator[Problem]:
    if pool.devices and pool.state in {"waiting", "starting"}:
        text = f"the kubelet does not list it: {pool.reason}"
        severity = Severity.ERROR if pool.state == "waiting" else Severity.WARNING
        yield make_problem(Code.POOL_NOT_REGISTERED, text, name, severity=severity)
    worker = pool.worker
    if pool.state == "backoff":
        code, text = Code.WORKER_RESTARTING, "its worker ends repeatedly"
    elif worker.restarts:
        code, text = Code.WORKER_RESTARTED, "its worker ended and was started again"
    else:
        return
    log = worker.last_log[-_LOG_LINES:]
    evidence = (f"last exit: {worker.last_exit}", *log) if worker.last_exit else ()
    yield make_problem(code, f"{text} (restarts: {worker.restarts})", name, evidence)


def _check_devices(name: str, pool: PoolStatus) -> Iterator[Problem]:
    """Yield one problem for each reason, so that a card has one."""
    groups: defaultdict[tuple[Code, str], list[str]] = defaultdict(list)
    for device, status in pool.devices.items():
        for code, reason in _device_reasons(status):
            groups[code, reason].append(device)
    for (code, reason), ids in groups.items():
        text = f"{len(ids)} of {len(pool.devices)} devices: {reason}"
        hint = f"rbln-ctl explain {ids[0]}; rbln-ctl events --device {ids[0]}"
        yield make_problem(code, text, name, tuple(ids), hint=hint)


def _device_reasons(one: DeviceStatus) -> Iterator[tuple[Code, str]]:
    source = f"{one.source}: " if one.source else ""
    if one.health != "Healthy":
        yield Code.DEVICE_UNHEALTHY, f"{source}{one.reason or 'Unhealthy'}"
    elif one.phase is not HealthPhase.HEALTHY:
        yield Code.DEVICE_SUSPECT, f"{source}{one.reason or one.phase}"
    for warning in one.warnings:
        yield Code.DEVICE_WARNING, warning
