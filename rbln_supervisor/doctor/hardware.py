"""Examines configuration and node in the way of a supervisor and its workers."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor.config import config_file
from rbln_supervisor.core.config import node_config as configuration
from rbln_supervisor.core.config.node_config import PoolConfig
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from rbln_supervisor.core.doctor import match_report as view
from rbln_supervisor.core.doctor import mounts
from rbln_supervisor.core.doctor.facts import Config, Group, Hardware, Unusable
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.discovery import scan
from rbln_supervisor.options import Options
from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.device_allocation import build_allocation
from rbln_worker.core.allocation.host_facts import Exists
from rbln_worker.core.allocation.providers import rebellions, vfio
from rbln_worker.core.allocation.providers.provider import ProviderInput
from rbln_worker.core.allocation.providers.registry import allocation_reads
from rbln_worker.core.health import evidence
from rbln_worker.host.facts import HOST_FILES, Reader

_MAX_EXAMINED: Final = 4096
"""Maximum number of devices whose files are read."""


def examine_config(options: Options) -> Config:
    """Read the configuration file."""
    path = str(options.config_file)
    try:
        read = configuration.parse(
            config_file.read_file(options.config_file), prefix=options.resource_prefix
        )
    except configuration.ConfigError as error:
        return Config(path, errors=error.errors, warnings=error.warnings)
    return Config(
        path,
        pools=tuple(pool.spec.name for pool in read.pools),
        invalid={pool.name: tuple(map(str, pool.complaints)) for pool in read.invalid},
        warnings=read.warnings,
    )


def examine_hardware(options: Options, served: bytes | None) -> Hardware:
    """Return the hardware, and the parts of it that pools and containers get.

    ``served`` is the active configuration, which counts if the file has errors: a supervisor keeps
    it and refuses the file.
    """
    pools = _configured_pools(options, served)
    needed = scan.required_reads(pools, allow_default_route=options.allow_default_route)
    classes = {DEVICE_TYPES[name].base_class for name in view.types_of(pools)}
    look = scan.scan_node(
        options.host_root, msgspec.structs.replace(needed, base_classes=frozenset(classes))
    )
    if look.failed is not None:
        return Hardware(failed=look.failed)
    assigned = assign(pools, look.node)
    specs = {pool.spec.name: pool.spec for pool in pools}
    taken = [
        (device, specs[name])
        for name, devices in assigned.devices.items()
        for device in devices.values()
    ]
    npus = [device for device, _ in taken if rebellions.is_npu(device)]
    reader = Reader(options.host_root, host_visible=options.host_visible)
    node_facts = reader.read_facts((Exists(rebellions.RSD), *rebellions.TOOL_FILES))
    return Hardware(
        problems=look.problems,
        pools=dict(view.pool_views(pools, look.node)),
        unclaimed=tuple(view.unclaimed_devices(pools, look.node)),
        unusable=tuple(_unusable_devices(reader, taken[:_MAX_EXAMINED])),
        iommu_groups=_count_entries(options.host_root / "sys/kernel/iommu_groups"),
        npus=len(npus),
        needs_rsd=any(one.function.product not in rebellions.WITHOUT_RSD for one in npus),
        rsd=node_facts.path_exists(Exists(rebellions.RSD)),
        tool=any(node_facts.path_exists(one) for one in rebellions.TOOL_FILES),
        tools_hidden=not options.host_visible and not Path(f"{HOST_FILES}/usr").is_dir(),
        groups=tuple(_shared_groups(reader, taken)),
        own_dev=options.in_container and _own_dev(options.host_root),
    )


def _configured_pools(options: Options, served: bytes | None) -> tuple[PoolConfig, ...]:
    prefix = options.resource_prefix
    try:
        file = configuration.parse(config_file.read_file(options.config_file), prefix=prefix)
        if served is None or not file.invalid:
            return file.pools
    except configuration.ConfigError:
        pass  # the section of the file reports it
    try:
        return configuration.parse(served or b"", prefix=prefix).pools
    except configuration.ConfigError:
        return ()


def _shared_groups(reader: Reader, taken: list[tuple[Device, PoolSpec]]) -> Iterator[Group]:
    """Yield IOMMU groups with several devices of pools on vfio drivers."""
    found: dict[str, list[tuple[Device, PoolSpec]]] = {}
    for device, pool in taken:
        if vfio.applies_to(device, pool):
            number = reader.read_fact(vfio.iommu_group(device))
            if isinstance(number, str):
                found.setdefault(number, []).append((device, pool))
    for number, members in sorted(found.items()):
        if len(members) > 1:
            pools = dict.fromkeys(pool.name for _, pool in members)
            yield Group(number, tuple(device.id for device, _ in members), tuple(pools))


def _own_dev(host_root: Path) -> bool:
    """Return True if /dev below the host's root is not the host's devtmpfs."""
    try:
        text = Path("/proc/self/mountinfo").read_text(errors="replace")
    except OSError:
        return False
    return mounts.covering_mount(text, str(host_root / "dev")) != "devtmpfs"


def _unusable_devices(reader: Reader, taken: list[tuple[Device, PoolSpec]]) -> Iterator[Unusable]:
    for device, pool in taken:
        told = build_allocation(
            ProviderInput(device, pool, reader.read_facts(allocation_reads(device, pool)))
        )
        # The group's node is missing for all devices at once, and has one finding.
        nodes = [one.host for one in told.nodes if one.host != rebellions.RSD]
        if why := evidence.unusable_reason(
            told, reader.missing_nodes(nodes), reader.node_problems(nodes)
        ):
            yield Unusable(pool.name, device.id, why)


def _count_entries(path: Path) -> int:
    try:
        return len(os.listdir(path))  # noqa: PTH208 - names only
    except OSError:
        return 0
