"""Checks of pools that are exported by DRA, and of other programs that export our devices."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path

import msgspec

from rbln_supervisor.config.dra_access import find_obstacles
from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.doctor.hardware import configured_pools
from rbln_supervisor.options import Options
from rbln_supervisor.pod_devices.prepared_claims import read_prepared_claims
from rbln_worker.contract.pod_devices import PodDevice
from rbln_worker.contract.problem import Code, Problem, count_text, make_problem

_CHECKPOINT = "kubelet_internal_checkpoint"
_MAX_BYTES = 16 * 1024 * 1024


class _Data(msgspec.Struct):
    RegisteredDevices: dict[str, list[str] | None] | None = None


class _Checkpoint(msgspec.Struct):
    Data: _Data


def check_dra(options: Options) -> Iterator[Problem]:
    """Check credentials, folders, claims without a driver, and foreign exporters."""
    pools = configured_pools(options)
    yield from find_obstacles(options, pools)
    yield from _check_claims(options, pools)
    yield from _check_resources(options, pools)


def _check_claims(options: Options, pools: Iterable[PoolConfig]) -> Iterator[Problem]:
    """Find prepared claims of drivers that no pool has: their pods can never end."""
    served = {pool.spec.dra.driver for pool in pools if pool.spec.dra}
    drivers: defaultdict[str, list[PodDevice]] = defaultdict(list)
    for one in read_prepared_claims(options.kubelet_dirs.plugins):
        if one.resource not in served:
            drivers[one.resource].append(one)
    for driver, devices in drivers.items():
        holders = sorted({f"{one.holder}: claim {one.claim}" for one in devices})
        text = (
            f"{count_text(len({one.claim for one in devices}), 'claim')} of this driver are "
            "prepared and no pool serves it: their pods stay Terminating when they are deleted"
        )
        hint = (
            f'a pool with "export": "dra" and "dra": {{"driverName": "{driver}"}}, until these '
            "pods have ended; rbln-ctl reload"
        )
        yield make_problem(Code.CLAIMS_UNSERVED, text, driver, tuple(holders), hint=hint)


def _check_resources(options: Options, pools: Iterable[PoolConfig]) -> Iterator[Problem]:
    """Find resources of other device plugins with devices that one of our resources has, too."""
    registered = _registered_devices(options.kubelet_dirs.device_plugins / _CHECKPOINT)
    names = {pool.spec.name for pool in pools if not pool.spec.dra}
    ours = {device for name in names for device in registered.get(name, frozenset())}
    for resource, devices in registered.items():
        if resource not in names and (shared := sorted(devices & ours)):
            text = "another device plugin offers devices of our pools: pods may get them twice"
            yield make_problem(Code.FOREIGN_EXPORTER, text, resource, tuple(shared))


def _registered_devices(path: Path) -> Mapping[str, Set[str]]:
    """Return the healthy devices by resource, as the kubelet knows them."""
    try:
        with path.open("rb") as file:
            checkpoint = msgspec.json.decode(file.read(_MAX_BYTES), type=_Checkpoint)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    registered = checkpoint.Data.RegisteredDevices or {}
    return {resource: frozenset(devices or ()) for resource, devices in registered.items()}
