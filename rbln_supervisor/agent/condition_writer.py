"""Keeps the optional condition of the Node, and removes it when it is switched off."""

import asyncio
import contextlib
import logging
from typing import Final

import msgspec

from rbln_supervisor.agent.state_file import StateFile
from rbln_supervisor.core.events.node_condition import (
    Body,
    NodeCondition,
    condition_patch,
    heartbeat_s,
    next_condition,
    removal_patch,
)
from rbln_supervisor.core.status import NodeStatus
from rbln_worker.core.kube.api_error import ApiError
from rbln_worker.kube.client import ApiClient, jittered_delay
from rbln_worker.process.event_file import epoch_now

REMOVE_TIMEOUT_S: Final = 1.5
"""Time for the removal when the agent ends; supervisord waits for 4 s."""

log = logging.getLogger(__name__)


class ConditionWriter:
    """Writes the condition when it changes, and now and then."""

    def __init__(self, client: ApiClient, node: str, kind: str, file: StateFile) -> None:
        """``kind``: the condition's type, empty for none."""
        self.kind = kind
        self.problem = ""
        self._client = client
        self._path = f"/api/v1/nodes/{node}/status"
        self._file = file
        self._due: NodeCondition | None = None
        self._changed = asyncio.Event()

    @property
    def _written(self) -> NodeCondition | None:
        return self._file.state.condition

    def _set_written(self, condition: NodeCondition | None) -> None:
        self._file.save(msgspec.structs.replace(self._file.state, condition=condition))

    def take_status(self, status: NodeStatus) -> None:
        """Write the condition soon if this status changes it."""
        if not self.kind:
            return
        devices = {
            f"{pool} {device}": one.health
            for pool, its in status.pools.items()
            for device, one in its.devices.items()
        }
        unhealthy = [name for name, health in sorted(devices.items()) if health != "Healthy"]
        earlier = self._due or self._written
        new = next_condition(self.kind, unhealthy, len(devices), earlier, epoch_now())
        if new != self._due:
            self._due = new
            self._changed.set()

    async def keep_written(self) -> None:
        """Write the condition; never ends, unless there is none and never was."""
        loop = asyncio.get_running_loop()
        started, failures = loop.time(), 0
        while self.kind or self._written:
            self._changed.clear()
            pause = heartbeat_s(loop.time() - started)
            try:
                await self._write_due()
            except ApiError as error:
                failures += 1
                self._note_problem(str(error))
                await asyncio.sleep(jittered_delay(failures))
                continue
            failures = 0
            self._note_problem("")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def remove_written(self) -> None:
        """Remove the condition, as far as the API server answers in time."""
        if self._written is None:
            return
        with contextlib.suppress(ApiError, TimeoutError):
            async with asyncio.timeout(REMOVE_TIMEOUT_S):
                await self._patch_status(removal_patch(self._written.kind))
            self._set_written(None)

    async def _write_due(self) -> None:
        """Write the condition, and remove one of another type. Raises ApiError."""
        if self._written is not None and self._written.kind != self.kind:
            await self._patch_status(removal_patch(self._written.kind))
            self._set_written(None)
        if (due := self._due) is None:
            return
        self._set_written(due)  # first: what an agent may have written is removed later
        await self._patch_status(condition_patch(due, epoch_now()))

    async def _patch_status(self, body: Body) -> None:
        await self._client.patch(self._path, body, dict[str, object])

    def _note_problem(self, problem: str) -> None:
        if problem and not self.problem:
            log.warning("the node's condition can't be written", extra={"why": problem})
        self.problem = problem
