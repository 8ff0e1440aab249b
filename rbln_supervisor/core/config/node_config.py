"""The configuration file as pools, or all of its errors at once.

Its schema is the reference's. Each wrong value causes an error with its place and the expected
value. A pool with errors leaves the others usable, except in ``strict``.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from rbln_supervisor.core.config import document
from rbln_supervisor.core.config.fields import (
    Complaint,
    Diagnostics,
    Field,
    add_type_error,
    read_fields,
)
from rbln_supervisor.core.config.misplaced import manifest_hint
from rbln_supervisor.core.config.names import prefix_error
from rbln_supervisor.core.config.pool import ParsedPool, PoolConfig, read_pool
from rbln_supervisor.core.config.positions import DocumentError, limit_lines
from rbln_worker.contract.errors import RblnError

NO_POOLS: Final = "no pools: nothing is served until the file changes"
"""The SR-IOV network operator writes such a file for a node without a policy: no error."""
MAX_WARNINGS: Final = 50
"""Maximum number of warnings; then "and N more", as for the errors of a ConfigError."""


class InvalidPool(msgspec.Struct, frozen=True):
    """A pool that can't be served."""

    name: str
    """Full resource name if it is known and unique, otherwise the pool's place."""
    complaints: tuple[Complaint, ...]
    """At least one."""


class NodeConfig(msgspec.Struct, frozen=True):
    """A whole file, pools in its order."""

    pools: tuple[PoolConfig, ...]
    """With different names; empty if the file has none."""
    invalid: tuple[InvalidPool, ...] = ()
    """With names that differ from each other's and from those of the pools."""
    warnings: tuple[str, ...] = ()
    """Irregularities without effect, one line each."""


class ConfigError(RblnError):
    """Error of a configuration that can't be used at all."""

    def __init__(self, errors: Iterable[str], warnings: Iterable[str] = ()) -> None:
        self.errors = limit_lines(tuple(errors))
        """One line each: place, expected value, actual value."""
        self.warnings = tuple(warnings)
        """They may have the cause, such as a misspelled key that is therefore missing."""
        super().__init__("\n".join(self.errors))


def parse(raw: bytes, *, prefix: str) -> NodeConfig:
    """Return the pools of a configuration file; ``prefix`` is that of pools without one.

    Raises:
        ConfigError: The file is no document, has no list of pools, or none of its pools is usable;
            or the prefix (``--resource-prefix``) can't be used.
    """
    if wrong := prefix_error(prefix):
        raise ConfigError([f"--resource-prefix: {wrong}"])
    try:
        value, accepted = document.read_document(raw)
    except DocumentError as error:
        raise ConfigError([str(error)]) from None
    notes = Diagnostics()
    notes.warnings += accepted
    config = _sort_out([read_pool(at, prefix, notes) for at in _resource_list(value, notes)])
    warnings = limit_lines(notes.warnings, MAX_WARNINGS)
    config = msgspec.structs.replace(config, warnings=warnings)
    return config if config.pools else require_valid(config)


def require_valid(config: NodeConfig) -> NodeConfig:
    """Return the configuration if it has no errors.

    Raises:
        ConfigError: A pool is invalid.
    """
    complaints = [str(complaint) for pool in config.invalid for complaint in pool.complaints]
    if complaints:
        raise ConfigError(complaints, config.warnings)
    return config


def _resource_list(value: object, notes: Diagnostics) -> list[Field]:
    """Return the pools of the file. Raises ConfigError if there is no list."""
    top = read_fields(Field("", value), ["resourceList"], notes)
    match None if top is None else top.get("resourceList"):
        case Field(value=[_, *_] as values) as found:
            return [found.item(index, pool) for index, pool in enumerate(values)]
        case Field(place=place, value=[] | None):
            notes.add_warning(place, NO_POOLS)
            return []
        case Field() as wrong:
            add_type_error(wrong, "array", notes)
        case None if top is not None:
            notes.add_error("resourceList", f"missing, expected array{manifest_hint(value)}")
        case None:
            pass  # no object: its error is noted already
    raise ConfigError(map(str, notes.complaints), limit_lines(notes.warnings, MAX_WARNINGS))


def _sort_out(pools: list[ParsedPool]) -> NodeConfig:
    """Separate usable pools: those without errors, and with names that no earlier one has."""
    valid: dict[str, ParsedPool] = {}
    drivers: dict[str, ParsedPool] = {}
    refused: list[tuple[ParsedPool, tuple[Complaint, ...]]] = []
    for pool in pools:
        complaints = pool.complaints
        if first := valid.get(pool.name):
            text = f"{pool.name} is the name of {first.place}, expected a name of its own"
            complaints = (*complaints, Complaint(f"{pool.place}.resourceName", text))
        export = pool.config.spec.dra
        if export and (first := drivers.get(export.driver)):
            text = (
                f"{export.driver} is the DRA driver of {first.place}, "
                "expected a driver of its own (dra.driverName)"
            )
            complaints = (*complaints, Complaint(f"{pool.place}.dra", text))
        if complaints:
            refused.append((pool, complaints))
        else:
            valid[pool.name] = pool
            if export:
                drivers[export.driver] = pool
    taken = {"", *valid}
    invalid = []
    for pool, complaints in refused:
        name = pool.place if pool.name in taken else pool.name
        taken.add(name)
        invalid.append(InvalidPool(name, complaints))
    return NodeConfig(tuple(pool.config for pool in valid.values()), tuple(invalid))
