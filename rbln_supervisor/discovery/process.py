"""Runs a discovery in a separate process, so that nothing on the node can block the loop.

Thousands of reads, locks behind a netlink dump, devlink, ddptool: all waiting happens there. The
process is forked (1.5 ms, imports are shared), writes its result as MessagePack into a pipe, and
ends.

The discovery for a new configuration also asks the kubelet which pods use which devices. It does so
last, so that the answer is as recent as possible when the configuration becomes active.
"""

import contextlib
import fcntl
import os
import resource
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor.core.discovery.result import DiscoveryResult
from rbln_supervisor.discovery import scan
from rbln_supervisor.workers import processes
from rbln_supervisor.workers.processes import ChildProcess
from rbln_worker.contract.exits import Exit
from rbln_worker.host.discovery.inventory import Needs
from rbln_worker.kubelet import pod_resources
from rbln_worker.process import limits, log
from rbln_worker.process.privileges import Capability, keep_only

DEADLINE_S: Final = 10.0
"""Maximum duration of a discovery (seconds). One of 4,096 functions takes 1 s, a silent kubelet 2
s."""
MAX_RESULT_BYTES: Final = 32 * 1024 * 1024
"""Maximum size of a result. 20,000 functions of 600 bytes fit."""
DISCOVERY_KEEPS: Final = (Capability.NET_ADMIN,)
"""devlink reports an eswitch's mode only with it (net/devlink, GENL_ADMIN_PERM)."""
DDPTOOL_KEEPS: Final = (Capability.SYS_ADMIN,)
"""ddptool reads the config space beyond 64 bytes."""
_GRACE_S: Final = 2.0
"""Seconds after the deadline at which a discovery ends itself, if the supervisor did not."""
_PIPE_BYTES: Final = 1024 * 1024
"""The maximum for any user (pipe(7)); one loop iteration can read that much."""

_RESULT: Final[msgspec.msgpack.Decoder[DiscoveryResult]] = msgspec.msgpack.Decoder(DiscoveryResult)


class PodResourcesQuery(NamedTuple):
    """A query to the kubelet for the pods that use devices of these resources."""

    folder: Path
    """Folder of the pod-resources API's socket."""
    resources: frozenset[str]


class _Run:
    """One discovery process."""

    def __init__(self, life: ChildProcess, pipe: int, deadline: float) -> None:
        self.child = life
        self.pipe = pipe
        self.deadline = deadline
        self.output = bytearray()
        self.given_up = False


