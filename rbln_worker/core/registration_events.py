"""Events of a registration: the state of the kubelet's folders, and results of actions."""

import msgspec


class View(msgspec.Struct, frozen=True):
    """The state of the kubelet's folders."""

    kubelet: tuple[int, ...] | None
    """The identity of the kubelet's socket file, different for each kubelet; None: no socket."""
    sock_folder: bool
    registry_folder: bool
    served: bool
    """True if the worker's own socket file exists and is the one that it created."""
    younger: str = ""
    """The name of a younger living instance's socket; searched for only if it is relevant."""
    answers: bool = True
    """True if a process listens on the kubelet's socket; checked only if it is relevant."""


class DirsChecked(msgspec.Struct, frozen=True):
    """The kubelet's folders were checked."""

    view: View


class Opened(msgspec.Struct, frozen=True):
    """The fresh endpoint serves."""

    name: str = ""
    """The file name of its socket."""


class NotOpened(msgspec.Struct, frozen=True):
    """The fresh endpoint could not be opened."""

    why: str


class Discovered(msgspec.Struct, frozen=True):
    """The kubelet's plugin watcher found the endpoint and called GetInfo."""


class Accepted(msgspec.Struct, frozen=True):
    """The kubelet accepted the registration."""


class Rejected(msgspec.Struct, frozen=True):
    """The kubelet did not accept the registration."""

    why: str
    reached: bool
    """True if the call may have reached the kubelet; if not, the endpoint can be used again."""


class Streams(msgspec.Struct, frozen=True):
    """The number of ListAndWatch streams of the current endpoint."""

    count: int


class SupersededStream(msgspec.Struct, frozen=True):
    """The kubelet opened a stream to an earlier endpoint, which it may have accepted last."""


class Renewed(msgspec.Struct, frozen=True):
    """A fresh endpoint is required: the options have changed, or a predecessor has ended."""


class TimerExpired(msgspec.Struct, frozen=True):
    """The deadline has passed."""


class OptionsRead(msgspec.Struct, frozen=True):
    """The kubelet read the plugin's options."""

    pre_start: bool
    """True if PreStartContainer was required then."""


EndpointChange = Opened | NotOpened | Discovered | Accepted | Rejected | Streams | OptionsRead
"""Events of one endpoint."""
Event = EndpointChange | DirsChecked | SupersededStream | TimerExpired | Renewed
