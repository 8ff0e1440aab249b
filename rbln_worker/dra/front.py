"""The front of a worker whose pool is exported by Dynamic Resource Allocation (DRA)."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

import grpc

from rbln_worker.contract.claims import CHECKPOINT, PreparedClaim
from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.core.dra.claims import ClaimView
from rbln_worker.core.dra.rsd import groupable_npus
from rbln_worker.core.dra.slices import desired_pool
from rbln_worker.core.registration_events import EndpointChange
from rbln_worker.core.step.effects import PublishAnswers
from rbln_worker.core.step.events import ClaimsChanged, SlicesSettled
from rbln_worker.dra.checkpoint_file import CheckpointFile
from rbln_worker.dra.claim_files import ClaimFiles, DeviceBoard
from rbln_worker.dra.claim_groups import ClaimGroups
from rbln_worker.dra.claim_records import ClaimRecords
from rbln_worker.dra.claim_store import ClaimStore
from rbln_worker.dra.driver_plugin import DriverPlugin
from rbln_worker.dra.health_stream import HealthStream
from rbln_worker.dra.publisher import SlicePublisher
from rbln_worker.host.boot import read_boot_id
from rbln_worker.kube.access import ClusterAccess
from rbln_worker.kube.client import ApiClient
from rbln_worker.kubelet import pod_resources
from rbln_worker.kubelet.front import Front
from rbln_worker.spec import DraStart, WorkerSpec

FIRST_PUBLICATION_S: Final = 20.0
"""Time for the first ResourceSlices, in seconds; then the pool serves without them."""


class DraFront(Front):
    """Exports a pool by DRA: a container's devices come from CDI specs, which are current."""

    def __init__(
        self,
        spec: WorkerSpec,
        start: DraStart,
        counters: WorkerCounters,
        *,
        post: Callable[[ClaimsChanged | SlicesSettled], None],
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
        self._checkpoint = CheckpointFile(folder / CHECKPOINT, lambda: files.find_entries(boot))
        self._client = ApiClient(ClusterAccess(start.kubeconfig))
        self._publisher = SlicePublisher(
            self._client, driver=start.driver, node=start.node, counters=counters
        )
        records = ClaimRecords(files, self._checkpoint, boot)
        pods = spec.kubelet_dirs.pod_resources / pod_resources.SOCKET
        self._store = ClaimStore(
            self._client,
            records,
            lambda claimed: ClaimGroups(spec.root, pods, claimed),
            post=self._claims_changed,
        )
        self._post = post
        self._on_refusal = on_refusal
        self._refusals: dict[DeviceId, str] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems with the API server, slices, and files and groups of claims."""
        texts = (
            (Code.CDI_SPEC_NOT_WRITTEN, self._store.problem),
            (Code.CLAIMS_REBUILT, self._checkpoint.set_aside),
        )
        own = (make_problem(code, text, self._driver) for code, text in texts if text)
        return (*own, *self._publisher.problems, *self._store.groups.problems)

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
        details = {one: answer.details for one, answer in answers.answers.items()}
        desired = desired_pool(answers.pool, self._node, listed, answers.verdicts, details)
        attributes = {one.name: one.attributes for one in desired.devices}
        board = DeviceBoard(answers.pool.name, dict(answers.answers), attributes)
        self._store.groups.update_npus(groupable_npus(answers.devices, answers.answers))
        self._store.update_devices(view, board, answers.changed)
        self._health.publish_verdicts(answers.verdicts)
        self._publisher.publish(desired)

    def restore_files(self) -> None:
        """Write specs of prepared claims again that another program has removed."""
        self._store.restore_files()

    def start_tasks(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """Start to publish slices, and to look for groups of claims that are gone."""
        spawn(self._publisher.run())
        spawn(self._wait_published())
        spawn(self._store.keep_files())
        spawn(self._store.groups.check_forever())

    async def _wait_published(self) -> None:
        """Let the pool be ready: without an API server it is, too, after some time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_PUBLICATION_S):
                await self._publisher.published.wait()
        self._post(SlicesSettled())

    async def end_calls(self, within_s: float, *, withdraws: bool) -> None:
        """Let calls and file work that have begun end; specs stay, because pods use them.

        Slices stay unless ``withdraws``: a successor has them, and the kubelet deletes those of a
        driver without sockets.
        """
        if withdraws:
            await self._publisher.withdraw()
        await self._store.close(within_s)
        await self._client.close()

    def _claims_changed(self, claims: tuple[PreparedClaim, ...]) -> None:
        self._publisher.hold_devices([device for claim in claims for device in claim.devices])
        self._post(ClaimsChanged(claims))
