"""The agent's loop: new events, their Events in the outbox, and its problem for the status."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor.agent.condition_writer import ConditionWriter
from rbln_supervisor.agent.sender import EventSender
from rbln_supervisor.agent.sources import (
    EventSource,
    Holders,
    device_holders,
    new_problems,
    request_status,
)
from rbln_supervisor.agent.state_file import StateFile
from rbln_supervisor.core.events.occurrences import (
    Occurrence,
    find_occurrences,
    group_occurrences,
)
from rbln_supervisor.core.events.series import AgentState, add_groups
from rbln_supervisor.ctl.doctor import diagnose_node
from rbln_supervisor.events.agent_files import write_problem
from rbln_supervisor.options import last_options
from rbln_worker.contract.events import Event
from rbln_worker.contract.problem import Code, Problem, count_text, make_problem
from rbln_worker.kube.access import ClusterAccess
from rbln_worker.kube.client import ApiClient
from rbln_worker.process.event_file import epoch_now

POLL_INTERVAL_S: Final = 0.5
"""Interval between two checks of the files of events (seconds): a stat(2) each."""
SETTLE_S: Final = 0.3
"""Delay after the first new event: one cause has several."""
EXAMINE_INTERVAL_S: Final = 600.0
"""Interval between two examinations of the node (as rbln-ctl doctor's): half a second of CPU."""
FIRST_EXAMINATION_S: Final = 10.0
STATUS_RETRY_S: Final = 5.0
"""Time in which a supervisor that does not answer is asked again before Events go without pods."""

log = logging.getLogger(__name__)


class Agent:
    """One agent of one node."""

    def __init__(
        self, run_dir: Path, node: str, kubeconfig: Path | None, condition: str = ""
    ) -> None:
        """``condition``: type of the Node's condition; empty for none."""
        self._run_dir = run_dir
        self._node = node
        self._client = ApiClient(ClusterAccess(kubeconfig))
        self._file = StateFile(run_dir)
        self._sender = EventSender(self._client, self._file)
        self._events = EventSource(run_dir, self._file.state.positions)
        self._condition = ConditionWriter(self._client, node, condition, self._file)
        self._holders: Holders = {}
        """Pods by pool and device. A device that has left keeps its last ones."""
        self._written: Problem | None = None
        self._is_written = False

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sender.send_all())
                tasks.create_task(self._follow_events())
                tasks.create_task(self._examine_node())
                tasks.create_task(self._condition.keep_written())
        finally:
            await self._condition.remove_written()
            await self._client.close()

    async def _follow_events(self) -> None:
        await self._request_status()
        while True:
            if self._events.has_news() or self._file.problem:
                await asyncio.sleep(SETTLE_S)
                await self._take_events(self._events.read_new())
            self._write_problem()
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _take_events(self, events: Sequence[Event]) -> None:
        """Put the Events of new events into the outbox, with the positions behind these."""
        before = self._file.state.history
        occurrences, history = find_occurrences(events, before, epoch_now())
        concerns_pods = any(one.reason.series_by == "device" for one in occurrences)
        if concerns_pods or self._condition.kind or any(one.kind == "pod" for one in events):
            await self._request_status(patience_s=STATUS_RETRY_S if concerns_pods else 0.0)
        state = msgspec.structs.replace(
            self._file.state, positions=self._events.positions(), history=history
        )
        self._add_occurrences(occurrences, state)

    async def _examine_node(self) -> None:
        """Find problems that no file of events has, now and then; never ends."""
        await asyncio.sleep(FIRST_EXAMINATION_S)
        while True:
            diagnosis = await asyncio.to_thread(diagnose_node, last_options(self._run_dir))
            state = self._file.state
            added, present = new_problems(diagnosis.problems, state.problems, epoch_now())
            self._add_occurrences(added, msgspec.structs.replace(state, problems=present))
            await asyncio.sleep(EXAMINE_INTERVAL_S)

    def _add_occurrences(self, occurrences: Iterable[Occurrence], state: AgentState) -> None:
        new = add_groups(state, group_occurrences(occurrences), self._holders, self._node)
        self._sender.replace_state(new)

    async def _request_status(self, patience_s: float = 0.0) -> None:
        """Ask the supervisor; again for ``patience_s`` seconds: it may be starting."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience_s
        while True:
            status = await asyncio.to_thread(request_status, self._run_dir)
            if status is not None:
                self._holders = {**self._holders, **device_holders(status)}
                self._condition.take_status(status)
            if status is not None or loop.time() >= end:
                return
            await asyncio.sleep(POLL_INTERVAL_S)

    def _write_problem(self) -> None:
        """Write the problem for the status where it has changed."""
        problem = delivery_problem(
            self._file.state, self._sender.problem, self._file.problem, self._condition.problem
        )
        if problem == self._written and self._is_written:
            return
        try:
            write_problem(self._run_dir, problem)
        except OSError as error:
            if self._is_written:
                log.warning("problem not written", extra={"why": error})
            self._is_written = False
        else:
            self._written, self._is_written = problem, True


def delivery_problem(
    state: AgentState, refusal: str, unsaved: str, condition: str
) -> Problem | None:
    """Return the problem of an agent whose Events wait, or whose state can't be saved."""
    evidence = []
    if refusal:
        evidence.append(refusal)
    if unsaved:
        evidence.append(f"after a restart Events may be sent again: {unsaved}")
    if condition:
        evidence.append(f"the node's condition is not written: {condition}")
    if not evidence:
        return None
    text = f"{count_text(len(state.outbox), 'Event')} of this node can't be sent"
    if state.dropped:
        text = f"{text}; {state.dropped} were given up"
    return make_problem(Code.CLUSTER_EVENTS_NOT_SENT, text, "rbln-agent", tuple(evidence))
