"""Validates resource names by the kubelet's rules.

The kubelet registers a plugin only if IsExtendedResourceName holds (pkg/apis/core/v1/helper): a
qualified name even with ``requests.`` before it, and none of Kubernetes' own.
"""

import re
from typing import Final

from rbln_supervisor.core.config.positions import quote_value

_MAX_PREFIX: Final = 253 - len("requests.")
_MAX_NAME: Final = 63
_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_PREFIX: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?")


def prefix_error(prefix: str) -> str | None:
    """Return the error in the part before the slash; None if it is valid."""
    if len(prefix) > _MAX_PREFIX:
        return (
            f"{quote_value(prefix)}: expected at most {_MAX_PREFIX} characters, got {len(prefix)}"
        )
    if not _PREFIX.fullmatch(prefix):
        return (
            f"{quote_value(prefix)}: expected a DNS name such as rebellions.ai "
            "(lower-case letters, digits, - and .)"
        )
    # The whole name must not contain "kubernetes.io/" nor begin with "requests.".
    if prefix.endswith("kubernetes.io"):
        return (
            f"{quote_value(prefix)}: expected a prefix that is not Kubernetes' own (kubernetes.io)"
        )
    if prefix.startswith("requests."):
        return (
            f"{quote_value(prefix)}: expected a prefix that does not begin with requests. "
            "(a quota's)"
        )
    return None


def name_error(name: str) -> str | None:
    """Return the error in the part behind the slash; None if it is valid."""
    if len(name) > _MAX_NAME:
        return f"{quote_value(name)}: expected at most {_MAX_NAME} characters, got {len(name)}"
    if not _NAME.fullmatch(name):  # not re.match with $, which accepts a trailing newline
        return (
            f"{quote_value(name)}: expected letters, digits, _ and -, "
            "with a letter or digit at both ends"
        )
    return None
