"""The messages to systemd about the supervisor's state, as in sd_notify(3).

One message is a datagram of lines. Nothing is sent twice, so equal facts cause no message.
Keep-alive messages for the watchdog are the exception; they are not made here.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from rbln_supervisor.core.status import DeviceStatus, PoolState, PoolStatus
from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.pod_devices import PodSource

READY_TIMEOUT_S: Final = 10.0
"""Seconds after which a start is complete, even if something is missing. systemd would end a
service that keeps starting, and a restart would help neither a kubelet nor a pool; the status line
has what is missing."""
MAX_STATUS_CHARACTERS: Final = 200

SETTLED: Final[frozenset[PoolState]] = frozenset({"serving", "waiting", "invalid"})
"""States of a pool in which the supervisor has nothing left to do."""

_MAY_COME: Final = frozenset({"", "sysfs", "node"})
"""Sources of reasons that end when a driver has been loaded; empty before the first check."""


class ServiceState(msgspec.Struct, frozen=True):
    """State of the supervisor: the current one, or what systemd knows of it."""

    ready: bool = False
    """True if a discovery has ended, every pool is in a final state, and pods miss no device."""
    leaving: bool = False
    reloading: bool = False
    """True while a configuration waits for its discovery."""
    hangups: int = 0
    """Number of reload signals so far."""
    status: str = ""
    """One line for people."""


def due_messages(
    said: ServiceState, facts: ServiceState, age_s: float, monotonic_us: int
) -> tuple[ServiceState, tuple[str, ...]]:
    """Return the state after the messages that are due now, and the messages in order.

    ``age_s``: age of the supervisor. ``monotonic_us``: CLOCK_MONOTONIC in microseconds, by which
    Type=notify-reload recognizes the reload that it requested.
    """
    lines: list[list[str]] = []
    leaving = said.leaving or facts.leaving
    ready = said.ready or facts.ready or age_s >= READY_TIMEOUT_S
    reloading = facts.reloading and ready and not leaving
    if leaving:
        if not said.leaving:
            lines.append(["STOPPING=1"])
    elif ready and not said.ready:
        lines.append(["READY=1"])
    elif said.ready:
        # A reload that was refused at once is over before ``reloading`` could be seen.
        asked = facts.hangups != said.hangups
        if asked or (reloading and not said.reloading):
            lines.append(["RELOADING=1", f"MONOTONIC_USEC={monotonic_us}"])
        if not reloading and (asked or said.reloading):
            lines.append(["READY=1"])
    if facts.status != said.status:
        line = f"STATUS={facts.status}"
        if lines:
            lines[-1].append(line)
        else:
            lines.append([line])
    told = msgspec.structs.replace(facts, ready=ready, leaving=leaving, reloading=reloading)
    return told, tuple("\n".join(each) for each in lines)


def misses_devices(pools: Mapping[str, PoolStatus], source: PodSource | None) -> bool:
    """Return True if a device in use by a pod may still come, and no kubelet has answered yet.

    Its driver may still be loading. The kubelet, which systemd starts after READY, fails a pod for
    good if its device is not healthy a second later.
    """
    return source is PodSource.CHECKPOINT and any(
        device.pods and device.phase is not HealthPhase.HEALTHY and _may_come(device)
        for pool in pools.values()
        for device in pool.devices.values()
    )


def status_line(pools: Mapping[str, PoolStatus]) -> str:
    """Return the state of the node as one printable line, with the pools that do not serve."""
    serving = [pool for pool in pools.values() if pool.state == "serving"]
    devices = [device for pool in serving for device in pool.devices.values()]
    healthy = Counter(device.health for device in devices)["Healthy"]
    told = [f"{len(serving)} of {len(pools)} pools serve {healthy} of {len(devices)} devices"]
    told += [
        f"{name} {pool.state}" + (f" ({pool.reason})" if pool.reason else "")
        for name, pool in sorted(pools.items())
        if pool.state != "serving"
    ]
    line = "".join(each if each.isprintable() else " " for each in "; ".join(told))
    if len(line) <= MAX_STATUS_CHARACTERS:
        return line
    return f"{line[: MAX_STATUS_CHARACTERS - 1]}…"


def _may_come(device: DeviceStatus) -> bool:
    return device.phase is HealthPhase.PROBATION or device.source in _MAY_COME
