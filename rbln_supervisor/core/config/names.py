"""Validates resource names by the kubelet's rules.

The kubelet registers a plugin only if IsExtendedResourceName holds (pkg/apis/core/v1/helper): a
qualified name even with ``requests.`` before it, and none of Kubernetes' own.
"""

import re
from typing import Final

from rbln_supervisor.core.config.positions import shown

_PREFIX_MOST: Final = 253 - len("requests.")
_NAME_MOST: Final = 63
_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_PREFIX: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?")


def prefix_error(prefix: str) -> str | None:
    """Return the error in the part before the slash; None if it is valid."""
    if len(prefix) > _PREFIX_MOST:
        return f"{shown(prefix)}: expected at most {_PREFIX_MOST} characters, got {len(prefix)}"
    if not _PREFIX.fullmatch(prefix):
        return (
            f"{shown(prefix)}: expected a DNS name such as rebellions.ai "
            "(lower-case letters, digits, - and .)"
        )
    # The whole name must not contain "kubernetes.io/" nor begin with "requests.".
    if prefix.endswith("kubernetes.io"):
        return f"{shown(prefix)}: expected a prefix that is not Kubernetes' own (kubernetes.io)"
    if prefix.startswith("requests."):
        return f"{shown(prefix)}: expected a prefix that does not begin with requests. (a quota's)"
    return None


def name_error(name: str) -> str | None:
    """Return the error in the part behind the slash; None if it is valid."""
    if len(name) > _NAME_MOST:
        return f"{shown(name)}: expected at most {_NAME_MOST} characters, got {len(name)}"
    if not _NAME.fullmatch(name):  # not re.match with $, which accepts a trailing newline
        return (
            f"{shown(name)}: expected letters, digits, _ and -, with a letter or digit at both ends"
        )
    return None
