"""Which resource names a kubelet takes: IsExtendedResourceName.

Kubernetes: pkg/apis/core/v1/helper/helpers.go, apimachinery's validation.IsQualifiedName.
"""

import re
from typing import Final

_PREFIX_CHARS_MOST: Final = 253
_NAME_CHARS_MOST: Final = 63

_NAME: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", re.ASCII)
_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)


def is_extended_resource(name: str) -> bool:
    """Whether a device plugin may register this name."""
    if "/" not in name or "kubernetes.io/" in name or name.startswith("requests."):
        return False
    prefix, rest = f"requests.{name}".split("/", 1)
    return (
        len(prefix) <= _PREFIX_CHARS_MOST
        and len(rest) <= _NAME_CHARS_MOST
        and _SUBDOMAIN.fullmatch(prefix) is not None
        and _NAME.fullmatch(rest) is not None
    )
