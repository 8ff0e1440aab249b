"""Checks of the configuration against the hardware, and of what containers need of the node."""

from collections.abc import Iterator
from typing import Final

from rbln_supervisor.core.device_types.base import RefusalReason
from rbln_supervisor.core.doctor.facts import DoctorFacts, Hardware, PoolView, Unclaimed
from rbln_supervisor.core.doctor.finding import Finding, count_text, limit_evidence
from rbln_worker.core.allocation.providers.rebellions import TOOLS

TOOL_PATHS: Final = tuple(path for paths in TOOLS.values() for path in paths)


def check_configuration(facts: DoctorFacts) -> Iterator[Finding]:
    """Check the configuration file."""
    found = facts.host.config
    if found is None:
        return
    mend = f"rbln-ctl validate {found.path}"
    if found.errors:
        yield Finding(
            "config-unusable",
            "error",
            found.path,
            "the configuration file can't be used"
            + ("; what was read before is served on" if facts.status else ""),
            mend,
            limit_evidence(list(found.errors)),
        )
    served = facts.status.pools if facts.status else {}
    for pool, complaints in found.invalid.items():
        if pool not in served:  # otherwise it has a finding already
            yield Finding(
                "pool-invalid",
                "error",
                pool,
                "its configuration can't be used, so that nobody gets its devices",
                mend,
                limit_evidence(list(complaints)),
            )
    yield from _not_in_force(facts)
    if found.warnings:
        yield Finding(
            "config-odd",
            "note",
            found.path,
            "the configuration is accepted, although some of it is odd",
            mend,
            limit_evidence(list(found.warnings)),
        )


def _not_in_force(facts: DoctorFacts) -> Iterator[Finding]:
    """Compare the pools of the file with those that are served."""
    file = facts.host.config
    if facts.status is None or file is None or file.errors:
        return
    wanted, served = {*file.pools, *file.invalid}, {*facts.status.pools}
    if wanted != served:
        yield Finding(
            "config-not-in-force",
            "warning",
            file.path,
            "the file has other pools than those that are served",
            f"rbln-ctl validate {file.path} --against-host; then rbln-ctl reload",
            limit_evidence(
                [
                    *(f"{name} is in the file only" for name in sorted(wanted - served)),
                    *(f"{name} is served only" for name in sorted(served - wanted)),
                ]
            ),
        )


def check_hardware(facts: DoctorFacts) -> Iterator[Finding]:
    """Check for pools without devices, overlapping selectors, drivers, nodes, the IOMMU."""
    found = facts.host.hardware
    if found is None:
        return
    if found.failed:
        yield Finding(
            "look-failed",
            "error",
            "/sys/bus/pci/devices",
            "the node's devices can't be listed",
            "ls /sys/bus/pci/devices (in a container: /sys has to be mounted)",
            (found.failed,),
        )
        return
    for name, pool in found.pools.items():
        yield from _check_pool(name, pool)
    yield from _check_drivers(found)
    yield from _check_nodes(found)
    vfio = [name for name, pool in found.pools.items() if pool.vfio]
    if vfio and not found.iommu_groups:
        yield Finding(
            "iommu-off",
            "error",
            ", ".join(vfio),
            "devices on vfio-pci need an IOMMU, and this node has no IOMMU group",
            "dmesg | grep -i -e dmar -e iommu; boot with intel_iommu=on (AMD: enable it in the "
            "firmware), then check /sys/kernel/iommu_groups",
            ("/sys/kernel/iommu_groups has no group",),
        )


