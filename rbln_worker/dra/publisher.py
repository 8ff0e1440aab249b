"""Publishes a pool's devices as ResourceSlices, and keeps them as they should be.

A watch shows what the API server has: the kubelet deletes all slices of its node when it starts.
It only triggers: a round of writes begins with a list of its own, because a watch may be late.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.problem import Problem
from rbln_worker.core.dra.names import dra_device_name
from rbln_worker.core.dra.publication import MANY_FOREIGN, PublicationState
from rbln_worker.core.dra.reconcile import (
    SliceAction,
    StoredSlice,
    dropped_fields,
    is_foreign,
    plan_actions,
)
from rbln_worker.core.dra.resource_slice import COLLECTION, ResourceSlice
from rbln_worker.core.dra.slices import DesiredPool
from rbln_worker.core.kube.api_error import ApiError
from rbln_worker.core.kube.api_object import ApiObject
from rbln_worker.core.kube.pacing import CallBudget
from rbln_worker.kube.client import ApiClient, jittered_delay
from rbln_worker.kube.reflector import follow_list

BURST: Final = 10.0
"""Rounds of writes that may follow each other at once."""
INTERVAL_S: Final = 0.25
"""Seconds from one round to the next after a burst: a fault has to be in the slice within 0.3 s."""
CHECK_AFTER_S: Final = 5.0
"""Seconds after a round of writes at which the watch must show the result."""
FIGHT_INTERVAL_S: Final = 5.0
"""Seconds between rounds while another program publishes under the driver's name."""
WITHDRAW_TIMEOUT_S: Final = 10.0
MAX_CONFLICTS: Final = 5
"""Rounds without a wait while another program writes at the same time."""
_NOT_FOUND: Final = 404
_CONFLICTS: Final = frozenset({_NOT_FOUND, 409})
"""The slices have changed meanwhile: read them again."""

log = logging.getLogger(__name__)


