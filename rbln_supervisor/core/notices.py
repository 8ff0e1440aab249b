"""What the program that started us is told of our life, as sd_notify(3) words it.

One notice is a datagram of lines. What has been said is not said again, so that equal facts make no
notice; the watchdog's is the exception, and is no business of this module.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from rbln_supervisor.core.status import PoolState, PoolStatus

READY_WITHIN_S: Final = 10.0
"""After so long a start is over, whatever is missing. systemd would end a service that goes on
starting, and no restart brings a kubelet or mends a pool; what is missing is in the status line."""
STATUS_CHARACTERS_MOST: Final = 200

_IN_HAND: Final[frozenset[PoolState]] = frozenset({"serving", "waiting", "invalid"})
"""States of a pool for which nothing is left to do but to wait for others."""


class Facts(msgspec.Struct, frozen=True):
    """Where the supervisor stands."""

    settled: bool
    """It has looked at the node, and has every pool in hand."""
    leaving: bool
    reloading: bool
    """A configuration is on its way into force."""
    hangups: int
    """How often it was told to reload by a signal."""
    status: str
    """One line for people."""


class Said(msgspec.Struct, frozen=True):
    """What was told so far."""

    ready: bool = False
    leaving: bool = False
    reloading: bool = False
    hangups: int = 0
    status: str = ""


def notices(
    said: Said, facts: Facts, age_s: float, monotonic_us: int
) -> tuple[Said, tuple[str, ...]]:
    """What to tell now, in order, and what has been told then.

    ``age_s``: of the supervisor. ``monotonic_us``: CLOCK_MONOTONIC in microseconds, by which
    Type=notify-reload knows that a reload is the one it asked for.
    """
    lines: list[list[str]] = []
    leaving = said.leaving or facts.leaving
    ready = said.ready or facts.settled or age_s >= READY_WITHIN_S
    reloading = facts.reloading and ready and not leaving
    if leaving:
        if not said.leaving:
            lines.append(["STOPPING=1"])
    elif ready and not said.ready:
        lines.append(["READY=1"])
    elif said.ready:
        # A reload that was refused at once is over before anybody could see it on its way.
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
    told = Said(
        ready=ready,
        leaving=leaving,
        reloading=reloading,
        hangups=facts.hangups,
        status=facts.status,
    )
    return told, tuple("\n".join(each) for each in lines)


def in_hand(pools: Mapping[str, PoolStatus]) -> bool:
    """Whether nothing is left to do for any pool but to wait for others."""
    return all(pool.state in _IN_HAND for pool in pools.values())


def status_line(pools: Mapping[str, PoolStatus]) -> str:
    """The node in one line of printable characters: how many serve what, and who does not."""
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
    if len(line) <= STATUS_CHARACTERS_MOST:
        return line
    return f"{line[: STATUS_CHARACTERS_MOST - 1]}…"
