"""Parts that all objects of the API have, and the events of a watch."""

from collections.abc import Mapping
from typing import Final, Generic, Literal, Protocol, TypeVar

import msgspec

from rbln_worker.core.kube.owner_reference import OwnerReference


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Metadata of an object, as far as we use them."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generate_name: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()


class ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    """Metadata of a list."""

    resource_version: str = ""


class HasName(Protocol):
    """Metadata with a name."""

    @property
    def name(self) -> str:
        """The name of the object."""

    @property
    def namespace(self) -> str:
        """The namespace of the object; empty if it has none."""


class HasMetadata(Protocol):
    """An object of the API."""

    @property
    def metadata(self) -> HasName:
        """The metadata: ``ObjectMeta``, or a struct with more fields."""


Item = TypeVar("Item")


class ItemList(msgspec.Struct, Generic[Item], frozen=True):
    """A list of objects. They have neither apiVersion nor kind."""

    metadata: ListMeta
    items: tuple[Item, ...] = ()


EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


class WatchEvent(msgspec.Struct, Generic[Item], frozen=True):
    """One change of a watched object."""

    type: EventType
    object: Item | None
    """None for a bookmark, which only has a newer version."""
    resource_version: str


class WatchLine(msgspec.Struct, frozen=True):
    """One line of a watch's response."""

    type: str
    object: msgspec.Raw


class VersionedObject(msgspec.Struct, frozen=True):
    """The part that every object has."""

    metadata: ObjectMeta


VERSION_DECODER: Final = msgspec.json.Decoder(VersionedObject)


def object_key(item: HasMetadata) -> str:
    """Return the name of an object, behind its namespace if it has one."""
    meta = item.metadata
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