class SlicePublisher:
    """The ResourceSlices of one pool on this node."""

    def __init__(
        self,
        client: ApiClient,
        *,
        driver: str,
        node: str,
        counters: WorkerCounters,
    ) -> None:
        self._client = client
        self._counters = counters
        self._driver = driver
        self._node = node
        fields = quote(f"spec.nodeName={node},spec.driver={driver}", safe="")
        self._path = f"{COLLECTION}?fieldSelector={fields}"
        self.published = asyncio.Event()
        """Set for ever when the slices were made as desired for the first time."""
        self._claimed: frozenset[str] = frozenset()
        """Names of devices that prepared claims hold."""
        self._desired: DesiredPool | None = None
        self._observed: Mapping[str, ResourceSlice] | None = None
        """The slices by the watch; None: not listed yet."""
        self._node_uid = ""
        self._stored: dict[str, StoredSlice] = {}
        """What the server made of our writes, by name of the slice."""
        self._state = PublicationState(driver, node)
        self._budget = CallBudget(BURST, INTERVAL_S)
        self._failures = 0
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        """Held during a round of writes, and for ever after ``withdraw``."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems for the status."""
        return self._state.list_problems()

    def publish(self, desired: DesiredPool) -> None:
        """Publish these devices as soon as possible; the newest call wins."""
        desired = msgspec.structs.replace(desired, claimed=self._claimed)
        if desired != self._desired:
            self._desired = desired
            self._wake.set()

    def hold_devices(self, claimed: Collection[DeviceId]) -> None:
        """Take the devices that prepared claims hold: they stay, tainted, when unplugged."""
        self._claimed = frozenset(map(dra_device_name, claimed))
        if self._desired is not None:
            self.publish(self._desired)

    async def run(self) -> None:
        """Keep the slices as they should be, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_slices())
            group.create_task(self._write_rounds())

    async def withdraw(self) -> None:
        """Delete all slices of this driver and node for good, if the API server answers.

        The kubelet deletes them 30 s after the driver's last socket has gone.
        """
        try:
            async with asyncio.timeout(WITHDRAW_TIMEOUT_S):
                await self._lock.acquire()
                listed = await self._client.list(self._path, ResourceSlice)
                for one in listed.items:
                    if one.spec.pool.name == self._node:
                        await self._take_action(SliceAction("delete", one))
        except (ApiError, TimeoutError) as error:
            log.warning("slices not withdrawn", extra={"why": str(error) or "timed out"})

    async def _follow_slices(self) -> None:
        async for observed in follow_list(
            self._client, self._path, ResourceSlice, on_problem=self._watch_failed
        ):
            self._observed = observed
            self._counters.slices = len(observed)
            self._wake.set()

    def _watch_failed(self, error: ApiError | None) -> None:
        if error is not None:
            self._counters.count_api_error(error.status)
        self._state.watch_error = error

    async def _write_rounds(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._has_work():
                continue
            fight = FIGHT_INTERVAL_S if self._state.foreign >= MANY_FOREIGN else 0.0
            await asyncio.sleep(max(fight, self._budget.next_delay(loop.time())))
            self._budget = self._budget.after_call(loop.time())
            try:
                async with self._lock:
                    await self._write_round()
            except ApiError as error:
                self._failures += 1
                if error.status in _CONFLICTS and self._failures < MAX_CONFLICTS:
                    self._wake.set()
                else:
                    await self._wait_after(error)
            else:
                self._failures = 0

    def _has_work(self) -> bool:
        """Return True if the slices differ from the desired ones, by the watch; else note it."""
        if self._desired is None or self._observed is None:
            return False
        if not self._node_uid or self._state.write_error is not None:
            return True
        slices = self._observed.values()
        if plan_actions(slices, self._desired, self._node_uid, self._stored):
            return True
        self._state.dropped = dropped_fields(self._desired.devices, slices)
        self._state.left_out = self._desired.left_out
        return False

    async def _wait_after(self, error: ApiError) -> None:
        """Wait after a failed round; a change or the end of an outage ends the wait."""
        self._counters.count_api_error(error.status)
        log.warning("slices not published", extra={"why": str(error)})
        self._state.write_error = error
        await asyncio.sleep(error.retry_after_s)
        try:
            async with asyncio.timeout(jittered_delay(self._failures)):
                await self._wake.wait()
        except TimeoutError:
            self._wake.set()

    async def _write_round(self) -> None:
        """Read the slices and take all steps. Raises ApiError."""
        slices = (await self._client.list(self._path, ResourceSlice)).items
        if all(is_foreign(one, self._node, self._node_uid) for one in slices):
            # None is there, or the Node object is another one.
            node = await self._client.get(f"/api/v1/nodes/{quote(self._node)}", ApiObject)
            self._node_uid = node.metadata.uid
        if self._desired is None:
            return
        has_foreign = any(is_foreign(one, self._node, self._node_uid) for one in slices)
        names = {one.metadata.name for one in slices}
        self._stored = {name: one for name, one in self._stored.items() if name in names}
        actions = plan_actions(slices, self._desired, self._node_uid, self._stored)
        for action in actions:
            await self._take_action(action)
            self._counters.slice_writes += 1
        if actions:
            log.info("published slices", extra={"devices": len(self._desired.devices)})
            asyncio.get_running_loop().call_later(CHECK_AFTER_S, self._wake.set)
        self._state.write_error = None
        self._state.foreign = self._state.foreign + 1 if has_foreign else 0
        self.published.set()

    async def _take_action(self, action: SliceAction) -> None:
        body = action.body
        path = f"{COLLECTION}/{body.metadata.name}"
        if action.verb == "delete":
            try:
                await self._client.delete(path, body.metadata)
            except ApiError as error:
                if error.status != _NOT_FOUND:
                    raise
            return
        if action.verb == "update":
            stored = await self._client.update(path, body, ResourceSlice)
        else:
            stored = await self._client.create(COLLECTION, body, ResourceSlice)
        self._stored[stored.metadata.name] = StoredSlice(body.spec, stored.spec)
