"""An NPU behind Rebellions' own driver."""

import re
from typing import Final

from rbln_worker.contract.device import REBELLIONS, Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.facts import HostFile, Missing, Need, Text, There
from rbln_worker.core.providers.offer import Mount, Offer, Provider, Question, same_path

RSD: Final = "/dev/rsd0"
"""The group node; a container without it counts no device."""

WITHOUT_RSD: Final = frozenset({"2030", "2031", "2130", "2131"})
"""Products of the rebel100 family, which has no RSD."""

TOOL: Final = "/usr/local/bin/rbln-stat"
"""The vendor's status tool, on the host."""

_TOOL: Final = Mount(host=TOOL, container="/usr/bin/rbln-stat")
_RSD_THERE: Final = There(RSD)
_TOOL_THERE: Final = HostFile(_TOOL.host)
_NODE_NAME: Final = re.compile(r"rbln[0-9]{1,6}")


def carried(device: Device, _: PoolSpec) -> bool:
    """NPUs."""
    return is_npu(device)


def is_npu(device: Device) -> bool:
    """One of the vendor's devices, bound to the vendor's driver."""
    return device.function.vendor == REBELLIONS and device.function.driver == "rebellions"


def needs(device: Device) -> tuple[Need, ...]:
    """The ``pools`` file, which names the node; the group's node; the tool."""
    return _pools(device), _RSD_THERE, _TOOL_THERE


def offer(question: Question) -> Offer:
    """The NPU's node, the group's, and the vendor's status tool where the host has it."""
    name = _node_name(question)
    if isinstance(name, Missing):
        return Offer(faults=(f"its node is not known ({name.why})",))
    node = same_path(f"/dev/{name}")
    facts = question.facts
    grouped = facts.there(_RSD_THERE) or question.device.function.product not in WITHOUT_RSD
    return Offer(
        nodes=(node, same_path(RSD)) if grouped else (node,),
        mounts=(_TOOL,) if facts.there(_TOOL_THERE) else (),
        info={"rebellions": {"mount": node.container}},
    )


def _pools(device: Device) -> Text:
    return Text(f"/sys/bus/pci/drivers/rebellions/{device.function.bdf}/pools")


def _node_name(question: Question) -> str | Missing:
    """The node's name from the device's ``pools`` file: the driver names a DMA pool after the node.

    The kernel lists every device's DMA pools there (mm/dmapool.c): a header (``poolinfo - 0.1``),
    then a line a pool that begins with its name, the newest first.
    """
    place = _pools(question.device)
    text = question.facts.text(place)
    if isinstance(text, Missing):
        return text
    lines = text.splitlines()
    if len(lines) < 2:
        return Missing(
            f"{place.path}: expected a second line that names the node, got {len(lines)}"
        )
    words = [line.split(maxsplit=1)[0] for line in lines[1:] if line.strip()]
    # The name becomes a path that the container runtime opens as root: nothing but rblnN may. The
    # driver may have further pools, and the newest comes first, so it need not be the second line.
    for word in words:
        if _NODE_NAME.fullmatch(word):
            return word
    got = words[0] if words else ""
    return Missing(f"{place.path}: expected a node name such as rbln0, got {got[:40]!r}")


PROVIDER: Final = Provider(carried, offer, needs)
