"""The configuration file as pools, or every complaint about it at once.

Its schema is the reference's. Wrong values are complaints, each with its place and with what was
expected; one wrong pool leaves the others usable, unless one asks to be strict.
"""

from collections.abc import Iterable
from typing import Final, NoReturn

import msgspec

from rbln_supervisor.core.configuration import document
from rbln_supervisor.core.configuration.misplaced import whereabouts
from rbln_supervisor.core.configuration.names import wrong_prefix
from rbln_supervisor.core.configuration.places import DocumentError, bounded
from rbln_supervisor.core.configuration.pool import PoolConfig, Read, read
from rbln_supervisor.core.configuration.selectors import SelectorObject
from rbln_supervisor.core.configuration.shape import Complaint, Field, Notes, expected, fields

__all__ = [  # what reads a configuration needs no other module for it
    "Complaint",
    "ConfigError",
    "InvalidPool",
    "NodeConfig",
    "PoolConfig",
    "SelectorObject",
    "parse",
    "strict",
]

NO_POOLS: Final = "no pools: nothing is served until the file changes"
"""As the SR-IOV network operator writes it for a node without a policy: no error."""
WARNINGS_MOST: Final = 50
"""Then "and N more", as with the errors of a ConfigError."""


class InvalidPool(msgspec.Struct, frozen=True):
    """A pool that can't be served."""

    name: str
    """The resource's whole name where it can be told and is nobody else's, else its place."""
    complaints: tuple[Complaint, ...]
    """At least one."""


class NodeConfig(msgspec.Struct, frozen=True):
    """A whole file, pools in its order."""

    pools: tuple[PoolConfig, ...]
    """With different names; none where the file asks for none."""
    invalid: tuple[InvalidPool, ...] = ()
    """With names that differ from each other's and from those of the pools."""
    warnings: tuple[str, ...] = ()
    """What is odd and hinders nobody, one line each."""


class ConfigError(Exception):
    """The configuration can't be used at all."""

    def __init__(self, errors: Iterable[str], warnings: Iterable[str] = ()) -> None:
        self.errors = bounded(tuple(errors))
        """One line each: where, what was expected, what is there."""
        self.warnings = bounded(tuple(warnings), WARNINGS_MOST)
        """Among them may be the cause: a key that was misspelled and so is missing."""
        super().__init__("\n".join(self.errors))


def parse(raw: bytes, *, prefix: str) -> NodeConfig:
    """The pools of a configuration file; ``prefix`` is that of pools that name none.

    Raises:
        ConfigError: The file is no document, has no list of pools, or no pool of those that it has
            is usable; or the prefix (``--resource-prefix``) can't be used.
    """
    if wrong := wrong_prefix(prefix):
        raise ConfigError([f"--resource-prefix: {wrong}"])
    try:
        value, accepted = document.read(raw)
    except DocumentError as error:
        raise ConfigError([str(error)]) from None
    notes = Notes()
    notes.warnings += accepted
    config = _sort_out([read(at, prefix, notes) for at in _resource_list(value, notes)])
    if config.invalid and not config.pools:
        _refuse(config, notes.warnings)
    return msgspec.structs.replace(config, warnings=bounded(notes.warnings, WARNINGS_MOST))


def strict(config: NodeConfig) -> NodeConfig:
    """The same configuration, if all of it is right.

    Raises:
        ConfigError: A pool is invalid.
    """
    if config.invalid:
        _refuse(config, config.warnings)
    return config


def _refuse(config: NodeConfig, warnings: Iterable[str]) -> NoReturn:
    complaints = (complaint for pool in config.invalid for complaint in pool.complaints)
    raise ConfigError(map(str, complaints), warnings)


def _resource_list(value: object, notes: Notes) -> list[Field]:
    """The pools as the file has them; ConfigError where there is nothing to read."""
    top = fields(Field("", value), ["resourceList"], notes)
    match None if top is None else top.get("resourceList"):
        case Field(place=place, value=[_, *_] as values):
            return [Field(f"{place}[{index}]", pool) for index, pool in enumerate(values)]
        case Field(place=place, value=[] | None):
            notes.warn(place, NO_POOLS)
            return []
        case Field() as wrong:
            expected(wrong, "array", notes)
        case None if top is not None:
            notes.complain("resourceList", f"missing, expected array{whereabouts(value)}")
        case None:
            pass  # no object, and so complained of
    raise ConfigError(map(str, notes.complaints), notes.warnings)


def _sort_out(pools: list[Read]) -> NodeConfig:
    """Who is usable: no complaints, and a name that no usable pool before it has."""
    valid: dict[str, Read] = {}
    refused: list[tuple[Read, tuple[Complaint, ...]]] = []
    for pool in pools:
        complaints = pool.complaints
        if first := valid.get(pool.name):
            text = f"{pool.name} is the name of {first.place}, expected a name of its own"
            complaints = (*complaints, Complaint(f"{pool.place}.resourceName", text))
        if complaints:
            refused.append((pool, complaints))
        else:
            valid[pool.name] = pool
    taken = {"", *valid}
    invalid = []
    for pool, complaints in refused:
        name = pool.place if pool.name in taken else pool.name
        taken.add(name)
        invalid.append(InvalidPool(name, complaints))
    return NodeConfig(tuple(pool.config for pool in valid.values()), tuple(invalid))
