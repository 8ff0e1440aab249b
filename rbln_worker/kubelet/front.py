"""The front of a worker: what the kubelet gets from it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

import grpc

from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.pool import PoolName
from rbln_worker.contract.problem import Problem
from rbln_worker.core.allocation.device_allocation import env_names
from rbln_worker.core.registration_events import EndpointChange
from rbln_worker.core.step.effects import PublishAnswers
from rbln_worker.kubelet.board import Board
from rbln_worker.kubelet.plugin import DevicePlugin
from rbln_worker.kubelet.preferences import Preferences
from rbln_worker.kubelet.prepared import PreparedAnswers, revise_answers


class Front(ABC):
    """A way to export a pool. By default it has no problems, tasks or files."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems for the status."""
        return ()

    @property
    def pre_start(self) -> bool:
        """True if the kubelet has to call PreStartContainer."""
        return False

    @abstractmethod
    def open_services(
        self, on_event: Callable[[EndpointChange], None]
    ) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the services of a new endpoint; ``on_event`` takes what the kubelet does there."""

    @abstractmethod
    def publish_answers(self, answers: PublishAnswers) -> None:
        """Answer with this from now on."""

    def repeat_list(self) -> None:  # noqa: B027 - a DRA driver reads its slices back
        """Send the kubelet the list of devices again."""

    def restore_files(self) -> None:  # noqa: B027 - a pool's spec is a host file
        """Write files in the folder of CDI specs again that another program has removed."""

    def start_tasks(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:  # noqa: B027
        """Start what runs as long as the worker."""

    async def end_calls(self, within_s: float, *, withdraws: bool) -> None:  # noqa: B027
        """Let calls end before their sockets are closed.

        ``withdraws``: True if the pool is not exported in this way any more.
        """


class DevicePluginFront(Front):
    """Exports a pool by the device-plugin API: its calls do not wait, and it has no tasks."""

    def __init__(self, pool: PoolName, tally: WorkerCounters) -> None:
        """Count calls in ``tally``."""
        self._board = Board(PreparedAnswers(pool, env_names(pool)))
        self._preferences = Preferences(tally)
        self._counters = tally

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems of preferred allocations."""
        return self._preferences.problems

    @property
    def pre_start(self) -> bool:
        """True if the kubelet has to call PreStartContainer."""
        return self._board.prepared.pre_start

    def open_services(
        self, on_event: Callable[[EndpointChange], None]
    ) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the services of a new endpoint."""
        plugin = DevicePlugin(self._board, self._preferences, self._counters, on_event)
        return plugin.service_handlers()

    def publish_answers(self, answers: PublishAnswers) -> None:
        """Answer calls with this, and send the list if it differs."""
        self._board.publish_list(revise_answers(self._board.prepared, answers))

    def repeat_list(self) -> None:
        """Send each stream the list again."""
        self._board.repeat_list()
