"""Checks of configuration and hardware, with the code of the discovery and of workers."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor.config import accepted, config_file
from rbln_supervisor.core.config import node_config
from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.device_types.registry import DEVICE_TYPES
from rbln_supervisor.core.doctor import match_checks
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.discovery.process import required_reads
from rbln_supervisor.options import Options
from rbln_worker.contract.device import Device
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.contract.problem import Code, Problem, count_text, make_problem
from rbln_worker.core.allocation.device_allocation import build_allocation
from rbln_worker.core.allocation.host_facts import Exists
from rbln_worker.core.allocation.providers import rebellions, vfio
from rbln_worker.core.allocation.providers.provider import ProviderInput
from rbln_worker.core.allocation.providers.registry import allocation_reads
from rbln_worker.core.health import evidence
from rbln_worker.host.discovery.scan import scan_node
from rbln_worker.host.facts import HOST_FILES, Reader
from rbln_worker.host.sysfs import list_names

_MAX_EXAMINED: Final = 4096
"""Maximum number of devices whose files are read."""
_MOUNT_DEV: Final = "mount the host's /dev there: this container sees only its own"

PoolDevice = tuple[Device, PoolSpec]


class _Node(NamedTuple):
    """The devices that pools have on this node, and the reader of their files."""

    reader: Reader
    devices: tuple[PoolDevice, ...]
    own_dev: bool
    """True if /dev belongs to the container and not to the host."""


def check_configuration(options: Options) -> Iterator[Problem]:
    """Check the configuration file."""
    path = str(options.config_file)
    try:
        raw = config_file.read_file(options.config_file)
        config = node_config.parse(raw, prefix=options.resource_prefix)
    except node_config.ConfigError as error:
        text = "the configuration file can't be used; a supervisor that runs keeps the last one"
        yield make_problem(Code.CONFIG_INVALID, text, path, error.errors)
        return
    for pool in config.invalid:
        text = "its configuration can't be used, so that its devices are not allocatable"
        complaints = tuple(map(str, pool.complaints))
        yield make_problem(Code.POOL_INVALID, text, pool.name, complaints)
    if config.warnings:
        text = "the configuration is accepted with warnings"
        yield make_problem(Code.CONFIG_WARNING, text, path, config.warnings)


def check_hardware(options: Options) -> Iterator[Problem]:
    """Check the hardware, and what pools and containers get of it."""
    pools = configured_pools(options)
    needed = required_reads(pools, allow_default_route=options.allow_default_route)
    classes = needed.base_classes | {DEVICE_TYPES[match_checks.ACCELERATOR].base_class}
    needed = msgspec.structs.replace(needed, base_classes=classes)
    found = scan_node(options.host_root, needed)
    if found.failed is not None:
        yield make_problem(Code.DISCOVERY_FAILED, found.failed)
        return
    yield from found.problems
    yield from match_checks.match_problems(pools, found.node)
    assigned = assign(pools, found.node)
    specs = {pool.spec.name: pool.spec for pool in pools}
    node = _Node(
        Reader(options.host_root, host_visible=options.host_visible),
        tuple(
            (device, specs[name])
            for name, devices in assigned.devices.items()
            for device in devices.values()
        ),
        options.in_container and _is_own_dev(options.host_root),
    )
    yield from _check_nodes(node)
    yield from _check_iommu(node, pools, options.host_root)
    yield from _check_npus(node, options)


def configured_pools(options: Options) -> tuple[PoolConfig, ...]:
    """Return the pools that a supervisor serves, or would serve if it started now.

    Of a file with errors these are the last accepted ones; empty if there is none.
    """
    try:
        return accepted.start_config(options).config.pools
    except node_config.ConfigError:
        return ()  # check_configuration reports it


def _check_nodes(node: _Node) -> Iterator[Problem]:
    """Check that a container could use each device."""
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for device, pool in node.devices[:_MAX_EXAMINED]:
        facts = node.reader.read_facts(allocation_reads(device, pool))
        allocation = build_allocation(ProviderInput(device, pool, facts))
        # The group's node is missing for all devices at once, and has one problem.
        paths = [one.host for one in allocation.nodes if one.host != rebellions.RSD]
        missing, unfit = node.reader.missing_nodes(paths), node.reader.node_problems(paths)
        if reason := evidence.unusable_reason(allocation, missing, unfit):
            groups[pool.name, reason].append(device.id)
    for (name, reason), ids in groups.items():
        text = f"a container could not use {len(ids)} of its devices: {reason}"
        hint = _MOUNT_DEV if node.own_dev else None
        yield make_problem(Code.NODE_MISSING, text, name, tuple(ids), hint=hint)


def _check_iommu(node: _Node, pools: Iterable[PoolConfig], host_root: Path) -> Iterator[Problem]:
    """Check the IOMMU for devices on vfio drivers."""
    users = {pool.spec.name: None for pool in pools if match_checks.selects_vfio(pool)}
    users |= {pool.name: None for device, pool in node.devices if vfio.applies_to(device, pool)}
    if users and not list_names(f"{host_root}/sys/kernel/iommu_groups"):
        text = "devices on vfio-pci need an IOMMU, and this node has no IOMMU group"
        yield make_problem(Code.IOMMU_OFF, text, ", ".join(users))


def _check_npus(node: _Node, options: Options) -> Iterator[Problem]:
    """Check the node of groups, and the vendor's status tool."""
    npus = [device for device, _ in node.devices if rebellions.is_npu(device)]
    count = count_text(len(npus), "NPU")
    needs_rsd = any(one.function.product not in rebellions.WITHOUT_RSD for one in npus)
    facts = node.reader.read_facts((Exists(rebellions.RSD), *rebellions.TOOL_FILES))
    if needs_rsd and not facts.path_exists(Exists(rebellions.RSD)):
        text = f"the node of groups does not exist: no container can use an NPU ({count} in pools)"
        hint = _MOUNT_DEV if node.own_dev else None
        yield make_problem(Code.RSD_MISSING, text, rebellions.RSD, hint=hint)
    if npus and not any(facts.path_exists(one) for one in rebellions.TOOL_FILES):
        text = f"neither is a file of this host: containers get no status tool ({count} in pools)"
        is_usr_missing = not options.host_visible and not Path(f"{HOST_FILES}/usr").is_dir()
        hint = "mount the host's /usr at /host/usr, read-only" if is_usr_missing else None
        yield make_problem(Code.RBLN_STAT_MISSING, text, "rbln-stat, rbln-smi", hint=hint)


def _is_own_dev(host_root: Path) -> bool:
    """Return True if /dev below the host's root is not the host's devtmpfs."""
    try:
        device = (host_root / "dev").stat().st_dev
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    # A dash precedes the type (proc_pid_mountinfo(5)); all mounts of a file system have its number.
    types = {line.partition(" - ")[2].split()[0] for line in mounts if line.split()[2] == number}
    return "devtmpfs" not in types
