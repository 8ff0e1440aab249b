"""A network namespace of its own for a command, with links as the kernel makes them.

What runs in a namespace is reached by its pid: ``run(stack.pid, "ip link set eno1 down")``.
"""

import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final

import pytest

from tests.sim.nodes import Link

_PLAIN: Final = ("dummy", "ifb")
"""Kinds of link that stand for a NIC: Ethernet, no peer. Which ones there are is the kernel's."""


def commands(links: Mapping[str, Link]) -> list[str]:
    """What makes these links, each up, and the default routes."""
    made = ["ip link set lo up"]
    for number, (name, link) in enumerate(links.items(), start=1):
        kind = f"veth peer name {peer(name)}" if link.pair else plain()
        made += [f"ip link add {shlex.quote(name)} type {kind}", f"ip link set {name} up"]
        if link.pair:
            made += [f"ip link set {peer(name)} up"]
        if link.default_route:
            made += [f"ip addr add 10.0.{number}.1/24 dev {name}"]
            made += [f"ip route add default via 10.0.{number}.2 dev {name}"]
    return made


def peer(name: str) -> str:
    """The other end of a link that is a pair."""
    return f"{name}-peer"


def entered(pid: int) -> tuple[str, ...]:
    """What goes before a command so that it runs in the namespace of a process of ours."""
    nsenter = ("nsenter", "--target", f"{pid}", "--net")
    return nsenter if os.geteuid() == 0 else (*nsenter, "--user", "--preserve-credentials")


def run(pid: int, *setup: str) -> None:
    """Run shell commands, one after the other, where the process ``pid`` is; they have to work."""
    subprocess.run([*entered(pid), "sh", "-ec", "\n".join(setup)], check=True, timeout=60)


def inside(setup: Iterable[str], command: Sequence[object]) -> list[str]:
    """The command that runs ``command`` in a new namespace after the set-up, with the same pid."""
    script = " && ".join((*setup, f"exec {shlex.join(str(word) for word in command)}"))
    return [*_unshare(), "sh", "-c", script]


@cache
def plain() -> str:
    """The kind of link that stands for a NIC."""
    for kind in _PLAIN:
        if can(f"ip link add x type {kind}"):
            return kind
    pytest.skip(f"this kernel makes none of {', '.join(_PLAIN)}, or not for us")


@cache
def can(command: str) -> bool:
    """Whether a command works in a new namespace."""
    done = subprocess.run(
        [*_unshare(), "sh", "-c", command], capture_output=True, check=False, timeout=30
    )
    return done.returncode == 0


def needs(command: str) -> None:
    """Skip the test where a command does not work in a new namespace."""
    if not can(command):
        pytest.skip(f"not on this kernel, or not for this user: {command}")


def _unshare() -> tuple[str, ...]:
    # Whoever is not root becomes it in a user namespace of their own.
    return ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--net")
