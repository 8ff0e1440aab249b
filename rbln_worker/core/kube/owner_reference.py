"""Parts of Kubernetes objects that decisions make and the API client sends."""

import msgspec


class OwnerReference(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An owner: the API server deletes an object after the end of its owner."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
