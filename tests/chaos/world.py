"""What faults act upon: the node, the kubelet, the supervisor, and the load on them."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Final, Self

from rbln_supervisor.core.control.protocol import Reload, Request, Rescan
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.client import UnreachableError, send_request
from tests.chaos import pools
from tests.chaos.agent_side import AgentSide
from tests.chaos.claims import ClaimLoad
from tests.chaos.dra_side import DraSide
from tests.chaos.load import Load
from tests.chaos.pulse import Pulse
from tests.sim import network, uevents
from tests.sim.clock import SimClock
from tests.sim.kubelet import SimKubelet
from tests.sim.kubelet_records import Closed, Opened, Record
from tests.sim.node import SimNode
from tests.sim.stack import Stack

GRACE_S: Final = 1.0
"""--gone-grace: a device that went to another pool leaves its former one soon."""
START_S: Final = 90.0
"""A start takes 2 s, but over 20 s at a load of 30: only one that hangs takes longer than this."""
SPECS_BYTES: Final = 1 << 20
_AGAIN_S: Final = 0.01
_UEVENTS: Final = 15
_TYPE: Final = 16
"""Of any netlink message that is not netlink's own (NLMSG_MIN_TYPE)."""
_REQUEST: Final = 1

Condition = Callable[[], object]


class World:
    """A running system under load, from ``with`` to the end of the block."""

    def __init__(
        self, seed: int, *, namespace: bool, patient: bool, registration: str, cdi: bool
    ) -> None:
        """A world of an own kind.

        ``namespace``: this process has namespaces of its own; ``patient``: there is time to see
        deadlines pass.
        """
        self.namespace = namespace
        self.patient = patient
        self.cdi = cdi
        self._home = Path(tempfile.mkdtemp(prefix="rb-api-", dir="/tmp"))
        self.stack = Stack(
            pools.CONFIG,
            pools.build,
            arguments=(
                *("--gone-grace", f"{GRACE_S:g}", "--log-format", "json"),
                *("--node-name", pools.NODE, "--kubeconfig", f"{self._home / 'kubeconfig'}"),
                *(("--use-cdi",) if cdi else ()),
            ),
            registration=registration,
            kubelet=lambda folder: SimKubelet(folder, plugin_watcher=True),
        )
        self.dra = DraSide(self._home, self.stack.root, self.stack.kubelet)
        self.load = Load(self.stack.kubelet, pools.REST, seed)
        self.clock = SimClock(self._home)
        self.stack.under = self.clock.command
        self.agent = AgentSide(self.stack.run_dir, self.dra, self.clock.command)
        self.claims = ClaimLoad(self.dra, self.load, seed)
        self.pulse = Pulse(self.stack)
        self._stack = ExitStack()
        self._streams: Counter[str] = Counter()
        self._counted = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.namespace:
                for line in network.commands(pools.LINKS):
                    subprocess.run(["sh", "-c", line], check=True)
            stack.callback(shutil.rmtree, self._home)
            stack.enter_context(self.dra)
            if self.namespace:
                self._mount_specs()
            stack.enter_context(self.stack)
            if self.namespace:
                stack.callback(_run, "umount", "--lazy", f"{self.dra.specs}")
            self.wait(self.is_listed, "every pool is listed", START_S)
            self.wait(lambda: not any(self.dra.differences()), "slices of every DRA pool", START_S)
            self.kubelet.running.write_checkpoint()  # as a kubelet has one at any time
            stack.enter_context(self.agent)
            self.agent.wait_read(self.wait)
            stack.enter_context(self.load)
            stack.enter_context(self.claims)
            stack.enter_context(self.pulse)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _mount_specs(self) -> None:
        """Make the folder of CDI specs a file system of its own, so that it can be full."""
        folder = self.dra.specs
        folder.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={SPECS_BYTES}", "none", f"{folder}")

    # What there is

    @property
    def node(self) -> SimNode:
        """The node's files."""
        return self.stack.node

    @property
    def kubelet(self) -> SimKubelet:
        """The kubelet."""
        return self.stack.kubelet

    @property
    def records(self) -> tuple[Record, ...]:
        """All that the kubelet saw."""
        return self.kubelet.records

    @property
    def streams(self) -> Mapping[str, int]:
        """How many streams the kubelet holds, by pool."""
        for record in self.records[self._counted :]:
            self._counted += 1
            if isinstance(record, Opened):
                self._streams[record.resource] += 1
            elif isinstance(record, Closed):
                self._streams[record.resource] -= 1
        return self._streams

    def status(self) -> NodeStatus | None:
        """The supervisor's; None where it does not answer."""
        try:
            return self.stack.status()
        except UnreachableError:
            return None

    def pid(self, pool: str) -> int:
        """A pool's worker."""
        return self.stack.workers()[pool]

    def endpoint(self, pool: str) -> str:
        """The socket that the kubelet asks for a pool; empty where it knows none."""
        return self.kubelet.resource(pool).endpoint or ""

    def is_healthy(self, pool: str, device: str) -> bool:
        """Whether the kubelet would give a device out."""
        if pool in pools.DRA:
            return self.dra.is_allocatable(pool, device)
        seen = self.kubelet.resource(pool).devices.get(device)
        return seen is not None and seen.health == "Healthy"

    def is_listed(self) -> bool:
        """Whether the kubelet sees of every pool what there is when nothing is broken."""
        for pool, rest in pools.REST.items():
            seen = self.kubelet.resource(pool)
            if sorted(seen.devices) != sorted(rest.devices) or seen.allocatable != seen.capacity:
                return False
            if seen.endpoint is None:
                return False
        return True

    # What can be done

    def wait(self, condition: Condition, what: str, deadline_s: float = 10.0) -> float:
        """Wait for a condition; the seconds that it took. AssertionError after the deadline."""
        began = monotonic()
        while not condition():
            waited = monotonic() - began
            assert waited < deadline_s, f"not within {deadline_s:g} s: {what}"
            sleep(_AGAIN_S)
        return monotonic() - began

    def ask(self, request: Request, timeout_s: float = 15.0) -> object:
        """Ask the supervisor; None where it can't be reached."""
        try:
            return send_request(self.stack.run_dir, request, timeout_s=timeout_s)
        except UnreachableError:
            return None

    def reload(self) -> object:
        """Ask for a reload."""
        return self.ask(Reload())

    def tell(self, *frames: bytes) -> None:
        """Say what happened as the kernel would; where that can't be, have the node looked at."""
        if not self.namespace:
            self.ask(Rescan())
            return
        # Not by sim.uevents.Injector, which has the kernel's word that every listener heard: here
        # it is the point of many frames that some don't.
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _UEVENTS) as kernel:
            for frame in frames:
                header = struct.pack("=IHHII", 16 + len(frame), _TYPE, _REQUEST, 0, 0)
                kernel.sendto(header + frame, (0, 0))

    def tell_of(self, action: str, bdf: str) -> None:
        """Say of a PCI function that it came, went, was bound, …."""
        self.tell(uevents.pci(action, bdf))

    def kill(self, pid: int, number: signal.Signals) -> None:
        """Signal a process that may have ended."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return

    def set_links(self, *lines: str) -> None:
        """Change links in the namespace, by one call of ip(8) for all of its lines."""
        text = "\n".join(lines)
        subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True, timeout=60)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=20)
