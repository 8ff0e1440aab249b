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
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.allocation.providers import rebellions
from rbln_worker.core.allocation.providers.provider import DeviceNode

DEFAULT_GROUP: Final = 0
MAX_GROUP: Final = 255
"""Maximum ID of a group that is made; other tools use the same range."""
MAX_LINES: Final = 4096
"""Maximum number of NPUs in a list of groups."""

_NPU: Final = re.compile(r"rbln[0-9]{1,6}")
_GROUP: Final = re.compile(r"[0-9]{1,6}")
_NPU_NODE: Final = re.compile(r"/dev/(rbln[0-9]{1,6})")

Groups = Mapping[int, frozenset[str]]
"""The names (``rblnN``) of the members by group ID; group 0 may be included."""


class RsdFailure(msgspec.Struct, frozen=True):
    """A group could not be made, removed or read."""

    reason: str
    """One line."""


class GroupPlan(msgspec.Struct, frozen=True):
    """The steps that make a group."""

    group: int
    exists: bool = False
    """True if the group has exactly these members already, such as after a crash."""
    stale: tuple[int, ...] = ()
    """Groups without users that have some of the NPUs: removed first; sorted."""


def plan_group(
    npus: Collection[str], groups: Groups, free: Collection[str]
) -> GroupPlan | RsdFailure:
    """Decide how these NPUs become one group.

    Args:
        npus: names of the NPUs.
        groups: the groups that exist.
        free: NPUs of this resource pool that no other claim or pod holds.
    """
    wanted = frozenset(npus)
    if not wanted or not all(_NPU.fullmatch(name) for name in wanted):
        return RsdFailure(f"no group of {_join_names(wanted) or 'no NPU'} can be made")
    if taken := wanted - frozenset(free):
        return RsdFailure(f"{_join_names(taken)}: in use by another claim or pod")
    overlapping = {
        group: members
        for group, members in groups.items()
        if group != DEFAULT_GROUP and members & wanted
    }
    for group, members in sorted(overlapping.items()):
        if held := members - frozenset(free):
            return RsdFailure(
                f"{_join_names(members & wanted)}: in RSD group {group} with "
                f"{_join_names(held)}, which others may use"
            )
    for group, members in overlapping.items():
        if members == wanted:
            return GroupPlan(group, exists=True)
    number = lowest_free_group(groups)
    if number is None:
        return RsdFailure(f"all {MAX_GROUP} RSD groups exist")
    return GroupPlan(number, stale=tuple(sorted(overlapping)))


def lowest_free_group(groups: Groups) -> int | None:
    """Return the lowest ID ≥ 1 without a group; None if all exist."""
    return next((one for one in range(1, MAX_GROUP + 1) if one not in groups), None)


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


def parse_group_file(text: str) -> Groups | RsdFailure:
    """Parse ``/sys/class/rebellions/rsd/rsd_group``: a header, then ``group,…,rblnN`` per NPU."""
    lines = [line for line in text.splitlines()[1:] if line.strip()]
    pairs: list[tuple[object, object]] = []
    for line in lines[: MAX_LINES + 1]:
        fields = [field.strip() for field in line.split(",")]
        if len(fields) < 3:
            return RsdFailure(f"list of RSD groups: not a group and its NPU: {line[:60]!r}")
        pairs.append((fields[0], fields[-1]))
    return _collect_groups(pairs)


class _ToolDevice(msgspec.Struct):
    device: object = None
    group_id: object = None


class _ToolOutput(msgspec.Struct):
    devices: list[_ToolDevice]


_TOOL_OUTPUT: Final = msgspec.json.Decoder(_ToolOutput)


def parse_tool_output(raw: bytes) -> Groups | RsdFailure:
    """Parse the output of ``rbln-smi -g -j``.

    Numbers are strings in some versions. ``npu`` is not read: some versions repeat one number for
    all devices, and list a device twice. Contradictory entries are a failure.
    """
    try:
        output = _TOOL_OUTPUT.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return RsdFailure(f"the tool's list of groups can't be parsed: {str(error)[:120]}")
    return _collect_groups((one.group_id, one.device) for one in output.devices[: MAX_LINES + 1])


def _collect_groups(pairs: Iterable[tuple[object, object]]) -> Groups | RsdFailure:
    by_npu: dict[str, int] = {}
    for position, (group, npu) in enumerate(pairs):
        number = _group_number(group)
        if number is None or not isinstance(npu, str) or not _NPU.fullmatch(npu):
            return RsdFailure(
                "list of RSD groups: expected a group and an NPU such as rbln0, "
                f"got {f'{group!r}, {npu!r}'[:80]}"
            )
        if by_npu.setdefault(npu, number) != number:
            return RsdFailure(f"list of RSD groups: {npu} is in group {by_npu[npu]} and {number}")
        if position >= MAX_LINES:
            return RsdFailure(f"list of RSD groups: more than {MAX_LINES} NPUs")
    return {
        group: frozenset(name for name, its in by_npu.items() if its == group)
        for group in sorted(set(by_npu.values()))
    }


def _group_number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    if isinstance(value, str) and _GROUP.fullmatch(value.strip()):
        return int(value)
    return None


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
    return tuple(group_node(group) if node.container == rebellions.RSD else node for node in nodes)


def group_node(group: int) -> DeviceNode:
    """Return the node of a group as a container sees it."""
    return DeviceNode(host=f"/dev/rsd{group}", container=rebellions.RSD)


def _join_names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
