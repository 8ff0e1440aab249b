"""Lists of objects, and the events of a watch."""

from typing import Final, Generic, Literal, Protocol, TypeVar

import msgspec

from rbln_worker.core.kube.api_object import ApiObject, ObjectMeta


class HasMetadata(Protocol):
    """An object of the API."""

    @property
    def metadata(self) -> ObjectMeta:
        """The metadata."""


Item = TypeVar("Item")


class ItemList(msgspec.Struct, Generic[Item], frozen=True):
    """A list of objects. They have neither apiVersion nor kind."""

    metadata: ObjectMeta
    """Its version, to watch from."""
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

    type: EventType | Literal["ERROR"]
    object: msgspec.Raw


VERSION_DECODER: Final = msgspec.json.Decoder(ApiObject)


def object_key(item: HasMetadata) -> str:
    """Return the name of an object, behind its namespace if it has one."""
    meta = item.metadata
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