class DiscoveryProcess:
    """Runs at most one discovery at a time. Never waits: ``poll_result`` returns the result."""

    def __init__(
        self, root: Path, *, deadline_s: float = DEADLINE_S, max_bytes: int = MAX_RESULT_BYTES
    ) -> None:
        self._root = root
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes
        self._run: _Run | None = None
        self.cost_s = 0.0
        """CPU seconds of the last discovery that has ended."""
        self.total_cost_s = 0.0
        """CPU seconds of all discoveries."""

    @property
    def is_busy(self) -> bool:
        """True if a process runs, or can't be killed."""
        return self._run is not None

    @property
    def next_deadline(self) -> float | None:
        """Latest time of the next call of ``poll_result`` (monotonic seconds)."""
        return self._run.deadline if self._run else None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``poll_result`` has work."""
        if self._run is None:
            return ()
        return (
            (self._run.child.pidfd,)
            if self._run.given_up
            else (
                self._run.child.pidfd,
                self._run.pipe,
            )
        )

    def start_discovery(self, needs: Needs, pods: PodResourcesQuery | None = None) -> None:
        """Start a discovery; none may be running. Raises OSError if there can be no process."""
        pipe, end = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(pipe, False)
            with contextlib.suppress(OSError):  # a smaller one takes more iterations
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            life = processes.spawn(
                lambda: _child_main(
                    end, lambda: _confined_discovery(self._root, needs, pods), self._deadline_s
                ),
                keep=end,
            )
        except OSError:
            os.close(pipe)
            raise
        finally:
            os.close(end)
        self._run = _Run(life, pipe, monotonic() + self._deadline_s)

    def poll_result(self, now: float) -> DiscoveryResult | None:
        """Return the result of the discovery, once; None if there is nothing new."""
        run = self._run
        if run is None:
            return None
        has_ended = processes.has_ended(run.child)
        self._read_pipe(run)  # afterwards, so that the last output is read
        too_much = len(run.output) > self._max_bytes
        too_long = f"said more than {self._max_bytes} bytes"
        if has_ended:
            os.close(run.pipe)
            self._run = None
            before = _children_cpu_s()
            how = processes.reap_group(run.child).how
            self.cost_s = _children_cpu_s() - before
            self.total_cost_s += self.cost_s
            if run.given_up:
                return None
            return (
                DiscoveryResult(failed=_failure_text(too_long))
                if too_much
                else _decode_result(run.output, how)
            )
        if too_much and not run.given_up:
            return self._give_up(run, now, too_long)
        if now >= run.deadline and not run.given_up:
            return self._give_up(run, now, f"took more than {self._deadline_s:g} s")
        if now >= run.deadline:
            run.deadline = now + self._deadline_s
            return DiscoveryResult(
                failed="the last look at the node can't be ended: "
                f"process {run.child.pid} waits in the kernel"
            )
        return None

    def kill_running(self) -> None:
        """Kill a running process and drop its result."""
        if self._run is not None:
            self._give_up(self._run, monotonic(), "")

    def _give_up(self, run: _Run, now: float, why: str) -> DiscoveryResult:
        run.given_up = True
        run.output.clear()
        run.deadline = now + self._deadline_s
        processes.kill_group(run.child)
        return DiscoveryResult(failed=_failure_text(why))

    def _read_pipe(self, run: _Run) -> None:
        while len(run.output) <= self._max_bytes and not run.given_up:
            try:
                piece = os.read(run.pipe, _PIPE_BYTES)
            except BlockingIOError:
                return
            if not piece:
                return
            run.output += piece


def _failure_text(why: str) -> str:
    return f"the look at the node {why} and was ended"


def _decode_result(output: bytearray, how: str) -> DiscoveryResult:
    try:
        return _RESULT.decode(output)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return DiscoveryResult(
            failed=f"the look at the node ended without a result ({how}), see the log"
        )


def _children_cpu_s() -> float:
    """Return the CPU time of all processes reaped so far (getrusage(2))."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _confined_discovery(
    root: Path, needs: Needs, pods: PodResourcesQuery | None
) -> DiscoveryResult:
    keep_only(*DISCOVERY_KEEPS, *(DDPTOOL_KEEPS if needs.ddp_profiles else ()))
    limits.raise_oom_score()  # a worker reports it if that fails
    return _run_discovery(root, needs, pods)


def _run_discovery(root: Path, needs: Needs, pods: PodResourcesQuery | None) -> DiscoveryResult:
    result = scan.scan_node(root, needs)
    if pods is None or result.failed is not None:
        return result
    return msgspec.structs.replace(
        result,
        held=pod_resources.list_pod_devices(pods.folder / pod_resources.SOCKET, pods.resources),
    )


def _child_main(pipe: int, discover: Callable[[], DiscoveryResult], deadline_s: float) -> int:
    """Run the discovery in the forked process. Processes that it starts are in its group."""
    try:
        os.setpgid(0, 0)
        # Without a supervisor no other process ends it (setitimer(2): SIGALRM does).
        signal.setitimer(signal.ITIMER_REAL, deadline_s + _GRACE_S)
        with open(pipe, "wb", closefd=False) as file:
            file.write(msgspec.msgpack.encode(discover()))
    except BrokenPipeError:
        return Exit.DRAINED  # the result is not needed any more
    except BaseException:  # noqa: BLE001 - the last frame of this process
        log.write_crash(traceback.format_exc())
        return Exit.CRASHED
    return Exit.DRAINED
