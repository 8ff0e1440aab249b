"""rbln-agent in the world: the Events that the API server has of all that happens."""

import contextlib
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final, Self

from rbln_supervisor.core.events.series import BURST, MAX_OUTBOX, MAX_SERIES, Delivery
from rbln_supervisor.events.agent_files import FILES
from rbln_worker.contract.events import Event
from rbln_worker.process.event_file import MAX_FILE_BYTES
from tests.chaos import journal, pools
from tests.chaos.touch import Touch, Touches
from tests.sim.agent import Agent
from tests.sim.dra_cluster import SimCluster
from tests.sim.event_book import EventBook
from tests.sim.kubelet_records import Record

MANY: Final = 60
"""So many Events wait that an agent has to be restarted now: one sends 30 at once, then few."""
FEW: Final = int(BURST) - 4
MAX_RESTARTS: Final = 40
SEND_S: Final = 45.0
MAX_STATE_BYTES: Final = 2 << 20

Wait = Callable[[Callable[[], object], str, float], float]


class AgentSide(Agent):
    """An agent and what is due from it, from ``with`` to the end of the block."""

    def __init__(self, run_dir: Path, cluster: SimCluster, under: tuple[str, ...]) -> None:
        super().__init__(run_dir, cluster.kubeconfig, under=under)
        self._cluster = cluster
        self._book = EventBook(run_dir)
        self._reads = (datetime.now(UTC).timestamp(),) * 2
        """Times of the last two readings: what happened a moment before one is written after it."""
        self._log_at = 0
        self.starts = 0
        self.most_waiting = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_running:
            self.end(signal.SIGKILL)

    def start(self) -> None:
        super().start()
        self.starts += 1

    @property
    def is_behind(self) -> bool:
        """Return True if so many Events wait that they have to be sent now."""
        return len(self.state.outbox) >= MANY

    @property
    def changes(self) -> int:
        """The number of changes that have their Events."""
        return self._book.due.total()

    def take_step(
        self, records: Iterable[Record], touches: Touches, *, sure: bool
    ) -> Iterator[str]:
        """Take what a step has recorded; yield what must not be.

        ``sure``: the clock did not jump.
        """
        events = self._book.read_new(sure=sure)
        (began, last), now = self._reads, datetime.now(UTC).timestamp()
        self._reads = last, now
        for event in events if sure else ():
            if not began <= event.at <= now:
                yield f"an event of another time: {began}, {event}, {now}"
        yield from _missing(events, records, touches)
        yield from self.unbounded()
        lines = journal.since(self.log_path, self._log_at)
        self._log_at = self.log_path.stat().st_size
        yield from journal.errors(lines)

    def wait_read(self, wait: Wait) -> None:
        """Wait until it has saved that it read all that is in the files now."""
        sizes = self.sizes()
        wait(lambda: self.has_read(sizes), "the agent has read all events", SEND_S)

    def settle(self, wait: Wait) -> Iterator[str]:
        """Have all Events sent, by agents that are killed; yield what is lost, or told twice."""
        self.wait_read(wait)
        for _ in range(MAX_RESTARTS):
            before = self.state
            if not before.outbox:
                break
            self.end(signal.SIGKILL)
            self.start()

            def is_sent(first: Sequence[Delivery] = before.outbox[:FEW]) -> bool:
                return not any(one in first for one in self.state.outbox)

            wait(is_sent, f"Events are sent: {before.outbox[0]}", SEND_S)
        state = self.state
        if state.outbox or state.dropped:
            yield f"{len(state.outbox)} Events are not sent, {state.dropped} were given up"
        yield from self._book.differences(self._cluster.act(self._objects))

    def _objects(self) -> list[dict[str, Any]]:
        return [one for path, one in self._cluster.api.store.objects.items() if "/events/" in path]

    def unbounded(self) -> Iterator[str]:
        """Yield what is larger than it may be, and a process that has ended."""
        if not self.is_running:
            yield "the agent has ended"
        state = self.state
        self.most_waiting = max(self.most_waiting, len(state.outbox))
        if len(state.outbox) > MAX_OUTBOX or len(state.series) > MAX_SERIES:
            yield f"the agent keeps {len(state.outbox)} Events, {len(state.series)} series"
        for path in chain(self.run_dir.iterdir(), (self.run_dir / "pools").iterdir()):
            most = MAX_STATE_BYTES if path.name in FILES else MAX_FILE_BYTES
            with contextlib.suppress(FileNotFoundError):  # the one that is written aside
                if path.is_file() and (size := path.stat().st_size) > most:
                    yield f"{path} has {size} bytes"


def _missing(events: Iterable[Event], records: Iterable[Record], touches: Touches) -> Iterator[str]:
    """Yield changes that the kubelet saw and no file of events has.

    A worker that begins says Healthy of each device that it has checked: no change.
    """
    written = Counter((one.pool, one.device, one.what) for one in events if one.kind == "device")
    for (pool, device, health), times in journal.changes(records).items():
        begins = touches.get(pool, Touch.NOTHING) is Touch.WORKER or pool not in pools.REST
        if not begins and written[pool, device, health] < times:
            yield (
                f"{device} of {pool} became {health} {times} times for the kubelet, "
                f"the file has it {written[pool, device, health]} times"
            )
