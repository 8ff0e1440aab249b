"""What somebody writes into a configuration file."""

import json

import msgspec

from rbln_supervisor.core.config import document, pf_ranges, yaml_document
from rbln_supervisor.core.config.node_config import (
    MAX_WARNINGS,
    ConfigError,
    NodeConfig,
    parse,
    require_valid,
)
from rbln_supervisor.core.config.positions import MAX_LINES, DocumentError
from tests.fuzz import claims


def any_document(raw: bytes) -> None:
    """A value that JSON knows, or one line."""
    try:
        value, warnings = document.read_document(raw)
    except DocumentError as error:
        claims.one_line(str(error))
    else:
        json.dumps(value)
        for warning in warnings:
            claims.one_line(warning)


def yaml(raw: bytes) -> None:
    """The same, of what would be tried as JSON first."""
    try:
        value = yaml_document.read_yaml(raw.decode(errors="replace"))
    except DocumentError as error:
        claims.one_line(str(error))
    except RecursionError:
        return  # read_document has a line for it
    else:
        json.dumps(value)


def configuration(raw: bytes) -> None:
    """Pools that can be sent on and warnings, or complaints: each a line, and not too many."""
    try:
        config = parse(raw, prefix="intel.com")
    except ConfigError as error:
        assert error.errors  # noqa: PT017 - any bytes may be none
        claims.lines(error.errors, MAX_LINES + 1)
        claims.lines(error.warnings, MAX_WARNINGS + 1)
        return
    assert config.pools or not config.invalid  # an empty list is a configuration
    claims.lines(config.warnings, MAX_WARNINGS + 1)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(config), type=NodeConfig) == config
    names = [*(pool.spec.name for pool in config.pools), *(pool.name for pool in config.invalid)]
    assert len(set(names)) == len(names)
    if config.invalid:
        try:
            require_valid(config)
        except ConfigError as error:
            claims.lines(error.errors, MAX_LINES + 1)
        else:
            raise AssertionError("a pool is invalid")


def functions(raw: bytes) -> None:
    """A range that says again what it was made of, or ValueError."""
    text = raw.decode(errors="replace")
    try:
        found = pf_ranges.parse(text)
    except ValueError:
        return
    else:
        assert pf_ranges.parse(str(found)) == found
        wanted = pf_ranges.FunctionSet([found])
        for one in found.ranges or ():
            assert wanted.has_function(found.pf, one.last)
            assert one.last <= pf_ranges.MAX_NUMBER
