"""What differs between an expected and an actual answer, one line each.

The rules are those of tests/conformance/README.md.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.sim.conformance import Grant, Options, Preference
from tests.sim.device import SimDevice
from tests.sim.kubelet_records import SeenDevice

_BRIDGE_DEPTH: Final = {"1250": 2, "1251": 2, "1220": 1, "1221": 1}
"""Product → which of a device's bridges, counted from the root port, its card's NPUs share."""


def devices(expected: Mapping[str, SeenDevice], actual: Mapping[str, SeenDevice]) -> Iterator[str]:
    """Equal: health and NUMA nodes too."""
    for name in sorted(expected.keys() | actual.keys()):
        if name not in actual:
            yield f"device {name} is missing"
        elif name not in expected:
            yield f"device {name} was not expected"
        elif expected[name] != actual[name]:
            yield f"device {name} is {actual[name]}, expected {expected[name]}"


def options(expected: Options, actual: pb.DevicePluginOptions) -> Iterator[str]:
    """Equal."""
    yield from _equal(
        "options",
        expected,
        Options(
            preferred=actual.get_preferred_allocation_available, prestart=actual.pre_start_required
        ),
    )


def grant(expected: Grant, actual: pb.ContainerAllocateResponse) -> Iterator[str]:
    """Devices and annotations equal, mounts as a set, the environment at least as expected."""
    asked = f"Allocate of {', '.join(expected.ids)}"
    specs = sorted((d.host_path, d.container_path, d.permissions) for d in actual.devices)
    yield from _equal(f"{asked}: devices", sorted(expected.devices), specs)
    mounts = {(m.host_path, m.container_path, m.read_only) for m in actual.mounts}
    yield from _equal(f"{asked}: mounts", set(expected.mounts), mounts)
    yield from _equal(f"{asked}: annotations", expected.annotations, dict(actual.annotations))
    for name, value in expected.envs.items():
        if name not in actual.envs:
            yield f"{asked}: {name} is missing, there are {sorted(actual.envs)}"
        elif isinstance(value, str):
            yield from _equal(f"{asked}: {name}", value, actual.envs[name])
        else:
            yield from _info(f"{asked}: {name}", value, actual.envs[name])


def preference(
    expected: Preference,
    actual: Sequence[str],
    *,
    pool: Mapping[str, SeenDevice],
    node: Mapping[str, SimDevice],
) -> Iterator[str]:
    """As good a choice: legal, and on no more NUMA nodes and bridges than the expected one."""
    available = offered(expected, pool)
    asked = f"preferred {expected.size} of {len(available)}"
    if len(set(actual)) != len(actual):
        yield f"{asked}: {actual} names a device twice"
    if unknown := set(actual) - set(available):
        yield f"{asked}: {sorted(unknown)} were not available"
    if not expected.ids and not actual:
        return  # no preference was expected, and none is legal
    wanted = len(expected.ids) or min(expected.size, len(available))
    if len(actual) != wanted:
        yield f"{asked}: {len(actual)} devices {list(actual)}, expected {wanted}"
    if left_out := set(expected.must) - set(actual):
        yield f"{asked}: {sorted(left_out)} must be included, the answer is {list(actual)}"
    if expected.ids and set(actual) <= node.keys():
        yield from _no_wider(f"{asked}: NUMA nodes", _numa_nodes, expected.ids, actual, node)
        yield from _no_wider(f"{asked}: bridges", _bridges, expected.ids, actual, node)


def offered(asked: Preference, pool: Mapping[str, SeenDevice]) -> list[str]:
    """The IDs that a request for a preference offers."""
    ids = sorted(pool)
    return ids if asked.available is None else [ids[index] for index in asked.available]


def _no_wider(
    what: str,
    places: Callable[[Iterable[str], Mapping[str, SimDevice]], set[Any]],
    expected: Iterable[str],
    actual: Iterable[str],
    node: Mapping[str, SimDevice],
) -> Iterator[str]:
    most, used = places(expected, node), places(actual, node)
    if len(used) > len(most):
        yield f"{what}: {sorted(used)} for {list(actual)}, expected no more than {len(most)}"


def _numa_nodes(names: Iterable[str], node: Mapping[str, SimDevice]) -> set[int]:
    return {node[name].numa for name in names}


def _bridges(names: Iterable[str], node: Mapping[str, SimDevice]) -> set[str]:
    found = set()
    for name in names:
        device = node[name]
        pf = node[device.pf] if device.pf is not None else device
        depth = _BRIDGE_DEPTH.get(device.device)
        parents = device.parents or pf.parents
        if depth is not None and depth < len(parents):
            found.add(parents[depth])
    return found


def _info(what: str, expected: Mapping[str, Any], text: str) -> Iterator[str]:
    """The devices are the expected ones; what is said of each is at least what was expected."""
    try:
        actual = json.loads(text)
    except ValueError as error:
        yield f"{what}: no JSON ({error}): {text!r}"
        return
    if not isinstance(actual, dict) or actual.keys() != expected.keys():
        yield f"{what}: expected the devices {sorted(expected)}, got {text}"
        return
    yield from _contains(what, expected, actual)


def _contains(what: str, expected: object, actual: object) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key, value in expected.items():
            if key in actual:
                yield from _contains(f"{what}.{key}", value, actual[key])
            else:
                yield f"{what}: no {key!r} in {actual}"
    else:
        yield from _equal(what, expected, actual)


def _equal(what: str, expected: object, actual: object) -> Iterator[str]:
    if expected != actual:
        yield f"{what}: {actual}, expected {expected}"
