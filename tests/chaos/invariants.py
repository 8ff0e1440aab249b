"""What holds whatever is broken; each check returns what it found against it, one line each."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from time import monotonic
from typing import Final, NamedTuple

from rbln_supervisor.core.status import NodeStatus, WorkerStatus
from rbln_supervisor.events import agent_files
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.problem import Code
from rbln_worker.process.event_file import PREVIOUS_SUFFIX
from tests.chaos import journal, pools
from tests.chaos.load import Loss, forbidden
from tests.chaos.touch import Touch, Touches
from tests.chaos.world import World
from tests.sim.kubelet_records import Closed, Listed, Opened, Record, Registered, in_words

BRIEF: Final = 5
"""Of many like it so many are told."""


_CRASHED: Final = f"exit code {Exit.CRASHED.value} "


class Sight(NamedTuple):
    """What is compared before and after."""

    at: float
    """Monotonic seconds."""
    records: int
    losses: int
    silences: int
    log: int
    """Bytes."""
    pids: Mapping[str, int | None]
    endpoints: Mapping[str, str]
    files: frozenset[str]


def sight(world: World) -> Sight:
    """What is seen of a world at rest."""
    status = world.stack.status()
    return Sight(
        at=monotonic(),
        records=len(world.records),
        losses=len(world.load.losses),
        silences=len(world.pulse.silences),
        log=world.stack.log_file.stat().st_size,
        pids={name: pool.worker.pid for name, pool in status.pools.items()},
        endpoints={name: world.endpoint(name) for name in status.pools},
        files=files(world),
    )


def broken(world: World, before: Sight, touches: Touches) -> Iterator[str]:
    """What happened since ``before`` that these touches do not allow."""
    yield from _calls(world.load.losses[before.losses :])
    records = world.records[before.records :]
    yield from _streams(records, touches, before.endpoints)
    yield from repeated(records)
    status = world.stack.status()
    for name, pid in before.pids.items():
        now = status.pools[name].worker
        if touches.get(name, Touch.NOTHING) < Touch.WORKER and now.pid != pid:
            yield f"{name} has another worker: {pid}, then {now.pid} ({now.last_exit})"
        if now.pid != pid and (now.last_exit or "").startswith(_CRASHED):
            yield f"{name} ended by an error of its own: {now.last_log}"
    for silence in world.pulse.silences[before.silences :]:
        yield f"the supervisor did not answer: {silence.why}"
    yield from world.load.failures
    lines = journal.since(world.stack.log_file, before.log)
    yield from journal.errors(lines)
    yield from journal.untold(lines, records)


def unsettled(world: World, before: frozenset[str] | None) -> str:
    """The first thing in which the world differs from one where nothing is broken; or nothing."""
    status = world.status()
    if status is None:
        return "the supervisor does not answer"
    return next(chain(_differences(world, status), _files(world, before)), "")


def backoff_s(world: World) -> float:
    """The longest time that a worker has to wait for its next life."""
    status = world.status()
    workers: Iterable[WorkerStatus] = (
        (pool.worker for pool in status.pools.values()) if status else ()
    )
    return max((worker.backoff_s or 0.0 for worker in workers), default=0.0)


def files(world: World) -> frozenset[str]:
    """All that lies where we write, but for sockets of plugins.

    The former file of events comes when the present one is full, and stays.
    """
    root, kubelet = world.stack.root, world.kubelet
    folders = (
        world.stack.run_dir,
        kubelet.plugins,
        kubelet.registry,
        root / pools.DEVINFO.removeprefix("/"),
        root / "var/run/cdi",
    )
    return frozenset(
        str(path.relative_to(root.parent))
        for folder in folders
        if folder.is_dir()
        for path in folder.rglob("*")
        if path.parent not in {kubelet.plugins, kubelet.registry} or not path.is_socket()
        if path.suffix != PREVIOUS_SUFFIX
        if path.name not in agent_files.FILES  # with limits of their own
        if "claim" not in path.name  # claims come and go
    )


def _differences(world: World, status: NodeStatus) -> Iterator[str]:
    if not world.is_listed():
        listed = {name: world.kubelet.resource(name) for name in pools.REST}
        shown = {name: f"{seen.allocatable}/{seen.capacity}" for name, seen in listed.items()}
        yield f"the kubelet lists {shown}"
    if any(world.streams[pool] != 1 for pool in pools.REST):
        yield f"the kubelet holds streams {dict(world.streams)}"
    yield from world.dra.differences()
    if sorted(status.pools) != sorted(pools.NAMES):
        yield f"the supervisor has pools {sorted(status.pools)}"
        return
    for name in pools.NAMES:
        pool, devices = status.pools[name], pools.devices_of(name)
        # Nor any in doubt: what is unknown now may be Unhealthy in a moment.
        sick = {d: seen.reason for d, seen in pool.devices.items() if seen.phase != "healthy"}
        if sick or sorted(pool.devices) != sorted(devices):
            yield f"{name} has devices {sorted(pool.devices)}, sick {sick}"
        if pool.state != "serving" or not pool.registered or pool.reason:
            yield f"{name} is {pool.state}: {pool.reason}"
        if name in pools.REST and pool.endpoint != world.endpoint(name):
            yield f"{name} serves {pool.endpoint}, the kubelet asks {world.endpoint(name)}"
        # A worker says as long as it lives that its checkpoint was corrupt.
        if problems := [one for one in pool.problems if one.code is not Code.CLAIMS_REBUILT]:
            yield f"{name} has problems {problems}"
    if not status.supervisor.ready or status.supervisor.problems:
        yield f"the supervisor is not ready, or has problems {status.supervisor.problems}"
    yield from _remains(world, status)


def _files(world: World, before: frozenset[str] | None) -> Iterator[str]:
    now = files(world)
    if before is not None and now != before:
        yield f"left behind: {sorted(now - before)}, missing: {sorted(before - now)}"


def _remains(world: World, status: NodeStatus) -> Iterator[str]:
    """What belongs to nobody."""
    ours = {status.supervisor.pid, *(pool.worker.pid for pool in status.pools.values())}
    orphans = set(world.stack.processes()) - ours
    if orphans:
        yield f"processes {sorted(orphans)} belong to nobody"
    served = {pool.endpoint for pool in status.pools.values()}
    kubelet = world.kubelet
    sockets = {
        path.name
        for folder in (kubelet.plugins, kubelet.registry)
        if folder.is_dir()
        for path in folder.iterdir()
        if path.is_socket() and path != kubelet.socket
    }
    if sockets != served:
        yield f"sockets {sorted(sockets)} lie there, served are {sorted(map(str, served))}"


def _calls(losses: Iterable[Loss]) -> Iterator[str]:
    wrong = [loss for loss in losses if forbidden(loss)]
    for loss in wrong[:BRIEF]:
        touch = loss.touch.name
        yield f"a call to {loss.pool} (touched: {touch}) failed: {loss.code} {loss.details}"
    if len(wrong) > BRIEF:
        yield f"… and {len(wrong) - BRIEF} calls more"


def _streams(
    records: Iterable[Record], touches: Touches, endpoints: Mapping[str, str]
) -> Iterator[str]:
    for record in records:
        touch = touches.get(record.resource, Touch.NOTHING)
        least = Touch.LISTS if isinstance(record, Listed) else Touch.STREAMS
        if touch < least and not _is_late(record, endpoints):
            yield f"the kubelet saw what it should not{in_words((record,), record.at)}"


def _is_late(record: Record, endpoints: Mapping[str, str]) -> bool:
    """Whether a kubelet gives up a dial, after its 10 s, to a socket that is gone since long."""
    return (
        isinstance(record, Registered)
        and bool(record.error)
        and record.endpoint != endpoints.get(record.resource)
    )


def repeated(records: Iterable[Record]) -> Iterator[str]:
    """Messages that say what the one before them said."""
    last: dict[tuple[str, str], Listed] = {}
    for record in records:
        key = (record.resource, record.endpoint)
        match record:
            case Opened() | Closed():
                last.pop(key, None)
            case Registered():
                pass
            case Listed(devices=devices):
                if key in last and last[key].devices == devices:
                    yield f"{record.resource} sent the same list twice at {record.endpoint}"
                last[key] = record
