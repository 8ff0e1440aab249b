"""The front of a worker whose pool is exported by Dynamic Resource Allocation (DRA)."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc

from rbln_worker.contract.claims import CHECKPOINT, PreparedClaim
from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pod_devices import ResourceHolders
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.core.dra.claims import ClaimView
from rbln_worker.core.dra.rsd import groupable_npus
from rbln_worker.core.registration_events import EndpointChange
from rbln_worker.core.step.effects import PublishAnswers
from rbln_worker.core.step.events import ClaimsChanged
from rbln_worker.dra.checkpoint_file import CheckpointFile
from rbln_worker.dra.claim_files import ClaimFiles, DeviceBoard
from rbln_worker.dra.claim_groups import ClaimGroups, ReadEntries
from rbln_worker.dra.claim_records import ClaimRecords
from rbln_worker.dra.claim_store import ClaimStore
from rbln_worker.dra.cluster import ClusterConnection
from rbln_worker.dra.driver_plugin import DriverPlugin
from rbln_worker.dra.health_stream import HealthStream
from rbln_worker.dra.publisher import SlicePublisher
from rbln_worker.dra.rsd_tool import RsdGroups
from rbln_worker.dra.tool_process import LOCK_FILE, find_tool
from rbln_worker.host.boot import read_boot_id
from rbln_worker.kubelet import pod_resources
from rbln_worker.kubelet.front import Front
from rbln_worker.spec import DraStart, WorkerSpec, below_root


class DraFront(Front):
    """Exports a pool by DRA: a container's devices come from CDI specs, which are current."""

    def __init__(
        self,
        spec: WorkerSpec,
        start: DraStart,
        counters: WorkerCounters,
        *,
        post: Callable[[ClaimsChanged], None],
        on_refusal: Callable[[str, str, str], None],
    ) -> None:
        """``post`` takes events; ``on_refusal`` UID, name and reason of claims."""
        self._counters = counters
        self._driver = start.driver
        self._node = start.node
        self._health = HealthStream(start.node)
        folder = spec.kubelet_dirs.plugins / start.driver
        boot = read_boot_id()
        files = ClaimFiles(
            start.driver,
            start.node,
            folder=folder,
            spec_folder=spec.spec_folder,
            root=spec.root,
        )
        self._root = spec.root
        self._pod_resources = spec.kubelet_dirs.pod_resources / pod_resources.SOCKET
        self._checkpoint = CheckpointFile(folder / CHECKPOINT, lambda: files.find_entries(boot))
        self._cluster = ClusterConnection(start.kubeconfig)
        self._store = ClaimStore(
            self._cluster,
            ClaimRecords(files, self._checkpoint, boot),
            post=self._claims_changed,
            make_groups=self._make_groups,
        )
        self._post = post
        self._on_refusal = on_refusal
        self._refusals: dict[DeviceId, str] = {}
        self._publisher: SlicePublisher | None = None
        """None before there are credentials."""
        self._publish: Callable[[SlicePublisher], None] | None = None
        """A function that publishes the latest devices."""

    def _make_groups(self, claimed: ReadEntries) -> ClaimGroups:
        return ClaimGroups(self._open_groups, claimed, self._read_holders)

    def _open_groups(self) -> RsdGroups | None:
        lock = below_root(self._root, LOCK_FILE)
        tool = find_tool(self._root, lock)
        return RsdGroups(tool, lock, self._root) if tool else None

    async def _read_holders(self) -> ResourceHolders:
        return await asyncio.to_thread(pod_resources.list_pod_devices, self._pod_resources, None)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems with the API server, slices, and files and groups of claims."""
        texts = (
            (Code.API_SERVER_UNREACHABLE, self._cluster.problem),
            (Code.CDI_SPEC_NOT_WRITTEN, self._store.problem),
            (Code.CLAIMS_REBUILT, self._checkpoint.set_aside),
        )
        own = (make_problem(code, text, self._driver) for code, text in texts if text)
        slices = self._publisher.problems if self._publisher else ()
        return (*own, *slices, *self._store.groups.problems)

    def open_services(
        self, on_event: Callable[[EndpointChange], None]
    ) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the services of a new endpoint."""
        plugin = DriverPlugin(
            *(self._driver, self._node, self._store, self._health, self._counters),
            on_event=on_event,
            on_refusal=self._on_refusal,
        )
        return plugin.service_handlers()

    def publish_answers(self, answers: PublishAnswers) -> None:
        """Decide on claims with this, and send the health of all devices."""
        for device in answers.changed:
            self._refusals.pop(device, None)
        self._refusals.update(answers.refusals)
        gone = {one: device.gone for one, device in answers.devices.items() if device.gone}
        view = ClaimView(
            self._driver,
            self._node,
            answers.devices.keys() - answers.hidden,
            dict(self._refusals),
            gone,
        )
        listed = {one: answers.devices[one] for one in answers.devices if one in view.devices}
        board = DeviceBoard(
            answers.pool, self._node, listed, dict(answers.answers), dict(answers.verdicts)
        )
        self._store.groups.update_npus(groupable_npus(answers.devices, answers.answers))
        self._store.update_devices(view, board, answers.changed)
        self._health.publish_verdicts(answers.verdicts)
        self._publish = lambda publisher: publisher.publish(
            answers.pool, listed, dict(answers.verdicts), answers=board.answers
        )
        if self._publisher is not None:
            self._publish(self._publisher)

    def restore_files(self) -> None:
        """Write specs of prepared claims again that another program has removed."""
        self._store.restore_files()

    def start_tasks(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """Start to publish slices, and to look for groups of claims that are gone."""
        spawn(self._publish_slices())
        spawn(self._store.groups.check_forever())

    async def _publish_slices(self) -> None:
        client = await self._cluster.wait_client()
        publisher = SlicePublisher(
            client,
            driver=self._driver,
            node=self._node,
            counters=self._counters,
            post=lambda: None,  # the next heartbeat has the problems
        )
        self._publisher = publisher
        publisher.hold_devices(_claimed_devices(self._store.prepared))
        if self._publish is not None:
            self._publish(publisher)
        await publisher.run()

    async def end_calls(self, within_s: float, *, withdraws: bool) -> None:
        """Let calls and file work that have begun end; specs stay, because pods use them.

        Slices stay unless ``withdraws``: a successor has them, and the kubelet deletes those of a
        driver without sockets.
        """
        if withdraws and self._publisher is not None:
            await self._publisher.withdraw()
        await self._store.close(within_s)
        await self._cluster.close()

    def _claims_changed(self, claims: tuple[PreparedClaim, ...]) -> None:
        if self._publisher is not None:
            self._publisher.hold_devices(_claimed_devices(claims))
        self._post(ClaimsChanged(claims))


def _claimed_devices(claims: tuple[PreparedClaim, ...]) -> frozenset[DeviceId]:
    return frozenset(device for claim in claims for device in claim.devices)
