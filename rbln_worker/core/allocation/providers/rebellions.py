"""An NPU with Rebellions' own driver."""

import re
from typing import Final

from rbln_worker.contract.device import REBELLIONS, Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.host_facts import Exists, HostFacts, HostFile, Need, Text, Unread
from rbln_worker.core.allocation.providers.provider import (
    ContainerEdits,
    Mount,
    Provider,
    ProviderInput,
    same_path,
)

RSD: Final = "/dev/rsd0"
"""The group node; a container without it finds no device."""

WITHOUT_RSD: Final = frozenset({"2030", "2031", "2130", "2131"})
"""Products of the rebel100 family, which has no RSD."""

TOOLS: Final = {
    f"/usr/bin/{name}": (f"/usr/local/bin/{name}", f"/usr/bin/{name}")
    for name in ("rbln-stat", "rbln-smi")
}
"""The vendor's status tool: path in containers → paths on the host, best first.

An older name is rbln-stat; driver packages install it in one folder or the other.
"""

_RSD_EXISTS: Final = Exists(RSD)
TOOL_FILES: Final = tuple(HostFile(path) for paths in TOOLS.values() for path in paths)
_NODE_NAME: Final = re.compile(r"rbln[0-9]{1,6}")


def applies_to(device: Device, _: PoolSpec) -> bool:
    """Select NPUs."""
    return is_npu(device)


def is_npu(device: Device) -> bool:
    """Return True for a device of the vendor that is bound to the vendor's driver."""
    return device.function.vendor == REBELLIONS and device.function.driver == "rebellions"


def required_reads(device: Device) -> tuple[Need, ...]:
    """Return the reads: the ``pools`` file, which names the node; the group's node; the tool."""
    return _pools_file(device), _RSD_EXISTS, *TOOL_FILES


def container_edits(source: ProviderInput) -> ContainerEdits:
    """Offer the NPU's node, the group's, and the vendor's status tool if the host has it."""
    name = _node_name(source)
    if isinstance(name, Unread):
        return ContainerEdits(faults=(f"its node is not known ({name.why})",))
    node = same_path(f"/dev/{name}")
    facts = source.facts
    grouped = facts.path_exists(_RSD_EXISTS) or source.device.function.product not in WITHOUT_RSD
    return ContainerEdits(
        nodes=(node, same_path(RSD)) if grouped else (node,),
        mounts=_tool_mounts(facts),
        info={"rebellions": {"mount": node.container}},
    )


def _tool_mounts(facts: HostFacts) -> tuple[Mount, ...]:
    """Mount regular files only: a runtime creates a folder on the host for a missing path."""
    found = (
        (next((path for path in paths if facts.path_exists(HostFile(path))), None), place)
        for place, paths in TOOLS.items()
    )
    return tuple(Mount(host=path, container=place) for path, place in found if path)


def _pools_file(device: Device) -> Text:
    return Text(f"/sys/bus/pci/drivers/rebellions/{device.function.bdf}/pools")


def _node_name(source: ProviderInput) -> str | Unread:
    """Return the node's name from the ``pools`` file: the driver names a DMA pool after the node.

    The kernel lists every device's DMA pools there (mm/dmapool.c): a header (``poolinfo - 0.1``),
    then a line for each pool that begins with its name, the newest first.
    """
    place = _pools_file(source.device)
    text = source.facts.text(place)
    if isinstance(text, Unread):
        return text
    lines = text.splitlines()
    if len(lines) < 2:
        return Unread(f"{place.path}: expected a second line that names the node, got {len(lines)}")
    words = [line.split(maxsplit=1)[0] for line in lines[1:] if line.strip()]
    # The name becomes a path that the container runtime opens as root, so only rblnN is accepted.
    # The driver may have further pools, with the newest first, so it need not be the second line.
    for word in words:
        if _NODE_NAME.fullmatch(word):
            return word
    got = words[0] if words else ""
    return Unread(f"{place.path}: expected a node name such as rbln0, got {got[:40]!r}")


PROVIDER: Final = Provider(applies_to, container_edits, required_reads)
