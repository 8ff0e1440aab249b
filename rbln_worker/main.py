"""The first code of a worker after the fork, and its last."""

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from typing import TextIO

from rbln_worker.channel.dealer import SupervisorSocket
from rbln_worker.contract.exits import Exit
from rbln_worker.core.step.events import DrainRequested
from rbln_worker.process import limits, log
from rbln_worker.process.file_lock import try_lock
from rbln_worker.process.privileges import PrivilegeError, keep_only
from rbln_worker.spec import WorkerSpec
from rbln_worker.worker import Worker


def run_worker(boot: WorkerSpec) -> int:
    """Run a worker and return its exit code. The caller ends with os._exit."""
    try:
        return _live_as_worker(boot)
    except PrivilegeError as error:
        log.write_crash(f"{boot.pool}: cannot drop its privileges: {error}\n")
        return Exit.PRIVILEGED
    except BaseException as error:  # noqa: BLE001 - the last frame of this process
        # First, because a log line needs memory, too, and the error keeps used memory alive.
        lacks_memory = is_lack_of_memory(error) or not limits.can_start_threads(1)
        log.write_crash(traceback.format_exc())
        if not lacks_memory:
            return Exit.CRASHED
        most = f"{boot.memory_most} bytes, --worker-memory-max" if boot.memory_most else "no limit"
        log.write_crash(f"{boot.pool}: out of memory (limit: {most})\n")
        return Exit.OUT_OF_MEMORY


def is_lack_of_memory(error: BaseException) -> bool:
    """Return True if an error, or one of its group, means that there was no memory."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(is_lack_of_memory, error.exceptions))
    # A thread without memory for its stack is a RuntimeError without another mark (EAGAIN).
    return isinstance(error, MemoryError) or str(error) == "can't start new thread"


def _live_as_worker(boot: WorkerSpec) -> int:
    # First, while there is no other thread: privileges belong to a thread. A worker needs no
    # capability: sockets, lists and specs are in folders of its own user, the files of a device
    # that it reads are readable for all users (of the config space the first 64 bytes), and it does
    # not open nodes.
    keep_only()
    os.umask(0o077)
    limits.disable_core_dumps()
    limits.bound_memory(boot.memory_most)
    not_first = limits.raise_oom_score()
    boot.lock_path.parent.mkdir(mode=0o700, exist_ok=True)
    with _pool_lock(boot) as held:
        if held is None:
            return Exit.POOL_TAKEN
        # Only the owner may truncate the tail file, and a predecessor may still write to its own.
        if boot.is_successor:
            boot.tail_path.unlink(missing_ok=True)
        log.setup_log(boot.pool, boot.log_level, boot.log_format, boot.tail_path)
        if not_first:
            logging.getLogger(__name__).warning(
                "out of memory, the kernel may take the supervisor first", extra={"why": not_first}
            )
        tail = log.tail_descriptor()
        if tail is not None:
            # One thread's trace only: its first lines, which name the fault, have to fit in a
            # status.
            faulthandler.enable(tail, all_threads=False)
        return asyncio.run(_serve_pool(boot, held))


async def _serve_pool(boot: WorkerSpec, held: TextIO) -> Exit:
    loop = asyncio.get_running_loop()
    with SupervisorSocket(boot.run_dir) as link:
        worker = Worker(boot, link, owns_pool=_lock_check(boot, held))
        loop.add_signal_handler(signal.SIGTERM, worker.post, DrainRequested("SIGTERM"))
        # Ctrl-C reaches the whole process group; the supervisor drains its workers itself.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        return await worker.run()


def _lock_check(boot: WorkerSpec, held: TextIO) -> Callable[[], bool]:
    """Return a function that returns True while the pool belongs to this worker, by its lock file.

    False if another file has replaced it. If it was only removed, the next supervisor does not know
    this worker, but while there is no other file, no other worker serves the pool. A successor's
    lock is renamed when the pool becomes its own.
    """
    ours = os.fstat(held.fileno())
    places = (boot.successor_lock_path, boot.lock_path) if boot.is_successor else (boot.lock_path,)

    def owns_pool() -> bool:
        found = None
        for place in places:
            try:
                found = place.stat()
            except OSError:
                continue
            if os.path.samestat(ours, found):
                return True
        return found is None

    return owns_pool


@contextlib.contextmanager
def _pool_lock(boot: WorkerSpec) -> Iterator[TextIO | None]:
    """Lock the pool's lock file until this process ends (flock(2)); yield None if it is locked."""
    with (boot.successor_lock_path if boot.is_successor else boot.lock_path).open("a+") as file:
        if not try_lock(file.fileno()):
            yield None
            return
        file.truncate(0)
        driver = f" {boot.dra.driver}" if boot.dra else ""
        file.write(f"{os.getpid()} {boot.incarnation}{driver}\n")
        file.flush()
        yield file
