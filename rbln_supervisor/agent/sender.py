"""Sends the Events of the outbox, in order, as fast as the node's budget and the server allow."""

import asyncio
import logging
from typing import Final

from rbln_supervisor.agent.state_file import StateFile
from rbln_supervisor.core.events.series import (
    BURST,
    INTERVAL_S,
    AgentState,
    Delivery,
    Outcome,
    after_call,
    call_outcome,
)
from rbln_worker.core.kube.api_error import ApiError
from rbln_worker.core.kube.pacing import CallBudget
from rbln_worker.kube.client import ApiClient, jittered_delay

EVENTS: Final = "/apis/events.k8s.io/v1/namespaces"
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409

log = logging.getLogger(__name__)


class EventSender:
    """The outbox' way to the API server."""

    def __init__(self, client: ApiClient, file: StateFile) -> None:
        self.problem = ""
        """Reason why the last call has failed; empty after a success."""
        self._client = client
        self._file = file
        self._budget = CallBudget(BURST, INTERVAL_S)
        self._failures = 0
        self._has_work = asyncio.Event()

    def replace_state(self, state: AgentState) -> None:
        """Save a state that may have more Events, then send them."""
        self._file.save(state)
        self._has_work.set()

    async def send_all(self) -> None:
        """Send what is due; never ends."""
        self._has_work.set()
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            while self._file.state.outbox:
                await asyncio.sleep(self._budget.next_delay(asyncio.get_running_loop().time()))
                delay = await self._send_one(self._file.state.outbox[0])
                if delay:
                    await asyncio.sleep(delay)

    async def _send_one(self, delivery: Delivery) -> float:
        """Send one Event; return the delay before the next (seconds)."""
        required_s = 0.0
        status = 200
        try:
            await self._call_server(delivery)
        except ApiError as error:
            status, required_s, problem = error.status, error.retry_after_s, str(error)
        else:
            problem = ""
        outcome = call_outcome(status)
        self._note_outcome(outcome, problem)
        self._file.save(after_call(self._file.state, delivery, outcome))
        if outcome in {Outcome.DONE, Outcome.DROP}:
            self._failures = 0
            return 0.0
        self._failures += 1
        return jittered_delay(self._failures, required_s)

    async def _call_server(self, delivery: Delivery) -> None:
        self._budget = self._budget.after_call(asyncio.get_running_loop().time())
        collection = f"{EVENTS}/{delivery.namespace}/events"
        if delivery.count > 1:
            path = f"{collection}/{delivery.name}"
            try:
                await self._client.patch(path, delivery.series_patch, dict[str, object])
            except ApiError as error:
                if error.status != _NOT_FOUND:  # the object has expired: it is made again
                    raise
            else:
                return
        try:
            await self._client.create(collection, delivery.full_body, dict[str, object])
        except ApiError as error:
            if error.status != _CONFLICT:  # an earlier call was received, its answer was not
                raise

    def _note_outcome(self, outcome: Outcome, problem: str) -> None:
        before, self.problem = self.problem, "" if outcome is Outcome.DONE else problem
        if outcome is Outcome.DROP:
            log.warning("the API server rejected an Event: dropped", extra={"why": problem})
        elif self.problem and not before:
            log.warning("cannot send an Event yet", extra={"why": problem})
        elif before and not self.problem:
            log.info("Events can be sent again")
