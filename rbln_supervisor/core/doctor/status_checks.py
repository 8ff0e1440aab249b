"""Checks of the supervisor's status, its pools and their devices."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from rbln_supervisor.core.doctor.facts import DoctorFacts
from rbln_supervisor.core.doctor.finding import Code, Finding, Severity, limit_evidence
from rbln_supervisor.core.doctor.host_checks import LOG
from rbln_supervisor.core.reporting.pool_summary import NO_DEVICES, NOT_READ
from rbln_supervisor.core.status import DeviceStatus, PoolStatus
from rbln_worker.contract.health import HealthPhase

_LOG_LINES: Final = 4


class _Problem(NamedTuple):
    """The meaning of a problem line of the supervisor."""

    code: Code | None
    severity: Severity
    cause: str
    next: str


_PROBLEMS: Final[Mapping[str, _Problem]] = {
    "reload refused": _Problem(
        "reload-refused",
        "error",
        "the configuration file is not what is in force: its last reload was refused",
        "rbln-ctl validate FILE --against-host; then rbln-ctl reload",
    ),
    "can't be heard": _Problem(
        "netlink-deaf",
        "warning",
        "changes are seen by looks only, up to a minute late",
        "run it in the host's network namespace (hostNetwork: true), with AF_NETLINK allowed",
    ),
    "no inotify": _Problem(
        "inotify-exhausted",
        "error",
        "changes of files are seen later, by looks",
        "sysctl fs.inotify.max_user_instances=1024",
    ),
    "look at the node": _Problem(
        "look-failed",
        "error",
        "the node's devices can't be looked at: what was known before stands",
        "dmesg | tail -50; ps -eo pid,stat,wchan:30,args | grep ' D'",
    ),
    "the eswitch mode of": _Problem(
        "eswitch-mode-unread",
        "note",
        "whether a NIC is in switchdev mode can't be read: its uplink is told by port names",
        "rbln-ctl explain DEVICE; if its pfNames are wrong: give it the capability NET_ADMIN",
    ),
    "is left out": _Problem(
        "device-unreadable", "error", "a device can't be described", "rbln-ctl explain DEVICE"
    ),
    "no kubelet:": _Problem(None, "error", "", ""),
    "events are lost": _Problem(
        "events-unwritten", "warning", "what happens is kept in memory only", "df -h /run"
    ),
}
"""By a part of its text; a problem without a code is detected in another way."""

_COUNTS: Final[Mapping[str, tuple[Code, str]]] = {
    "were lost": ("events-lost", "the kernel dropped messages because too many came at once"),
    "frames": ("frames-dropped", "messages between our processes were dropped"),
}


def check_problems(facts: DoctorFacts) -> Iterator[Finding]:
    """Report the supervisor's problems and error counters."""
    if facts.status is None:
        return
    said = facts.status.supervisor
    for line in said.problems:
        known = next((one for words, one in _PROBLEMS.items() if words in line), None)
        if known is None:
            known = _Problem("problem", "warning", "the supervisor says so", LOG)
        if known.code:
            yield Finding(known.code, known.severity, "", known.cause, known.next, (line,))
    counted: dict[tuple[Code, str], list[str]] = {}
    for name, count in said.counters.items():
        words = next((one for words, one in _COUNTS.items() if words in name), None)
        if words and count:
            counted.setdefault(words, []).append(f"{name}: {count}")
    for (code, cause), lines in counted.items():
        yield Finding(
            code,
            "warning",
            "",
            f"{cause}; a look at everything followed",
            "rbln-ctl rescan; if they go on rising: rbln-ctl support-bundle",
            limit_evidence(lines),
        )


def check_pools(facts: DoctorFacts) -> Iterator[Finding]:
    """Check for pools that do not serve, and workers that exit."""
    if facts.status is None:
        return
    for name, pool in facts.status.pools.items():
        yield from _check_pool(name, pool)
        version = pool.worker.version
        if version and version != facts.status.supervisor.version:
            yield Finding(
                "version-differs",
                "warning",
                name,
                f"its worker is of version {version}, the supervisor of "
                f"{facts.status.supervisor.version}: it is replaced when it leaves",
                f"kill {pool.worker.pid} (it is started anew at once)",
            )


def _check_pool(name: str, pool: PoolStatus) -> Iterator[Finding]:
    died = [f"last exit: {pool.worker.last_exit}"] if pool.worker.last_exit else []
    died += list(pool.worker.last_log[-_LOG_LINES:]) if died else []
    short = name.rpartition("/")[2]
    match pool.state:
        case "invalid":
            yield Finding(
                "pool-invalid",
                "error",
                name,
                "its configuration can't be used, so that nobody gets its devices",
                "rbln-ctl validate FILE; mend it, then rbln-ctl reload",
                limit_evidence(pool.reason.split("; ")),
            )
        case "backoff":
            yield Finding(
                "worker-restarting",
                "error",
                name,
                f"its worker dies again and again (restarts: {pool.worker.restarts})",
                f"rbln-ctl events --pool {short}; rbln-ctl support-bundle",
                limit_evidence(died),
            )
        case "waiting" | "starting" if pool.reason not in (NO_DEVICES, NOT_READ):
            yield Finding(
                "pool-unregistered",
                "error" if pool.state == "waiting" else "warning",
                name,
                "the kubelet does not list it, so that its devices are not allocatable",
                f"rbln-ctl events --pool {short}; journalctl -u kubelet -n 50",
                limit_evidence([pool.reason]),
            )
        case _:
            pass
    if pool.state != "backoff" and pool.worker.restarts:
        yield Finding(
            "worker-restarted",
            "warning",
            name,
            f"its worker ended by itself, and was started again (restarts: {pool.worker.restarts})",
            f"rbln-ctl events --pool {short}",
            limit_evidence(died),
        )
    for problem in pool.problems:
        yield Finding(
            "pool-problem",
            "warning",
            name,
            "something is wrong with it although it may serve",
            f"rbln-ctl status --pool {short}; df -h",
            limit_evidence([problem]),
        )


def check_devices(facts: DoctorFacts) -> Iterator[Finding]:
    """Report unhealthy devices: one finding for each pool and reason, so that a card has one."""
    if facts.status is None:
        return
    for name, pool in facts.status.pools.items():
        if pool.worker.pid is None:
            continue  # no health check without a worker: the pool's finding has the reason
        groups: dict[tuple[Code, Severity, str], list[str]] = {}
        for device, one in pool.devices.items():
            for code, severity, cause in _device_complaints(one):
                groups.setdefault((code, severity, cause), []).append(device)
        for (code, severity, cause), ids in groups.items():
            yield Finding(
                code,
                severity,
                name,
                f"{len(ids)} of {len(pool.devices)} devices: {cause}",
                f"rbln-ctl explain {ids[0]}; rbln-ctl events --device {ids[0]}",
                limit_evidence(ids),
            )


def _device_complaints(one: DeviceStatus) -> Iterator[tuple[Code, Severity, str]]:
    source = f"{one.source}: " if one.source else ""
    if one.health != "Healthy":
        yield "device-unhealthy", "error", f"{source}{one.reason or 'Unhealthy'}"
    elif one.phase is not HealthPhase.HEALTHY:
        yield "device-suspect", "warning", f"{source}{one.reason or one.phase}"
    for warning in one.warnings:
        yield "device-warning", "warning", warning
