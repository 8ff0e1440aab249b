"""Registration of the pool with the kubelet: its endpoints, by number, and the state machine.

Each attempt has an endpoint of its own; an event of an earlier one changes nothing, unless the
kubelet opened a stream there.
"""

from typing import Final

from rbln_worker.core import registration
from rbln_worker.core import registration_events as changes
from rbln_worker.core.registration import Action, RegistrationState, RegistrationStep
from rbln_worker.core.step import effects
from rbln_worker.core.step.effects import CheckDirs, Effect

MAX_RETIRED: Final = 4
"""Maximum number of previous sockets that are still served; more close the oldest."""

LINGER_S: Final = 1.0
"""Seconds for which previous sockets are served after the next is listed: a kubelet may see the end
of a stream before the first message of another."""

STALE_CHECK_DELAY_S: Final = 4.0
"""Seconds after the start of the registration until stale sockets are removed once more: those that
were too young at the start are old enough then (host/sockets.py, MIN_AGE_S)."""

_IDLE: Final = {RegistrationStep.AWAY, RegistrationStep.YIELDED, RegistrationStep.LISTED}


class EndpointState:
    """The pool's endpoints and the state of its registration."""

    def __init__(self, choice: registration.Choice, *, has_streams: bool = True) -> None:
        self.registration = RegistrationState(choice, has_streams)
        self.name = ""
        """The file name of the socket that is served."""
        self._begun = False
        self._number = 0
        """The number of the newest endpoint."""
        self._opened_way: registration.Way | None = None
        """The way for which the newest endpoint was opened; None: it is not open."""
        self._options_read: bool | None = None
        """The need of PreStartContainer that the kubelet read at the newest endpoint."""
        self._streams: dict[int, int] = {}
        """Streams by endpoint."""
        self._retired: tuple[int, ...] = ()
        """Earlier endpoints that are still served."""
        self._closing: tuple[float, tuple[int, ...]] | None = None
        """Retired endpoints to close, and the time for that (monotonic seconds)."""
        self._stale_check_at: float | None = None
        self._unlisted_at: float | None = None
        """The time since when registration is possible without a stream."""

    @property
    def deadline(self) -> float | None:
        """The earliest time at which ``on_timer`` has something to do (monotonic seconds)."""
        closing = self._closing[0] if self._closing else None
        times = (self.registration.deadline, closing, self._stale_check_at)
        return min((one for one in times if one is not None), default=None)

    def start_registering(self, now: float) -> list[Effect]:
        """Start to register; nothing if that has begun already."""
        if self._begun:
            return []
        self._begun = True
        self._stale_check_at = now + STALE_CHECK_DELAY_S
        return [self._check_dirs(remove_stale=True)]

    def set_options(self, now: float, *, pre_start: bool) -> list[Effect]:
        """Register again if PreStartContainer is required and the kubelet does not know it."""
        is_new = self._options_read is False and pre_start
        return self._handle_event(changes.Renewed(), now) if is_new else []

    def follow_predecessor(self, now: float) -> list[Effect]:
        """Make sure, after a predecessor's end, that the kubelet has this list and calls this pool.

        Before 1.37 the end of the endpoint that registered last leaves the resource without calls,
        and a kubelet that restarted meanwhile may have the predecessor's as the last. Then only a
        fresh endpoint helps. In plugins_registry each fresh one is a gap: the list is sent again.
        """
        if self.registration.way == "kubelet-sock":
            return self._handle_event(changes.Renewed(), now)
        return [effects.RepeatList()]

    def check_dirs(self) -> list[Effect]:
        """Check the folders: after a change in one of them, and with each heartbeat.

        Inotify can lose events.
        """
        return [self._check_dirs()] if self._begun else []

    def on_timer(self, now: float) -> list[Effect]:
        """Act on deadlines that have passed."""
        result: list[Effect] = []
        if self._closing is not None and self._closing[0] <= now:
            closing = tuple(one for one in self._closing[1] if one in self._retired)
            self._closing = None
            self._retired = tuple(one for one in self._retired if one not in closing)
            result += self._close_endpoints(closing)
        is_stale = self._stale_check_at is not None and self._stale_check_at <= now
        if is_stale:
            self._stale_check_at = None
        if is_stale or self._is_due(now):
            result.append(self._check_dirs(remove_stale=is_stale))
        return result

    def on_dirs_checked(self, event: changes.DirsChecked, now: float) -> list[Effect]:
        """Act on the state of the folders, and then on a deadline that has passed."""
        result = self._handle_event(event, now)
        return result + (
            self._handle_event(changes.TimerExpired(), now) if self._is_due(now) else []
        )

    def on_endpoint_event(
        self, number: int, event: changes.EndpointChange, now: float
    ) -> list[Effect]:
        """Act on an event of an endpoint."""
        is_current, before = number == self._number, self._streams.get(number, 0)
        match event:
            case changes.Streams(count=count):
                self._streams[number] = count
                if not is_current and count > before:
                    return self._handle_event(changes.SupersededStream(), now)
            case changes.Opened(name=name) if is_current:
                self.name, self._opened_way = name, self.registration.way
            case changes.Opened():  # the kubelet restarted meanwhile
                return self._close_endpoints((number,))
            case changes.OptionsRead(pre_start=read) if is_current:
                self._options_read = read
            case _:
                pass
        return self._handle_event(event, now) if is_current else []

    def _is_due(self, now: float) -> bool:
        due = self.registration.deadline
        return due is not None and due <= now

    def _check_dirs(self, *, remove_stale: bool = False) -> CheckDirs:
        state = self.registration
        return CheckDirs(
            registration.needs_newer_check(state),
            registration.needs_answer_check(state),
            remove_stale,
        )

    def _handle_event(self, event: changes.Event, now: float) -> list[Effect]:
        before = self.registration
        self.registration, act = registration.handle_event(before, event, now)
        after, result = self.registration, list[Effect]()
        match act:
            case Action.OPEN:
                result += self._open_endpoint(after.way or "kubelet-sock")
            case Action.REGISTER:
                result.append(effects.CallRegister(self._number))
            case None:
                pass
        if before != after:
            result.append(self._note_change(before, after, now))
        return result

    def _open_endpoint(self, way: registration.Way) -> list[Effect]:
        """Open a fresh endpoint; earlier attempts are void."""
        unlinks = self._number if self._opened_way == "plugin-watcher" else 0
        result = self._retire_endpoint()  # a report must not have this socket with another way
        self._number += 1
        self._options_read = None
        return [*result, effects.OpenEndpoint(self._number, way, unlinks)]

    def _retire_endpoint(self) -> list[Effect]:
        was_open, self._opened_way, self.name = self._opened_way is not None, None, ""
        if not was_open:
            return []
        # A living kubelet may have a stream open while it refuses registrations or creates its
        # socket again. Endpoints with a stream serve until the next is listed, to avoid a gap.
        read = [one for one in self._retired if self._streams.get(one)]
        unread = [one for one in self._retired if not self._streams.get(one)]
        self._retired = (*read[-MAX_RETIRED + 1 :], self._number)
        return self._close_endpoints((*unread, *read[: -MAX_RETIRED + 1]))

    def _close_endpoints(self, numbers: tuple[int, ...]) -> list[Effect]:
        for one in numbers:
            self._streams.pop(one, None)
        return [effects.CloseEndpoints(numbers)] if numbers else []

    def _note_change(
        self, before: RegistrationState, after: RegistrationState, now: float
    ) -> Effect:
        since = now if self._unlisted_at is None else self._unlisted_at
        if after.step is RegistrationStep.LISTED and before.step is not RegistrationStep.LISTED:
            self._closing = (now + LINGER_S, self._retired)
        self._unlisted_at = None if after.step in _IDLE else since
        return effects.RecordRegistration(before, after, now - since)
