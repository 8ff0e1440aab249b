"""A configuration for readers without a right to its secrets.

Only ``additionalInfo`` may have secrets: it is meant for containers. Its values are in no other
text of ours.
"""

from typing import Final

import msgspec

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.config.pool import PoolConfig

REMOVED: Final = "(removed)"


def redact_config(config: NodeConfig) -> NodeConfig:
    """Return the configuration with ``REMOVED`` for each value of ``additionalInfo``."""
    return msgspec.structs.replace(config, pools=tuple(map(_redact_pool, config.pools)))


def _redact_pool(pool: PoolConfig) -> PoolConfig:
    info = pool.spec.additional_info
    if info is None:
        return pool
    removed = {device: dict.fromkeys(values, REMOVED) for device, values in info.items()}
    spec = msgspec.structs.replace(pool.spec, additional_info=removed)
    return msgspec.structs.replace(pool, spec=spec)
