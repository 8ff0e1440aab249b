"""State of the pool: verdicts, prepared answers and the kubelet's list.

The cost of a step depends on what has changed and not on the size of the pool.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Final

import msgspec

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.health import Judged, Verdict
from rbln_worker.contract.pool import PoolName
from rbln_worker.core.allocation.cdi import Mode
from rbln_worker.core.allocation.device_allocation import DeviceAllocation, env_names
from rbln_worker.core.allocation.given import Given
from rbln_worker.core.allocation.host_facts import Exists
from rbln_worker.core.allocation.providers.registry import allocation_reads
from rbln_worker.core.health.device_health import without_link
from rbln_worker.core.pool_snapshot import HeldPool
from rbln_worker.given_nodes import GivenNodes
from rbln_worker.health.inspect import CheckResult, answer_without_files
from rbln_worker.health.tracker import HealthTracker
from rbln_worker.host_files import HostFiles
from rbln_worker.kubelet.prepared import AnswerInputs, PreparedAnswers, revise_answers
from rbln_worker.spec import PreStartChoice

MAX_INCOMPLETE: Final = 32
"""Maximum number of incomplete devices with early checks; more wait for the next full check."""


class StateChange(msgspec.Struct, frozen=True):
    """Changes of verdicts."""

    first: bool
    """True for the first verdicts."""
    before: Mapping[DeviceId, Verdict]
    """Previous verdicts that have changed or were removed."""
    after: Mapping[DeviceId, Verdict]
    """New verdicts."""


class PoolState:
    """The pool's state: takes the desired state and results of health checks."""

    def __init__(
        self,
        pool: PoolName,
        mode: Mode,
        files: HostFiles,
        *,
        pre_start: PreStartChoice = "auto",
        on_deadline: Callable[[], None],
        request_check: Callable[[DeviceId], None],
    ) -> None:
        """Pass ``on_deadline`` and ``request_check`` to the tracker; write specs with ``files``."""
        self._mode = mode
        self._files = files
        self._pre_start = pre_start
        self._tracker = HealthTracker(on_deadline=on_deadline, request_check=request_check)
        self.held: HeldPool | None = None
        """The newest desired state."""
        self._applied: HeldPool | None = None
        """The desired state that the kubelet's list is based on."""
        self._changed: set[DeviceId] = set()
        """Devices with changes since the last conclusion."""
        self._answers: dict[DeviceId, DeviceAllocation] = {}
        """The last answers, by device."""
        self._unusable: dict[DeviceId, str] = {}
        """Reasons why containers could not use the devices, from the last health check."""
        self._files_version = 0
        """The edition of the files at the last conclusion."""
        self._watched_nodes: set[str] = set()
        """Nodes whose existence affects the answers of the devices of ``_watched_for``."""
        self._watched_for: HeldPool | None = None
        """The desired state for which ``_watched_nodes`` was computed."""
        self._given = GivenNodes()
        self._judged: tuple[Judged, ...] = ()
        self._judged_from: Mapping[DeviceId, Verdict] | None = None
        self.prepared = PreparedAnswers(pool, env_names(pool))

    @property
    def all_judged(self) -> tuple[Judged, ...]:
        """All verdicts, sorted by device."""
        verdicts = self._tracker.verdicts
        if verdicts is not self._judged_from:
            self._judged = tuple(Judged(one, verdicts[one]) for one in sorted(verdicts))
            self._judged_from = verdicts
        return self._judged

    def set_desired(self, after: HeldPool) -> set[DeviceId]:
        """Take a new desired state; return the devices that need a health check."""
        before, self.held = self.held, after
        known = before.devices if before else {}
        told = {one for one, value in after.devices.items() if known.get(one) is not value}
        told |= known.keys() - after.devices.keys()
        self._tracker.set_desired(after.devices, told, listing=self._applied is not None)
        self._changed |= told
        if before is None or before.pool != after.pool:
            return set(after.devices)
        return {
            one
            for one in told & after.devices.keys()
            if one not in known or without_link(known[one]) != without_link(after.devices[one])
        }

    def take_given(self, after: Given) -> None:
        """Take the nodes that living pods were given."""
        self._changed |= self._given.set_given(after)

    def answers_with(
        self, found: Mapping[DeviceId, CheckResult]
    ) -> dict[DeviceId, DeviceAllocation]:
        """Return the answers of all devices, updated with these results."""
        if self.held is None:
            return {}
        return {device: self._answer_for(self.held, device, found) for device in self.held.devices}

    def devices_using(self, nodes: Collection[str]) -> set[DeviceId]:
        """Return the devices that a change of these nodes in /dev may affect.

        These are the devices whose containers get them, incomplete devices, and all devices if
        answers depend on one of these nodes.
        """
        held = self.held
        if held is None or not nodes:
            return set()
        if held is not self._watched_for:
            devices = held.devices.values()
            asked = {need for one in devices for need in allocation_reads(one, held.pool)}
            self._watched_nodes = {need.path for need in asked if isinstance(need, Exists)}
            self._watched_for = held
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
        if not found and self._files.spec_missing and self.held is not None:
            found = set(islice(self.held.devices, 1))  # a check of any device writes the spec
        return found if len(found) <= MAX_INCOMPLETE else set()

    def reevaluate(self) -> StateChange | None:
        """Update the state without a health check, after a new desired state or a deadline."""
        # There are no verdicts before the first check, and answers belong to one pool.
        if self.held is None or self._applied is None or self.held.pool != self._applied.pool:
            return None
        return self.apply_results({})

    def apply_results(self, found: Mapping[DeviceId, CheckResult]) -> StateChange | None:
        """Update the state with these results; return the changes, None if there are none."""
        held, last = self.held, self._applied
        if held is None:
            return None
        told, self._changed = self._changed, set()
        touched = told | found.keys() | self._tracker.overdue_devices()
        edition = self._files.version
        other_pool = last is None or last.pool != held.pool
        if other_pool or edition != self._files_version:
            touched |= held.devices.keys() | self.prepared.listed.keys()
            told = touched
        self._files_version = edition
        moved = other_pool or any(_place_of(last, one) != _place_of(held, one) for one in told)
        learnt = self._update_answers(held, found, touched)
        touched |= self._given.devices_sharing(told | learnt)
        self._tracker.add_evidence({device: finding.evidence for device, finding in found.items()})
        verdicts, hidden = self._tracker.verdicts, self._tracker.hidden
        judged = self._tracker.evaluate_devices(
            held.pool,
            touched,
            lambda one: self._files.spec_problem(held.pool, self._answers[one]),
            lambda one: self._given.allocation_obstacle(held, self._answers, one),
        )
        self._applied = held
        changed = told | learnt | judged.keys() | (hidden ^ self._tracker.hidden)
        if not changed and last is not None:
            return None
        sure, unknown = self._given.restart_refusals(held, self._answers)
        pre_start = self._pre_start == "always" or (self._pre_start == "auto" and bool(sure))
        self.prepared = msgspec.structs.replace(
            revise_answers(self.prepared, self._answer_inputs(held, changed), changed, moved=moved),
            restart_refusals={**sure, **unknown},
            pre_start=pre_start,
        )
        return StateChange(
            first=last is None,
            before={one: verdicts[one] for one in judged if one in verdicts},
            after={one: verdict for one, verdict in judged.items() if verdict is not None},
        )

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

    def _answer_inputs(self, held: HeldPool, changed: Iterable[DeviceId]) -> AnswerInputs:
        return AnswerInputs(
            pool=held.pool,
            devices=held.devices,
            answers=self._answers,
            verdicts=self._tracker.verdicts,
            refusals={
                one: why
                for one in changed
                if one in held.devices and (why := self._refusal_reason(one))
            },
            hidden=self._tracker.hidden,
            mode=self._mode if self._files.uses_cdi(held.pool) else "off",
        )

    def _refusal_reason(self, device: DeviceId) -> str:
        verdict = self._tracker.verdicts[device]
        if not verdict.healthy:
            return verdict.reason
        # A suspect device may lack a node; the kubelet gets Unhealthy later.
        return self._unusable.get(device) or self._answers[device].busy


def _place_of(held: HeldPool | None, name: DeviceId) -> tuple[object, ...] | None:
    """Return the facts of a device that its layout depends on."""
    device = held.devices.get(name) if held else None
    if device is None:
        return None
    function = device.function
    group = function.iommu_group
    return function.bdf, function.product, function.numa_node, function.bridges, device.pf, group
