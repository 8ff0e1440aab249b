"""RSD groups: NPUs that one container uses together, and their node ``/dev/rsd<group>``.

Group 0 has all NPUs that are in no other group. A container sees the node of its group as
``/dev/rsd0``. The driver removes no group, and a regrouped NPU loses its contexts, so a
group is only touched if nobody uses one of its members. Leaving group 0 affects no other member.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from rbln_worker.contract.device import Device, DeviceId
from rbln_worker.contract.errors import RblnError
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.allocation.providers import rebellions
from rbln_worker.core.allocation.providers.provider import DeviceNode

DEFAULT_GROUP: Final = 0
MAX_GROUP: Final = 255
"""Maximum ID of a group that is made; other tools use the same range."""

_NPU: Final = re.compile(r"rbln[0-9]{1,6}")
_GROUP: Final = re.compile(r"[0-9]{1,6}")
_NPU_NODE: Final = re.compile(r"/dev/(rbln[0-9]{1,6})")

Groups = Mapping[int, frozenset[str]]
"""The names (``rblnN``) of the members by group ID; group 0 may be included."""


class RsdError(RblnError):
    """A group could not be made, removed or read. Its text is one line."""


class GroupPlan(msgspec.Struct, frozen=True):
    """The steps that make a group."""

    group: int
    exists: bool = False
    """True if the group has exactly these members already, such as after a crash."""
    stale: tuple[int, ...] = ()
    """Groups without users that have some of the NPUs: removed first; sorted."""


def plan_group(npus: Collection[str], groups: Groups, free: Collection[str]) -> GroupPlan:
    """Decide how these NPUs become one group. Raises RsdError.

    Args:
        npus: names of the NPUs.
        groups: the groups that exist.
        free: NPUs of this resource pool that no other claim or pod holds.
    """
    wanted = frozenset(npus)
    if taken := wanted - frozenset(free):
        raise RsdError(f"{_join_names(taken)}: in use by another claim or pod")
    overlapping = {
        group: members
        for group, members in groups.items()
        if group != DEFAULT_GROUP and members & wanted
    }
    for group, members in sorted(overlapping.items()):
        if held := members - frozenset(free):
            raise RsdError(
                f"{_join_names(members & wanted)}: in RSD group {group} with "
                f"{_join_names(held)}, which others may use"
            )
    for group, members in overlapping.items():
        if members == wanted:
            return GroupPlan(group, exists=True)
    number = next((one for one in range(1, MAX_GROUP + 1) if one not in groups), None)
    if number is None:
        raise RsdError(f"all {MAX_GROUP} RSD groups exist")
    return GroupPlan(number, stale=tuple(sorted(overlapping)))


def orphan_groups(groups: Groups, free: Collection[str]) -> Groups:
    """Return the groups that nobody uses: with free NPUs of this resource pool only."""
    unused = frozenset(free)
    return {
        group: members
        for group, members in groups.items()
        if group != DEFAULT_GROUP and members and members <= unused
    }


def confirmed_orphans(earlier: Groups, now: Groups) -> Groups:
    """Return the orphans that were orphans with the same members at the earlier read."""
    return {group: members for group, members in now.items() if earlier.get(group) == members}


def parse_group_file(text: str) -> Groups:
    """Parse ``/sys/class/rebellions/rsd/rsd_group``: a header, then ``group,…,rblnN`` per NPU.

    Raises RsdError, also for contradictory lines.
    """
    by_npu: dict[str, int] = {}
    for line in filter(str.strip, text.splitlines()[1:]):
        fields = [field.strip() for field in line.split(",")]
        group, npu = fields[0], fields[-1]
        if len(fields) < 3 or not _GROUP.fullmatch(group) or not _NPU.fullmatch(npu):
            raise RsdError(f"list of RSD groups: not a group and its NPU: {line[:60]!r}")
        if by_npu.setdefault(npu, int(group)) != int(group):
            raise RsdError(f"list of RSD groups: {npu} is in group {by_npu[npu]} and {group}")
    return {
        group: frozenset(name for name, its in by_npu.items() if its == group)
        for group in sorted(set(by_npu.values()))
    }


def create_arguments(group: int, npus: Iterable[str]) -> tuple[str, ...]:
    """Return the tool's arguments that make a group; it names NPUs by the number of their node."""
    numbers = sorted(int(name.removeprefix("rbln")) for name in npus)
    return "group", "-c", f"{group}", "-a", ",".join(f"{number}" for number in numbers)


def remove_arguments(group: int) -> tuple[str, ...]:
    """Return the tool's arguments that remove a group."""
    return "group", "-d", f"{group}"


def groupable_npus(
    devices: Mapping[DeviceId, Device], answers: Mapping[DeviceId, DeviceAllocation]
) -> dict[DeviceId, str]:
    """Return the names of the NPUs that belong into groups, such as ``rbln0``.

    Devices of the rebel100 family have no RSD, those on vfio-pci no NPU node.
    """
    return {
        name: found[1]
        for name, answer in answers.items()
        if (device := devices.get(name)) is not None
        and rebellions.is_npu(device)
        and device.function.product not in rebellions.WITHOUT_RSD
        for node in answer.nodes
        if (found := _NPU_NODE.fullmatch(node.host))
    }


def with_group_node(nodes: Iterable[DeviceNode], group: int) -> tuple[DeviceNode, ...]:
    """Return a device's nodes with the group's own one as the container's ``/dev/rsd0``."""
    group_node = DeviceNode(host=f"/dev/rsd{group}", container=rebellions.RSD)
    return tuple(group_node if node.container == rebellions.RSD else node for node in nodes)


def _join_names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
