"""The loop of a worker: the supervisor's word and its own looks at devices become answers."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Collection, Mapping
from typing import Any, Final

from rbln_worker import limits
from rbln_worker.boot import Boot
from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.health import Judged, Verdict
from rbln_worker.contract.messages import Hello, Holds, Nudge, Phase, Report, State
from rbln_worker.contract.version import VERSION
from rbln_worker.conversation import Conversation, Held, Words
from rbln_worker.core.answer import DeviceAnswer, env_names
from rbln_worker.core.health.case import without_link
from rbln_worker.core.health.evidence import SELDOM_S, look_again_s
from rbln_worker.core.health.pcie import Depth
from rbln_worker.core.inventory import Gap, Inventory, apply
from rbln_worker.core.tally import Tally
from rbln_worker.diary import Diary
from rbln_worker.files import Files
from rbln_worker.host.inotify import FolderWatch
from rbln_worker.judge import Judge
from rbln_worker.kubelet.prepared import Prepared, prepare
from rbln_worker.kubelet.translate import device_list
from rbln_worker.link import Link
from rbln_worker.prober import Finding, Prober, unread
from rbln_worker.registrar import Registrar

CLOSE_WITHIN_S: Final = 1.0
GRPC_THREADS: Final = 8
"""What it starts at least; on a machine of many cores it has a few more."""
_DEV_FOLDERS: Final = ("dev", "dev/vfio", "dev/infiniband", "dev/net")
"""Where the nodes lie that containers are given."""

log = logging.getLogger(__name__)


class Worker:
    """One pool, from its first snapshot to its drain."""

    def __init__(self, boot: Boot, link: Link) -> None:
        self._boot = boot
        self._tally = Tally(boot.earlier)
        self._diary = Diary()
        self._conversation = Conversation(
            link,
            Words(
                hello=self._hello,
                held=self._held,
                holds=self._holds,
                report=self._report,
                figures=lambda: self._tally.figures(failed_writes=self._files.failures),
                history=self._diary.after,
            ),
            hear=self._adopt,
            alone_s=boot.alone_s,
        )
        self._inventory: Inventory | None = None
        self._answers: Mapping[DeviceId, DeviceAnswer] = {}
        """The last ones that were found out."""
        self._unusable: dict[DeviceId, str] = {}
        """Why containers could not use them, by the last look."""
        self._verdicts: Mapping[DeviceId, Verdict] = {}
        self._hidden: frozenset[DeviceId] = frozenset()
        self._judge = Judge(overdue=self._reconsider, doubted=lambda one: self._look_at({one}))
        self._concluded: Inventory | None = None
        """The state of which the kubelet hears."""
        self._prepared = Prepared(boot.pool, env_names(boot.pool))
        self._files = Files(boot)
        self._prober = Prober(
            boot.root,
            host_visible=boot.host_visible,
            write_info=self._files.write_info,
            tally=self._tally,
        )
        self._group = asyncio.TaskGroup()
        self._registrar = Registrar(
            boot.kubelet_dir,
            boot.pool,
            boot.registration,
            lambda: self._prepared,
            tally=self._tally,
            on_change=self._standing_changed,
            spawn=self._group.create_task,
        )
        self._dev_folders = tuple(boot.root / folder for folder in _DEV_FOLDERS)
        self._end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._look_wanted = asyncio.Event()
        self._concluding = asyncio.Lock()
        """A conclusion builds on the one before it, and may wait for a file."""
        self._stale: set[DeviceId] = set()
        """Devices to look at next: what is known of them may have changed."""

    def drain(self, reason: str, code: Exit = Exit.DRAINED) -> None:
        """Begin to leave, and end with a code."""
        if not self._end.done():
            log.info("leaving", extra={"why": reason})
            self._end.set_result(code)

    async def run(self) -> Exit:
        """Serve until drained; an error that nobody handled is raised here."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._callback_failed)
        self._conversation.begin()
        with contextlib.ExitStack() as stack:
            self._watch_folders(stack)
            serving = asyncio.create_task(self._serve())
            await asyncio.wait({serving, self._end}, return_when=asyncio.FIRST_COMPLETED)
            try:
                return serving.result() if serving.done() else self._end.result()
            finally:
                serving.cancel()
                await self._registrar.close(CLOSE_WITHIN_S)
                self._files.save()  # last: a disk may keep it waiting

    def _callback_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # asyncio would log an error in a callback and go on; half a worker is worse than none.
        error = context.get("exception")
        if "handle" in context and error is not None and not self._end.done():
            self._end.set_exception(error)
        else:
            loop.default_exception_handler(context)

    async def _serve(self) -> Exit:
        # An error that nobody handled in any of these ends them all, and this life with them.
        async with self._group:
            self._group.create_task(self._conversation.beat())
            self._group.create_task(self._look())
        return Exit.DRAINED  # never: the two go on until they are cancelled

    def _watch_folders(self, stack: contextlib.ExitStack) -> None:
        folders = (*self._registrar.folders, *self._dev_folders)
        try:
            watch = stack.enter_context(FolderWatch(folders))
        except OSError as error:
            # fs.inotify.max_user_instances; the looks at intervals still see everything, later
            log.warning("no inotify: changes are seen later", extra={"why": error.strerror})
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(watch.fileno(), self._folders_changed, watch)
        stack.callback(loop.remove_reader, watch.fileno())

    def _folders_changed(self, watch: FolderWatch) -> None:
        touched = watch.drain()
        if touched.intersection(self._registrar.folders) and self._inventory is not None:
            self._registrar.look()
        if touched.intersection(self._dev_folders):
            self._look_at()

    # The supervisor

    def _hello(self) -> Hello:
        boot = self._boot
        return Hello(
            boot.pool, os.getpid(), boot.incarnation, VERSION, *self._held(), options=boot.digest
        )

    def _holds(self) -> Holds:
        held = self._inventory
        return Holds(held.pool, tuple(held.devices.values())) if held else Holds()

    def _held(self) -> Held:
        held = self._inventory
        return Held(held.session, held.generation) if held else Held()

    def _adopt(self, message: State) -> None:
        if isinstance(message, Nudge):
            self._look_at(message.devices)
            return
        before = self._inventory
        after = apply(before, message)
        if isinstance(after, Gap):
            self._conversation.want_snapshot()
            return
        self._inventory = after
        self._judge.adopt(after, listing=self._concluded is not None)
        known = before.devices if before and before.pool == after.pool else {}
        self._stale |= {
            device
            for device, value in after.devices.items()
            if device not in known or without_link(known[device]) != without_link(value)
        }
        self._look_wanted.set()
        self._reconsider()  # what the word says needs no file: it doesn't wait for any

    def _report(self) -> Report:
        if self._inventory is None:
            return Report(Phase.REGISTERING, reason="not told of its devices yet")
        return Report(
            phase=self._registrar.phase,
            reason=self._registrar.reason,
            registration=self._registrar.way,
            endpoint=self._registrar.endpoint,
            devices=tuple(
                Judged(device, verdict) for device, verdict in sorted(self._verdicts.items())
            ),
            registrations=self._registrar.registrations,
            problems=(
                *self._files.problems(self._inventory.pool),
                *self._registrar.preferences.problems,
            ),
            failed_writes=self._files.failures,
        )

    def _standing_changed(self) -> None:
        registrar = self._registrar
        listed = registrar.phase is Phase.REGISTERED
        self._diary.stands(listed=listed, way=registrar.way, reason=registrar.reason)
        self._conversation.tell()

    # The devices

    def _look_at(self, devices: Collection[DeviceId] = ()) -> None:
        """Look at these devices soon, at all where none is named."""
        if self._inventory is not None:
            self._stale.update(devices or self._inventory.devices)
            self._look_wanted.set()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        all_seen_at = whole_at = loop.time()
        while True:
            depth = Depth.WHOLE
            devices = self._inventory.devices.values() if self._inventory else ()
            try:
                async with asyncio.timeout_at(all_seen_at + look_again_s(devices)):
                    await self._look_wanted.wait()
            except TimeoutError:
                self._look_at()
                if loop.time() < whole_at + SELDOM_S:
                    depth = Depth.BRIEF
            self._look_wanted.clear()
            stale, self._stale = self._stale, set()
            held = self._inventory
            chosen = [held.devices[one] for one in stale if one in held.devices] if held else []
            if held is None or len(chosen) == len(held.devices):
                all_seen_at = loop.time()
                whole_at = all_seen_at if depth is Depth.WHOLE else whole_at
            if held is not None:
                self._group.create_task(self._follow(chosen, held, depth))

    async def _follow(self, chosen: list[Device], held: Inventory, depth: Depth) -> None:
        looked_at = {device.id: device for device in chosen}
        async for found in self._prober.look(chosen, held.pool, depth):
            async with self._concluding:
                await self._specify(found)
                now = self._inventory
                if now is None:
                    return
                # The supervisor's word may have changed under a slow look: then it says nothing.
                current = {
                    device: finding
                    for device, finding in found.items()
                    if device in now.devices
                    and without_link(now.devices[device]) == without_link(looked_at[device])
                    and now.pool == held.pool
                }
                changed = self._conclude(now, current)
                outdated = self._prober.missed() | (found.keys() - current.keys())
                if outdated:
                    self._look_at(outdated)
            if not changed and depth is Depth.BRIEF:
                continue
            self._files.settle(now.pool, now.devices)
            self._conversation.tell()  # files may have become a problem, or none any more

    async def _specify(self, found: Mapping[DeviceId, Finding]) -> None:
        """Before the kubelet hears of devices the runtime has to."""
        held = self._inventory
        if held is not None and self._boot.cdi != "off":
            await self._files.specify(held.pool, self._merged(held, found))

    def _merged(
        self, held: Inventory, found: Mapping[DeviceId, Finding]
    ) -> dict[DeviceId, DeviceAnswer]:
        return {
            device: (device in found and found[device].answer)
            or self._answers.get(device)
            or unread(value, held.pool)
            for device, value in held.devices.items()
        }

    def _reconsider(self) -> None:
        """Say what has to be said without a look: the word changed, or a deadline has passed."""
        now, last = self._inventory, self._concluded
        if self._end.done():  # a deadline that passes while the rest is taken down
            return
        # Before the first look there is nothing to say, and an answer is of one pool.
        if now is not None and last is not None and now.pool == last.pool:
            self._conclude(now, {})

    def _conclude(self, held: Inventory, found: Mapping[DeviceId, Finding]) -> bool:
        """Say what there is to say; whether it is anything new."""
        first = self._concluded is None
        answers = self._merged(held, found)
        self._judge.look({device: finding.evidence for device, finding in found.items()})
        unfiled = {
            device: why
            for device, answer in answers.items()
            if (why := self._files.unspecified(held.pool, answer))
        }
        verdicts = self._judge.judge(held.pool, unfiled)
        hidden = self._judge.hidden()
        unusable = {device: why for device, why in self._unusable.items() if device in answers}
        unusable |= {device: one.unusable for device, one in found.items() if one.answer}
        before = (self._answers, self._verdicts, self._hidden, self._unusable, self._concluded)
        if (answers, verdicts, hidden, unusable) == before[:4] and held is before[4]:
            return False
        self._answers = answers
        self._diary.judged(self._verdicts, verdicts)
        self._verdicts = verdicts
        self._hidden = hidden
        self._unusable = unusable
        self._concluded = held
        self._prepared = prepare(
            held.pool,
            self._prepared.names,
            held.devices,
            answers,
            {device: why for device in verdicts if (why := self._refusal(device))},
            self._boot.cdi if self._files.uses_cdi(held.pool) else "off",
        )
        listed = {d: device for d, device in held.devices.items() if d not in hidden}
        self._registrar.board.show(device_list(listed, verdicts, held.pool))
        if first:  # nothing is registered before there is something true to say
            if not limits.is_room_for(GRPC_THREADS):
                raise MemoryError(
                    "for the threads of gRPC, which waits for ever where it gets none"
                )
            self._group.create_task(self._registrar.run())
        self._conversation.tell()
        return True

    def _refusal(self, device: DeviceId) -> str:
        verdict = self._verdicts[device]
        if not verdict.healthy:
            return verdict.reason
        # One that is suspected may lack what its containers need: the kubelet hears of it later.
        return self._unusable.get(device) or self._answers[device].away
