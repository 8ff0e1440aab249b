"""What a registration hears of: the kubelet's folders, and the ends of what was begun."""

import msgspec


class View(msgspec.Struct, frozen=True):
    """What lies in the kubelet's folders."""

    kubelet: tuple[int, ...] | None
    """Identifies the kubelet's socket file; another value is another kubelet. None: no socket."""
    sock_folder: bool
    registry_folder: bool
    served: bool
    """Our own socket file is there and is the one that we made."""
    younger: str = ""
    """A living socket of another instance, younger than ours; looked for only where it matters."""
    answers: bool = True
    """Somebody listens on the kubelet's socket; looked at only where that makes a difference."""


class Looked(msgspec.Struct, frozen=True):
    """Somebody looked into the folders."""

    view: View


class Opened(msgspec.Struct, frozen=True):
    """The fresh endpoint serves."""


class NotOpened(msgspec.Struct, frozen=True):
    """There is no fresh endpoint."""

    why: str


class Discovered(msgspec.Struct, frozen=True):
    """The kubelet's plugin watcher found the endpoint and asked what it is."""


class Taken(msgspec.Struct, frozen=True):
    """The kubelet took the registration."""


class NotTaken(msgspec.Struct, frozen=True):
    """The kubelet did not."""

    why: str
    reached: bool
    """It may have heard us; if not, the same endpoint can be registered again."""


class Streams(msgspec.Struct, frozen=True):
    """How many ListAndWatch streams the current endpoint has."""

    count: int


class Overtaken(msgspec.Struct, frozen=True):
    """The kubelet opened a stream to a former endpoint: it may have taken that one last."""


class Renewed(msgspec.Struct, frozen=True):
    """What the kubelet asks for when it registers an endpoint is other than before."""


class Overdue(msgspec.Struct, frozen=True):
    """What was due is due."""


Event = (
    Looked
    | Opened
    | NotOpened
    | Discovered
    | Taken
    | NotTaken
    | Streams
    | Overtaken
    | Overdue
    | Renewed
)
