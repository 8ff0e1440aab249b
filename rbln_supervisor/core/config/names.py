"""Validates resource names by the kubelet's rules.

The kubelet registers a plugin only if IsExtendedResourceName holds (pkg/apis/core/v1/helper): a
qualified name even with ``requests.`` before it, and none of Kubernetes' own.
"""

import re
from typing import Final

from rbln_supervisor.core.config.positions import quote_value

_MAX_PREFIX: Final = 253 - len("requests.")
_MAX_NAME: Final = 63
"""Maximum length of a name behind the slash, and of a driver's (ResourceSliceSpec.driver)."""
_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DNS: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?")
_DNS_RULE: Final = "(lower-case letters, digits, - and .)"


def prefix_error(prefix: str) -> str | None:
    """Return the error in the part before the slash; None if it is valid."""
    if wrong := _form_error(
        prefix, _MAX_PREFIX, _DNS, f"a DNS name such as rebellions.ai {_DNS_RULE}"
    ):
        return wrong
    # The whole name must not contain "kubernetes.io/" nor begin with "requests.".
    if prefix.endswith("kubernetes.io") or prefix.startswith("requests."):
        rule = "a prefix that is not Kubernetes' own (…kubernetes.io, requests.…)"
        return f"{quote_value(prefix)}: expected {rule}"
    return None


def name_error(name: str) -> str | None:
    """Return the error in the part behind the slash; None if it is valid."""
    rule = "letters, digits, _ and -, with a letter or digit at both ends"
    return _form_error(name, _MAX_NAME, _NAME, rule)


def driver_error(name: str) -> str | None:
    """Return the error in the name of a DRA driver; None if it is valid."""
    return _form_error(name, _MAX_NAME, _DNS, f"a DNS name such as npu.rebellions.ai {_DNS_RULE}")


def _form_error(text: str, longest: int, form: re.Pattern[str], rule: str) -> str | None:
    if len(text) > longest:
        return f"{quote_value(text)}: expected at most {longest} characters, got {len(text)}"
    # Not re.match with $, which accepts a trailing newline.
    return None if form.fullmatch(text) else f"{quote_value(text)}: expected {rule}"
