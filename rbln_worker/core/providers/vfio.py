"""A function that user space drives through vfio (Documentation/driver-api/vfio.rst)."""

from typing import Final

from rbln_worker.core.facts import Missing
from rbln_worker.core.providers.offer import Node, Offer, Question, same_path

_CONTAINER: Final = "/dev/vfio/vfio"


def offer(question: Question) -> Offer:
    """The container node, then the IOMMU group's.

    A group without an IOMMU is called noiommu-N on the host and N inside, as applications expect.
    The keys are the reference's, then those that its documentation names.
    """
    group = question.facts.iommu_group
    if not isinstance(group, str):
        why = group.why if isinstance(group, Missing) else "not read"
        return Offer(nodes=(same_path(_CONTAINER),), faults=(f"no IOMMU group ({why})",))
    inside = f"/dev/vfio/{group}"
    outside = f"/dev/vfio/noiommu-{group}" if question.facts.noiommu else inside
    return Offer(
        nodes=(same_path(_CONTAINER), Node(host=outside, container=inside)),
        info={
            "vfio": {
                "mount": _CONTAINER,
                "dev-mount": inside,
                "vfio-mount": _CONTAINER,
                "vfio-dev-mount": inside,
            }
        },
    )
