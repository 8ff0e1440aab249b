"""A simulated worker, as far as the supervisor can tell."""

from collections.abc import Iterator
from typing import Final

from rbln_worker.contract.messages import (
    Heartbeat,
    Hello,
    Phase,
    Report,
    Snapshot,
    StateReport,
    StateRequest,
    ToSupervisor,
    ToWorker,
)
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.contract.version import VERSION
from rbln_worker.core.pool_snapshot import HeldPool, apply_snapshot

SPEC: Final = PoolSpec("x.io", "a", "accelerator")
OPTIONS: Final = "options"


class SimWorker:
    """A worker process, as far as the supervisor can tell."""

    def __init__(
        self, pid: int, *, options: str = OPTIONS, driver: str = "", held: HeldPool | None = None
    ) -> None:
        self.pid = pid
        self.incarnation = f"life {pid}"
        self.options = options
        self.driver = driver
        """Its DRA driver; empty: it serves the device-plugin API."""
        self.held = held
        self.hangs = False
        self.ends_on_term = True
        self.is_reaped = False

    @property
    def withdraws(self) -> bool:
        """Its state says that it is not exported by DRA any more."""
        return bool(self.driver and self.held and self.held.pool.dra is None)

    @property
    def address(self) -> bytes:
        return b"%d" % self.pid

    def hello(self) -> Hello:
        session, generation = (self.held.session, self.held.generation) if self.held else ("", 0)
        return Hello(
            SPEC.name, self.pid, self.incarnation, VERSION, session, generation, self.options
        )

    def receive(self, message: ToWorker) -> Iterator[ToSupervisor]:
        """Yield the answers to a message."""
        match message:
            case StateRequest():
                yield StateReport(
                    self.held.pool if self.held else None,
                    tuple(self.held.devices.values()) if self.held else (),
                )
            case Snapshot():
                self.held = apply_snapshot(self.held, message)
                yield Report(Phase.REGISTERED)
            case _:
                pass

    def beat(self) -> Heartbeat:
        return Heartbeat(self.held.session, self.held.generation) if self.held else Heartbeat()
