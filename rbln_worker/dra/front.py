"""The front of a worker whose pool is exported by Dynamic Resource Allocation (DRA)."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import grpc

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.core.dra.claims import ClaimView
from rbln_worker.core.registration_events import EndpointChange
from rbln_worker.core.step.effects import PublishAnswers
from rbln_worker.core.step.events import ClaimsChanged
from rbln_worker.dra.checkpoint_file import CheckpointFile
from rbln_worker.dra.claim_files import ClaimFiles, DeviceBoard
from rbln_worker.dra.claim_records import ClaimRecords
from rbln_worker.dra.claim_store import ClaimStore
from rbln_worker.dra.cluster import ClusterConnection
from rbln_worker.dra.driver_plugin import DriverPlugin
from rbln_worker.dra.health_stream import HealthStream
from rbln_worker.spec import DraStart, WorkerSpec

CHECKPOINT: Final = "checkpoint.json"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class DraFront:
    """Exports a pool by DRA."""

    pre_start = False
    """Always: a container's devices come from the CDI specs, which are current."""

    def __init__(
        self,
        spec: WorkerSpec,
        start: DraStart,
        *,
        post: Callable[[ClaimsChanged], None],
    ) -> None:
        """``post`` takes events."""
        self._pool = spec.pool
        self._driver = start.driver
        self._node = start.node
        self._health = HealthStream(start.node)
        folder = spec.kubelet_dirs.plugins / start.driver
        boot = _BOOT_ID.read_text().strip()
        files = ClaimFiles(
            start.driver,
            start.node,
            folder=folder,
            spec_folder=spec.spec_folder,
            root=spec.root,
        )
        self._cluster = ClusterConnection(start.kubeconfig)
        self._store = ClaimStore(
            self._cluster,
            ClaimRecords(
                files, CheckpointFile(folder / CHECKPOINT, lambda: files.find_entries(boot)), boot
            ),
            post=lambda claims: post(ClaimsChanged(claims)),
        )
        self._refusals: dict[DeviceId, str] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems with the files of claims."""
        why = self._store.problem
        return (make_problem(Code.CDI_SPEC_NOT_WRITTEN, why, self._pool),) if why else ()

    def open_services(
        self, on_event: Callable[[EndpointChange], None]
    ) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the services of a new endpoint."""
        plugin = DriverPlugin(self._driver, self._node, self._store, self._health, on_event)
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
        board = DeviceBoard(self._pool, dict(answers.answers))
        self._store.update_devices(view, board, answers.changed)
        self._health.publish_verdicts(answers.verdicts)

    def restore_files(self) -> None:
        """Write specs of prepared claims again that another program has removed."""
        self._store.refresh_files()

    def start_tasks(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """Start what runs as long as the worker."""

    async def close(self, within_s: float, *, withdraws: bool) -> None:  # noqa: ARG002
        """Let the file work that has begun end; specs stay, because pods use them."""
        await self._store.close(within_s)
        await self._cluster.close()
