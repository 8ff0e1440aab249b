"""The kernel's virtio backend, for a container that makes tap devices (``needVhostNet``)."""

from typing import Final

from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.providers.provider import (
    ContainerEdits,
    Provider,
    ProviderInput,
    same_path,
)

_NET: Final = "/dev/vhost-net"
_TUN: Final = "/dev/net/tun"


def applies_to(device: Device, _: PoolSpec) -> bool:
    """Select devices of a selector with needVhostNet."""
    return device.grants.vhost_net


def container_edits(_: ProviderInput) -> ContainerEdits:
    """Offer both nodes: a device is not allocated at all if one of them is missing."""
    return ContainerEdits(
        nodes=(same_path(_NET), same_path(_TUN)),
        info={"vhost": {"net-mount": _NET, "tun-mount": _TUN}},
    )


PROVIDER: Final = Provider(applies_to, container_edits)
