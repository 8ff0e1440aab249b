"""The recorded cases as values; tests/conformance/README.md says what is what."""

from pathlib import Path
from typing import Any, Final

import msgspec

from tests.sim.kubelet_records import SeenDevice
from tests.sim.nodes import NodeSpec

CASES: Final = Path(__file__).parents[1] / "conformance"


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to GetDevicePluginOptions."""

    preferred: bool
    prestart: bool


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to Allocate for one container."""

    ids: tuple[str, ...]
    """What was asked for."""
    envs: dict[str, Any]
    """Text, or an object where the variable's text is JSON (``…_INFO``)."""
    devices: tuple[tuple[str, str, str], ...]
    """Host path, container path, permissions; sorted."""
    mounts: tuple[tuple[str, str, bool], ...]
    """Host path, container path, read-only."""
    annotations: dict[str, str]


class Preference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to GetPreferredAllocation for one container."""

    size: int
    ids: tuple[str, ...] = ()
    available: tuple[int, ...] | None = None
    """Indexes into the pool's sorted IDs; None: all of them."""
    must: tuple[str, ...] = ()
    error: str | None = None
    """gRPC's name of the status, where the answer is an error."""


class Pool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One resource."""

    devices: dict[str, SeenDevice]
    options: Options
    allocate: tuple[Grant, ...]
    preferred: tuple[Preference, ...]


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exactly these resources are registered."""

    pools: dict[str, Pool]


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node, a configuration, and what the kubelet hears."""

    name: str
    node: NodeSpec
    config: Any
    args: tuple[str, ...]
    expected: Expected
    allocate: tuple[tuple[str, ...], ...] = ()
    """What the recorder was told to ask; the answers name their questions themselves."""
    preferred: tuple[Preference, ...] = ()
    """Likewise."""


def load(name: str) -> Case:
    """The case of this name."""
    return msgspec.json.decode((CASES / f"{name}.json").read_bytes(), type=Case)


def names() -> tuple[str, ...]:
    """The names of all cases."""
    return tuple(sorted(path.stem for path in CASES.glob("*.json")))
