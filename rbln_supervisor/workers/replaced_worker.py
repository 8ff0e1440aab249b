"""The predecessor of a worker: acts as core/workers/predecessor.py decides."""

import contextlib
import logging
import signal

from rbln_supervisor.core.workers import predecessor
from rbln_supervisor.core.workers.lifecycle import Act, State
from rbln_supervisor.core.workers.predecessor import Predecessor, Stage
from rbln_supervisor.workers import processes
from rbln_supervisor.workers.exit_record import clear_dead_sockets
from rbln_supervisor.workers.processes import ChildProcess
from rbln_worker.contract.messages import Phase
from rbln_worker.spec import WorkerSpec

log = logging.getLogger(__name__)


class ReplacedWorker:
    """A living worker that serves until the kubelet lists its successor."""

    def __init__(self, spec: WorkerSpec, process: ChildProcess, identity: bytes | None) -> None:
        self._spec = spec
        self._state = Predecessor()
        self.process = process
        self.identity = identity
        """Its address at the router, to ignore its messages."""

    @property
    def next_deadline(self) -> float | None:
        """Latest time of the next call of ``send_due_signal`` (monotonic seconds)."""
        return self._state.deadline

    def send_due_signal(self, successor: State, phase: Phase | None, now: float) -> None:
        """Signal the predecessor if that is due."""
        self._state, act = predecessor.step_predecessor(self._state, successor, phase, now)
        if act is Act.DRAIN:
            if successor is State.UP:
                promote_successor(self._spec)
            processes.send(self.process, signal.SIGTERM)
        elif act is Act.KILL:
            processes.send(self.process, signal.SIGKILL)

    def reap(self) -> None:
        """Reap the process, and log its exit."""
        end = processes.reap(self.process)
        facts = {"pool": self._spec.pool, "pid": self.process.pid, "how": end.how}
        if self._state.stage is Stage.SERVING:
            log.error("worker died before its successor was listed", extra=facts)
        else:
            log.info("replaced worker left", extra=facts)
        if self._state.stage is not Stage.LEAVING:  # it could not remove its sockets
            clear_dead_sockets(self._spec)


def promote_successor(spec: WorkerSpec) -> None:
    """Replace the predecessor's lock by the successor's, which makes it the pool's worker.

    The predecessor detects that, and ends even if no supervisor can signal it any more.
    """
    with contextlib.suppress(OSError):  # not locked yet: promoted at its hello
        spec.successor_lock_path.replace(spec.lock_path)
