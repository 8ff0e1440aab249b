"""GetPreferredAllocation: an answer to any request, whatever fails.

An error would fail the pod's admission, although this is only a preference. So the only error is
the refusal that a pool is configured for; after a bug the answer has no preference.
"""

import asyncio
import logging
from itertools import islice
from typing import Final

from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.core.preferred.budget import MAX_STEPS, Budget
from rbln_worker.core.preferred.choose import PreferenceRefused, Preferred, choose_devices
from rbln_worker.core.preferred.topology import PoolTopology
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb

MAX_CONTAINERS: Final = 64
"""Maximum number of containers of one call with a preference; the kubelet sends one at a time."""


_EMPTY: Final = pb.PreferredAllocationResponse(
    container_responses=[pb.ContainerPreferredAllocationResponse()]
).SerializeToString()

log = logging.getLogger(__name__)


class Preferences:
    """Preferred allocations of a pool."""

    def __init__(self, tally: WorkerCounters, steps: int = MAX_STEPS) -> None:
        """Count in ``tally``; ``steps``: the budget of a call."""
        self._counters = tally
        self._steps = steps
        self._cause = ""
        """The cause of the last failure."""
        self._failures = 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems for the status."""
        if not self._failures:
            return ()
        often = "once" if self._failures == 1 else f"{self._failures} times"
        text = f"preferred allocation failed {often}, devices were given as they come"
        return (make_problem(Code.PREFERENCE_FAILED, f"{text}: {self._cause}"),)

    async def preferred_response(
        self, known: PoolTopology, request: pb.PreferredAllocationRequest
    ) -> bytes | PreferenceRefused:
        """Return the preferred devices of each container, as a serialized message."""
        budget = Budget(self._steps)
        answer = pb.PreferredAllocationResponse()
        for container in islice(request.container_requests, MAX_CONTAINERS):
            chosen = self._choose_for(known, container, budget)
            if isinstance(chosen, PreferenceRefused):
                return chosen
            answer.container_responses.add(deviceIDs=chosen.devices)
            await asyncio.sleep(0)  # let other tasks run in between
        beyond = len(request.container_requests) - len(answer.container_responses)
        return answer.SerializeToString() + beyond * _EMPTY

    def _choose_for(
        self, known: PoolTopology, container: pb.ContainerPreferredAllocationRequest, budget: Budget
    ) -> Preferred | PreferenceRefused:
        available, must = container.available_deviceIDs, container.must_include_deviceIDs
        size = container.allocation_size
        try:
            chosen = choose_devices(known, available, must, size, budget)
        except Exception as error:  # noqa: BLE001 - whatever it is, it may not fail the pod
            self._record_failure(error)
            return Preferred(_any_devices(container))
        if isinstance(chosen, Preferred) and chosen.simply:
            self._counters.greedy_preferences += 1
            log.debug(
                "preferred allocation without a search: too many combinations",
                extra={"size": size, "available": len(available)},
            )
        return chosen

    def _record_failure(self, error: Exception) -> None:
        cause = f"{type(error).__name__}: {error}"[:200]
        self._failures += 1
        self._counters.failed_preferences += 1
        if cause != self._cause:  # the kubelet retries the admission of pods
            self._cause = cause
            log.error("preferred allocation failed, the first devices were chosen", exc_info=error)


def _any_devices(container: pb.ContainerPreferredAllocationRequest) -> tuple[DeviceId, ...]:
    """Return the devices that must be included, and any others up to the size."""
    must = set(container.must_include_deviceIDs)
    others = sorted(set(container.available_deviceIDs) - must)
    fill = others[: max(0, container.allocation_size - len(must))]
    return tuple(DeviceId(name) for name in sorted((*must, *fill)))
