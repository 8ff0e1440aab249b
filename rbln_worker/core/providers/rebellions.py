"""An NPU behind Rebellions' own driver."""

from typing import Final

from rbln_worker.core.facts import Missing
from rbln_worker.core.providers.offer import Mount, Offer, Question, same_path

RSD: Final = "/dev/rsd0"
"""The group node; a container without it counts no device."""

WITHOUT_RSD: Final = frozenset({"2030", "2031", "2130", "2131"})
"""Products of the rebel100 family, which has no RSD."""

_TOOL: Final = Mount(host="/usr/local/bin/rbln-stat", container="/usr/bin/rbln-stat")


def offer(question: Question) -> Offer:
    """The NPU's node, the group's, and the vendor's status tool where the host has it."""
    name = question.facts.rbln_node
    if not isinstance(name, str):
        why = name.why if isinstance(name, Missing) else "not read"
        return Offer(faults=(f"its node is not known ({why})",))
    node = same_path(f"/dev/{name}")
    grouped = question.facts.rsd_there or question.device.function.product not in WITHOUT_RSD
    return Offer(
        nodes=(node, same_path(RSD)) if grouped else (node,),
        mounts=(_TOOL,) if question.facts.tool_there else (),
        info={"rebellions": {"mount": node.container}},
    )
