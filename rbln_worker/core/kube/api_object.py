"""Parts of Kubernetes objects, as far as this program sets or reads them."""

from collections.abc import Mapping

import msgspec


class ApiStruct(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Base of the structs: names as in JSON; fields that are not known here are ignored."""


class OwnerReference(ApiStruct, frozen=True):
    """An owner: the API server deletes an object after the end of its owner."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None


class ObjectMeta(ApiStruct, frozen=True):
    """Metadata of an object. A replaced object keeps those of others: labels and the like."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generate_name: str = ""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()


class ApiObject(msgspec.Struct, frozen=True):
    """The part that every object has."""

    metadata: ObjectMeta
