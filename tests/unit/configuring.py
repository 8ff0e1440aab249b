"""Configurations with one pool that is good, and another."""

import json
from typing import Any

from rbln_supervisor.core.config.node_config import NodeConfig, parse

GOOD: dict[str, Any] = {
    "resourceName": "ATOM",
    "resourcePrefix": "rebellions.ai",
    "deviceType": "accelerator",
    "selectors": [{"vendors": ["1eff"]}],
}
NOTHING = object()


def parse_value(value: object, prefix: str = "intel.com") -> NodeConfig:
    return parse(json.dumps(value).encode(), prefix=prefix)


def pool(**changes: object) -> dict[str, object]:
    """A good pool with changes; NOTHING takes a key away."""
    return {key: value for key, value in {**GOOD, **changes}.items() if value is not NOTHING}


def with_good(second: object) -> NodeConfig:
    """A good pool named other, and a second one."""
    return parse_value({"resourceList": [pool(resourceName="other"), second]})
