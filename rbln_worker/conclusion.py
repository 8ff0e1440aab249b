"""What is known of a pool's devices, and what it comes to: verdicts, answers, the kubelet's list.

A step costs what has changed, not what there is: one device among thousands.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Final

import msgspec

from rbln_worker.boot import PreStartChoice
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.health import Judged, Verdict
from rbln_worker.contract.pool import PoolName
from rbln_worker.core.answer import DeviceAnswer, env_names
from rbln_worker.core.cdi import Mode
from rbln_worker.core.facts import There
from rbln_worker.core.given import Given
from rbln_worker.core.health.case import without_link
from rbln_worker.core.inventory import Inventory
from rbln_worker.core.providers.registry import needs
from rbln_worker.examiner import Finding, unread
from rbln_worker.files import Files
from rbln_worker.given_nodes import GivenNodes
from rbln_worker.judge import Judge
from rbln_worker.kubelet.prepared import Known, Prepared, revise

TROUBLED_MOST: Final = 32
"""More devices in trouble have to wait for the next look at all of them."""


class News(msgspec.Struct, frozen=True):
    """What is other than before."""

    first: bool
    """Nothing was said before."""
    before: Mapping[DeviceId, Verdict]
    """The verdicts that were others, or are no more."""
    after: Mapping[DeviceId, Verdict]
    """The verdicts that are."""


class Conclusion:
    """Takes the supervisor's word and what looks found, and says what follows when asked."""

    def __init__(
        self,
        pool: PoolName,
        mode: Mode,
        files: Files,
        *,
        pre_start: PreStartChoice = "auto",
        overdue: Callable[[], None],
        doubted: Callable[[DeviceId], None],
    ) -> None:
        """As Judge; ``files`` knows who can be claimed from the runtime."""
        self._mode = mode
        self._files = files
        self._pre_start = pre_start
        self._judge = Judge(overdue=overdue, doubted=doubted)
        self.held: Inventory | None = None
        """The supervisor's newest word."""
        self._concluded: Inventory | None = None
        """The one of which the kubelet hears."""
        self._told: set[DeviceId] = set()
        """Devices of which it says something else."""
        self._answers: dict[DeviceId, DeviceAnswer] = {}
        """The last ones that were found out."""
        self._unusable: dict[DeviceId, str] = {}
        """Why containers could not use them, by the last look."""
        self._edition = 0
        """Of the files, when the last conclusion was made."""
        self._asked: set[str] = set()
        """Nodes whose being there says what containers get …"""
        self._asked_of: Inventory | None = None
        """… of these devices."""
        self._given = GivenNodes()
        self._judged: tuple[Judged, ...] = ()
        self._judged_of: Mapping[DeviceId, Verdict] | None = None
        self.prepared = Prepared(pool, env_names(pool))

    @property
    def judged(self) -> tuple[Judged, ...]:
        """All verdicts, by device."""
        verdicts = self._judge.verdicts
        if verdicts is not self._judged_of:
            self._judged = tuple(Judged(one, verdicts[one]) for one in sorted(verdicts))
            self._judged_of = verdicts
        return self._judged

    def adopt(self, after: Inventory) -> set[DeviceId]:
        """Take the supervisor's word; the devices that have to be looked at for it."""
        before, self.held = self.held, after
        known = before.devices if before else {}
        told = {one for one, value in after.devices.items() if known.get(one) is not value}
        told |= known.keys() - after.devices.keys()
        self._judge.adopt(after.devices, told, listing=self._concluded is not None)
        self._told |= told
        if before is None or before.pool != after.pool:
            return set(after.devices)
        return {
            one
            for one in told & after.devices.keys()
            if one not in known or without_link(known[one]) != without_link(after.devices[one])
        }

    def take_given(self, after: Given) -> None:
        """Take what living pods were given."""
        self._told |= self._given.take(after)

    def merged(self, found: Mapping[DeviceId, Finding]) -> dict[DeviceId, DeviceAnswer]:
        """The answers of all devices, with what was found now."""
        if self.held is None:
            return {}
        return {device: self._answer(self.held, device, found) for device in self.held.devices}

    def concerned(self, nodes: Collection[str]) -> set[DeviceId]:
        """Devices of which something else may be known since these nodes in /dev came or went.

        Those whose containers get them, those that lack something, and all where it depends on
        such a node what containers get.
        """
        held = self.held
        if held is None or not nodes:
            return set()
        if held is not self._asked_of:
            asked = {need for one in held.devices.values() for need in needs(one, held.pool)}
            self._asked = {need.path for need in asked if isinstance(need, There)}
            self._asked_of = held
        if not self._asked.isdisjoint(nodes):
            return set(held.devices)
        return {
            one
            for one in held.devices
            if one not in self._answers
            or self._unusable.get(one)
            or any(node.host in nodes for node in self._answers[one].nodes)
        }

    def troubled(self) -> set[DeviceId]:
        """A few devices that lack something: a node, a file that can't be written."""
        found = {one for one, why in self._unusable.items() if why}
        if not found and self._files.lacks_spec and self.held is not None:
            found = set(islice(self.held.devices, 1))  # with any of them the spec is written anew
        return found if len(found) <= TROUBLED_MOST else set()

    def reconsider(self) -> News | None:
        """What follows without a look: the word has changed, or a deadline has passed."""
        # Before the first look there is nothing to say, and an answer is of one pool.
        if self.held is None or self._concluded is None or self.held.pool != self._concluded.pool:
            return None
        return self.conclude({})

    def conclude(self, found: Mapping[DeviceId, Finding]) -> News | None:
        """What follows from all that is known, with what was found now; None where nothing does."""
        held, last = self.held, self._concluded
        if held is None:
            return None
        told, self._told = self._told, set()
        touched = told | found.keys() | self._judge.overdue()
        edition = self._files.edition
        other_pool = last is None or last.pool != held.pool
        if other_pool or edition != self._edition:
            touched |= held.devices.keys() | self.prepared.listed.keys()
            told = touched
        self._edition = edition
        moved = other_pool or any(_place(last, one) != _place(held, one) for one in told)
        learnt = self._learn(held, found, touched)
        touched |= self._given.sharing(told | learnt)
        self._judge.look({device: finding.evidence for device, finding in found.items()})
        verdicts, hidden = self._judge.verdicts, self._judge.hidden
        judged = self._judge.judge(
            held.pool,
            touched,
            lambda one: self._files.unspecified(held.pool, self._answers[one]),
            lambda one: self._given.obstacle(held, self._answers, one),
        )
        self._concluded = held
        changed = told | learnt | judged.keys() | (hidden ^ self._judge.hidden)
        if not changed and last is not None:
            return None
        sure, unknown = self._given.restart_refusals(held, self._answers)
        pre_start = self._pre_start == "always" or (self._pre_start == "auto" and bool(sure))
        self.prepared = msgspec.structs.replace(
            revise(self.prepared, self._known(held, changed), changed, moved=moved),
            restart_refusals={**sure, **unknown},
            pre_start=pre_start,
        )
        return News(
            first=last is None,
            before={one: verdicts[one] for one in judged if one in verdicts},
            after={one: verdict for one, verdict in judged.items() if verdict is not None},
        )

    def _learn(
        self, held: Inventory, found: Mapping[DeviceId, Finding], touched: Iterable[DeviceId]
    ) -> set[DeviceId]:
        """Take in what containers would get; the devices for which that is something else."""
        learnt = set()
        for device in touched:
            before = self._answers.get(device), self._unusable.get(device, "")
            if device in held.devices:
                self._answers[device] = self._answer(held, device, found)
                finding = found.get(device)
                if finding is not None and finding.answer is not None:
                    self._unusable[device] = finding.unusable
            else:
                self._answers.pop(device, None)
                self._unusable.pop(device, None)
            self._given.learn(device, before[0], self._answers.get(device))
            if before != (self._answers.get(device), self._unusable.get(device, "")):
                learnt.add(device)
        return learnt

    def _answer(
        self, held: Inventory, device: DeviceId, found: Mapping[DeviceId, Finding]
    ) -> DeviceAnswer:
        return (
            (device in found and found[device].answer)
            or self._answers.get(device)
            or unread(held.devices[device], held.pool)
        )

    def _known(self, held: Inventory, changed: Iterable[DeviceId]) -> Known:
        return Known(
            pool=held.pool,
            devices=held.devices,
            answers=self._answers,
            verdicts=self._judge.verdicts,
            refusals={
                one: why for one in changed if one in held.devices and (why := self._refusal(one))
            },
            hidden=self._judge.hidden,
            mode=self._mode if self._files.uses_cdi(held.pool) else "off",
        )

    def _refusal(self, device: DeviceId) -> str:
        verdict = self._judge.verdicts[device]
        if not verdict.healthy:
            return verdict.reason
        # One that is suspected may lack what its containers need: the kubelet hears of it later.
        return self._unusable.get(device) or self._answers[device].away


def _place(held: Inventory | None, name: DeviceId) -> tuple[object, ...] | None:
    """What a layout is made of."""
    device = held.devices.get(name) if held else None
    if device is None:
        return None
    function = device.function
    group = function.iommu_group
    return function.bdf, function.product, function.numa_node, function.bridges, device.pf, group
