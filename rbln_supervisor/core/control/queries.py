"""Queries without side effects: why a device is in its pool, and the effect of another file."""

from collections.abc import Mapping
from typing import Final

import msgspec

from rbln_supervisor.core.config import node_config
from rbln_supervisor.core.control import protocol
from rbln_supervisor.core.matching import in_use
from rbln_supervisor.core.matching.explain import ExportedDevice, explain
from rbln_supervisor.core.matching.plan import devices_removed, make_plan, present_ids
from rbln_supervisor.core.status import DeviceStatus, PoolStatus
from rbln_supervisor.core.workers.desired_state import DesiredState
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.health import Verdict
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pod_devices import ResourceHolders
from rbln_worker.contract.pool import DraExport, PoolName

_UNKNOWN_DEVICE: Final = (
    "no such device at the last discovery; expected an ID such as 0000:3b:00.0 or mlx5_core.sf.4, "
    "an interface, an RDMA device, a node below /dev, or an IOMMU group"
)


def explain_reply(
    name: str,
    served: node_config.NodeConfig,
    node: NodeInventory | None,
    pools: Mapping[PoolName, DesiredState],
    statuses: Mapping[str, PoolStatus],
    altnames: Mapping[str, str] = {},
) -> protocol.Reply:
    """Return why a device is in its pool, and its health.

    Args:
        name: a name of the device.
        served: the configuration.
        node: the result of the last discovery; None if there was none yet.
        pools: the desired state of each pool.
        statuses: the status of each pool.
        altnames: the names of interfaces by their alternative names.
    """
    if node is None:
        return protocol.ErrorReply(("no discovery has succeeded yet: rbln-ctl status shows why",))
    vanished = {
        pool: [device for device in state.devices.values() if device.gone is not None]
        for pool, state in pools.items()
    }
    explanation = explain(served, node, name, vanished, altnames)
    if explanation is None:
        return protocol.ErrorReply((f"{name}: {_UNKNOWN_DEVICE}",))
    lister = next((p for p, state in pools.items() if explanation.device in state.devices), None)
    health = statuses[lister].devices.get(explanation.device) if lister else None
    export = pools[lister].pool.dra if lister else None
    dra = _as_exported(export, explanation.device, health) if export else None
    return protocol.ExplainReply(msgspec.structs.replace(explanation, health=health, dra=dra))


def _as_exported(
    export: DraExport, device: DeviceId, health: DeviceStatus | None
) -> ExportedDevice:
    # Only here: nodes without a pool for DRA need not have these modules in memory.
    from rbln_worker.core.dra.names import dra_device_name  # noqa: PLC0415
    from rbln_worker.core.dra.taints import device_taints  # noqa: PLC0415

    is_healthy = health is not None and health.health == "Healthy"
    verdict = Verdict(healthy=is_healthy, source=health.source if health else "")
    taints = (f"{one.key}={one.value}:{one.effect}" for one in device_taints(export, verdict))
    return ExportedDevice(export.driver, dra_device_name(device), ", ".join(taints))


def parse_dry_run(
    request: protocol.DryRun, prefix: str
) -> node_config.NodeConfig | protocol.DryRunReply:
    """Return the configuration of a dry run, or its errors; ``prefix`` is the default one."""
    try:
        return node_config.require_valid(
            node_config.parse(request.config, prefix=request.prefix or prefix)
        )
    except node_config.ConfigError as error:
        return protocol.DryRunReply(None, error.errors, error.warnings)


def plan_reply(
    proposed: node_config.NodeConfig,
    served: node_config.NodeConfig,
    node: NodeInventory,
    pools: Mapping[PoolName, DesiredState],
    holders: ResourceHolders,
) -> protocol.DryRunReply:
    """Return the effect of another configuration, on a node with a discovery for both."""
    now = {pool: present_ids(state.devices.values()) for pool, state in pools.items()}
    listed = {pool: tuple(state.devices) for pool, state in pools.items()}
    removed = devices_removed(served, listed, proposed, node)
    return protocol.DryRunReply(
        make_plan(served, now, proposed, node),
        warnings=proposed.warnings,
        conflicts=in_use.removal_conflicts(removed, holders),
    )
