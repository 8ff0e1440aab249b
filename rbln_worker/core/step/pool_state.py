"""State of the pool: the desired state, verdicts and answers.

The cost of a step depends on what has changed and not on the size of the pool.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.health import Judged, Verdict
from rbln_worker.core.allocation.device_allocation import DeviceAllocation, answer_without_files
from rbln_worker.core.allocation.given import Given, PreStartChoice
from rbln_worker.core.allocation.given_nodes import GivenNodes
from rbln_worker.core.allocation.host_facts import Exists
from rbln_worker.core.allocation.providers.registry import allocation_reads
from rbln_worker.core.health.device_health import without_link
from rbln_worker.core.health.evidence import CheckResult
from rbln_worker.core.health.health_record import Timestamp
from rbln_worker.core.health.tracker import HealthTracker
from rbln_worker.core.pool_snapshot import HeldPool
from rbln_worker.core.step.effects import PublishAnswers
from rbln_worker.core.step.spec_state import SpecState

MAX_INCOMPLETE: Final = 32
"""Maximum number of incomplete devices with early checks; more wait for the next full check."""


class PoolState:
    """The pool's state: takes the desired state and results of health checks."""

    def __init__(self, spec: SpecState, pre_start: PreStartChoice = "auto") -> None:
        """Evaluate devices with ``spec``, which may have problems."""
        self._spec = spec
        self._pre_start = pre_start
        self.tracker = HealthTracker()
        self.held: HeldPool | None = None
        """The newest desired state."""
        self._applied: HeldPool | None = None
        """The desired state that the kubelet's list is based on."""
        self._changed: set[DeviceId] = set()
        """Devices with changes since the last conclusion."""
        self._moved = False
        """True if devices came, left or changed since then, in more than links."""
        self._answers: dict[DeviceId, DeviceAllocation] = {}
        """The last answers, by device."""
        self._unusable: dict[DeviceId, str] = {}
        """Reasons why containers could not use the devices, from the last health check."""
        self._spec_version = 0
        """The version of the spec at the last conclusion."""
        self._watched_nodes: set[str] = set()
        """Nodes whose existence affects answers of devices."""
        self._given = GivenNodes()
        self.all_judged: tuple[Judged, ...] = ()
        """All verdicts, sorted by device."""

    def set_desired(self, after: HeldPool) -> set[DeviceId]:
        """Take a new desired state; return the devices that need a health check."""
        before, self.held = self.held, after
        known = before.devices if before else {}
        told = {one for one, value in after.devices.items() if known.get(one) != value}
        told |= known.keys() - after.devices.keys()
        self.tracker.set_desired(after.devices, told, listing=self._applied is not None)
        self._changed |= told
        is_new = before is None or before.pool != after.pool
        altered = {
            one
            for one, device in after.devices.items()
            if is_new
            or one not in known
            or (one in told and without_link(known[one]) != without_link(device))
        }
        if altered or not told <= after.devices.keys():
            self._moved = True
            devices = after.devices.values()
            reads = {need for one in devices for need in allocation_reads(one, after.pool)}
            self._watched_nodes = {need.path for need in reads if isinstance(need, Exists)}
        return altered

    def take_given(self, after: Given) -> None:
        """Take the nodes that living pods were given."""
        self._changed |= self._given.set_given(after)

    def answers_with(
        self, held: HeldPool, found: Mapping[DeviceId, CheckResult]
    ) -> dict[DeviceId, DeviceAllocation]:
        """Return the answers of all devices, updated with these results."""
        return {device: self._answer_for(held, device, found) for device in held.devices}

    def devices_using(self, nodes: Collection[str]) -> set[DeviceId]:
        """Return the devices that a change of these nodes in /dev may affect.

        These are the devices whose containers get them, incomplete devices, and all devices if
        answers depend on one of these nodes.
        """
        held = self.held
        if held is None or not nodes:
            return set()
        if not self._watched_nodes.isdisjoint(nodes):
            return set(held.devices)
        return {
            one
            for one in held.devices
            if one not in self._answers
            or self._unusable.get(one)
            or any(node.host in nodes for node in self._answers[one].nodes)
        }

    def incomplete_devices(self) -> set[DeviceId]:
        """Return a few devices that lack a node or a file; none if there are too many."""
        found = {one for one, why in self._unusable.items() if why}
        return found if len(found) <= MAX_INCOMPLETE else set()

    def reevaluate(self, now: Timestamp) -> PublishAnswers | None:
        """Update the state without a health check, after a new desired state or a deadline."""
        # There are no verdicts before the first check, and answers belong to one pool.
        if self.held is None or self._applied is None or self.held.pool != self._applied.pool:
            return None
        return self.apply_results({}, now)

    def apply_results(
        self, found: Mapping[DeviceId, CheckResult], now: Timestamp
    ) -> PublishAnswers | None:
        """Update the state with these results; return the changes, None if there are none."""
        held, last = self.held, self._applied
        if held is None:
            return None
        told, self._changed = self._changed, set()
        touched = told | found.keys() | self.tracker.overdue_devices(now.at)
        other_pool = last is None or last.pool != held.pool
        if other_pool or self._spec.version != self._spec_version:
            touched |= held.devices.keys() | (last.devices.keys() if last else set())
            told = touched
        self._spec_version = self._spec.version
        moved, self._moved = other_pool or self._moved, False
        learnt = self._update_answers(held, found, touched)
        touched |= self._given.devices_sharing(told | learnt)
        evidence = {device: finding.evidence for device, finding in found.items()}
        self.tracker.add_evidence(evidence, now.at)
        verdicts, hidden = self.tracker.verdicts, self.tracker.hidden
        judged = self.tracker.evaluate_devices(
            held.pool,
            touched,
            now,
            lambda one: self._spec.device_problem(held.pool, self._answers[one]),
            lambda one: self._given.allocation_obstacle(held, self._answers, one),
        )
        self._applied = held
        changed = told | learnt | judged.keys() | (hidden ^ self.tracker.hidden)
        if not changed and last is not None:
            return None
        if judged:
            after = self.tracker.verdicts
            self.all_judged = tuple(Judged(one, after[one]) for one in sorted(after))
        return self._publish_answers(held, frozenset(changed), verdicts, judged, moved=moved)

    def _update_answers(
        self, held: HeldPool, found: Mapping[DeviceId, CheckResult], touched: Iterable[DeviceId]
    ) -> set[DeviceId]:
        """Update the answers; return the devices with a different one."""
        learnt = set()
        for device in touched:
            before = self._answers.get(device), self._unusable.get(device, "")
            if device in held.devices:
                self._answers[device] = self._answer_for(held, device, found)
                finding = found.get(device)
                if finding is not None and finding.answer is not None:
                    self._unusable[device] = finding.unusable
            else:
                self._answers.pop(device, None)
                self._unusable.pop(device, None)
            self._given.update_nodes(device, before[0], self._answers.get(device))
            if before != (self._answers.get(device), self._unusable.get(device, "")):
                learnt.add(device)
        return learnt

    def _answer_for(
        self, held: HeldPool, device: DeviceId, found: Mapping[DeviceId, CheckResult]
    ) -> DeviceAllocation:
        return (
            (device in found and found[device].answer)
            or self._answers.get(device)
            or answer_without_files(held.devices[device], held.pool)
        )

    def _publish_answers(
        self,
        held: HeldPool,
        changed: frozenset[DeviceId],
        verdicts: Mapping[DeviceId, Verdict],
        judged: Mapping[DeviceId, Verdict | None],
        *,
        moved: bool,
    ) -> PublishAnswers:
        sure, unknown = self._given.restart_refusals(held, self._answers)
        return PublishAnswers(
            pool=held.pool,
            changed=changed,
            moved=moved,
            devices=held.devices,
            answers=self._answers,
            verdicts=self.tracker.verdicts,
            before={one: verdicts[one] for one in judged if one in verdicts},
            after={one: verdict for one, verdict in judged.items() if verdict is not None},
            refusals={
                one: why
                for one in changed
                if one in held.devices and (why := self._refusal_reason(one))
            },
            hidden=self.tracker.hidden,
            mode=self._spec.mode if self._spec.uses_cdi(held.pool) else "off",
            restart_refusals={**sure, **unknown},
            pre_start=self._pre_start == "always" or (self._pre_start == "auto" and bool(sure)),
        )

    def _refusal_reason(self, device: DeviceId) -> str:
        verdict = self.tracker.verdicts[device]
        if not verdict.healthy:
            return verdict.reason
        # A suspect device may lack a node; the kubelet gets Unhealthy later.
        return self._unusable.get(device) or self._answers[device].busy
