"""A worker that another one of its pool replaces: the shell of core/predecessor.py."""

import contextlib
import logging
import signal

from rbln_supervisor import children
from rbln_supervisor.children import Life
from rbln_supervisor.core import predecessor
from rbln_supervisor.core.lifecycle import Act, State
from rbln_supervisor.core.predecessor import Predecessor, Stage
from rbln_supervisor.obituary import clear_dead_sockets
from rbln_worker.boot import Boot
from rbln_worker.contract.messages import Phase

log = logging.getLogger(__name__)


class ReplacedWorker:
    """A living worker that serves until the kubelet lists its successor."""

    def __init__(self, boot: Boot, life: Life, identity: bytes | None) -> None:
        self._boot = boot
        self._state = Predecessor()
        self.life = life
        self.identity = identity
        """Its address at the router; nothing that it says is needed any more."""

    @property
    def deadline(self) -> float | None:
        """When ``advance`` has to be called at the latest (monotonic seconds)."""
        return self._state.deadline

    def advance(self, successor: State, phase: Phase | None, now: float) -> None:
        """Signal it where its time has come."""
        self._state, act = predecessor.advance(self._state, successor, phase, now)
        match act:
            case Act.DRAIN:
                if successor is State.UP:
                    promote(self._boot)
                children.send(self.life, signal.SIGTERM)
            case Act.KILL:
                children.send(self.life, signal.SIGKILL)
            case _:
                pass

    def bury(self) -> None:
        """Take note of its end."""
        end = children.reap(self.life)
        facts = {"pool": self._boot.pool, "pid": self.life.pid, "how": end.how}
        if self._state.stage is Stage.SERVING:
            log.error("worker died before its successor was listed", extra=facts)
        else:
            log.info("replaced worker left", extra=facts)
        if self._state.stage is not Stage.LEAVING:  # it had no time to remove its sockets
            clear_dead_sockets(self._boot)


def promote(boot: Boot) -> None:
    """Put the successor's lock in the place of its predecessor's: the pool is its own from now on.

    The predecessor sees that, too, and leaves even if nobody can signal it any more.
    """
    with contextlib.suppress(OSError):  # not locked yet: promoted when it says hello
        boot.successor_lock_path.replace(boot.lock_path)