def _check_pool(name: str, pool: PoolView) -> Iterator[Finding]:
    if pool.takes == 0:
        lines = [f"{count_text(pool.candidates, 'device')} of type {pool.device_type} on the node"]
        lines += [f"{count} are had by {other}" for other, count in pool.earlier.items()]
        lines += [f"{count} can be had by no pool: {why}" for why, count in pool.refused.items()]
        if pool.nearest is not None:
            miss, no = pool.nearest, pool.nearest.objection
            has = f"has {no.has}" if no.has else "has none"
            lines.append(
                f"selectors[{miss.selector}].{no.key} turned {miss.devices} away: "
                f"wanted is {' or '.join(no.wanted)}, the first {has}"
            )
        lines += pool.hints
        yield Finding(
            "pool-empty",
            "error",
            name,
            "no device of the node is its",
            "rbln-ctl explain DEVICE (of lspci -Dnn); mend its selectors, then rbln-ctl reload",
            limit_evidence(lines),
        )
    elif pool.earlier:
        yield Finding(
            "selectors-overlap",
            "warning",
            name,
            "it wants devices that pools before it in the file have",
            "rbln-ctl explain DEVICE; make the selectors exclude each other, or leave it so",
            limit_evidence(
                [f"{count} are had by {other}" for other, count in pool.earlier.items()]
            ),
        )


def _check_drivers(found: Hardware) -> Iterator[Finding]:
    without = [one for one in found.unclaimed if not one.driver]
    others: dict[tuple[str, tuple[str, ...]], list[Unclaimed]] = {}
    for one in found.unclaimed:
        if one.driver:
            others.setdefault((one.driver, one.wanted), []).append(one)
    if without:
        first = without[0]
        driver = first.wanted[0] if first.wanted else "rebellions"
        yield Finding(
            "driver-missing",
            "error",
            "",
            f"{RefusalReason.NO_DRIVER.text}: {count_text(len(without), 'device')}",
            f"lspci -ks {first.device}; modprobe {driver}; "
            f"echo {first.device} > /sys/bus/pci/drivers/{driver}/bind",
            limit_evidence([_device_with_pools(one) for one in without]),
        )
    for (driver, wanted), ones in others.items():
        said = f"pools want {' or '.join(wanted)}" if wanted else "no pool wants that"
        yield Finding(
            "driver-unwanted" if wanted else "device-unclaimed",
            "warning",
            "",
            f"{count_text(len(ones), 'device')} bound to {driver}, and {said}",
            f"rbln-ctl explain {ones[0].device}; have a pool want {driver}, or bind another",
            limit_evidence([_device_with_pools(one) for one in ones]),
        )


def _check_nodes(found: Hardware) -> Iterator[Finding]:
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in found.unusable:
        reasons.setdefault((one.pool, one.why), []).append(one.device)
    for (pool, why), ids in reasons.items():
        yield Finding(
            "node-missing",
            "error",
            pool,
            f"a container could not use {len(ids)} of its devices: {why}",
            "mount the host's /dev there: what is seen is this container's own"
            if found.own_dev
            else "ls -l /dev/rbln* /dev/vfio; dmesg | tail -50; then reload the driver",
            limit_evidence(ids),
        )
    for group in found.groups:
        yield Finding(
            "iommu-group-shared",
            "note",
            ", ".join(group.pools),
            f"IOMMU group {group.number} has {len(group.devices)} devices of pools: whoever opens "
            "one of them has the group, and a second VM fails with EBUSY",
            "ask for all of a group in one pod, or separate them in the firmware (ACS)",
            limit_evidence(list(group.devices)),
        )
    if found.needs_rsd and not found.rsd:
        yield Finding(
            "rsd-missing",
            "error",
            "/dev/rsd0",
            "the group's node is not there: no container can use an NPU",
            "mount the host's /dev there: what is seen is this container's own"
            if found.own_dev
            else "rbln-stat -L (or the vendor's tool that makes groups); dmesg | grep -i rsd",
            (f"{count_text(found.npus, 'NPU')} in pools, and no such node",),
        )
    if found.npus and not found.tool:
        yield Finding(
            "rbln-stat-missing",
            "warning",
            "rbln-stat, rbln-smi",
            "the host's programs can't be seen from here, so that containers get no status tool"
            if found.tools_hidden
            else "neither tool is a file of this host, so that containers get none",
            "mount the host's /usr at /host/usr, read-only"
            if found.tools_hidden
            else f"install the vendor's driver package; ls -ld {' '.join(TOOL_PATHS)}",
            (f"{count_text(found.npus, 'NPU')} in pools, and no such file",),
        )


def _device_with_pools(one: Unclaimed) -> str:
    by = f", wanted by {', '.join(one.wanted_by)}" if one.wanted_by else ""
    return f"{one.device}{by}"
