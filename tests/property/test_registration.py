"""A kubelet that does anything at any time: what never happens, and what does in the end."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from rbln_worker.core.registration import (
    Action,
    Choice,
    RegistrationState,
    RegistrationStep,
    choose_way,
    handle_event,
    needs_newer_check,
    status_phase,
)
from rbln_worker.core.registration_events import (
    Accepted,
    DirsChecked,
    Event,
    NotOpened,
    Opened,
    Rejected,
    Streams,
    TimerExpired,
    View,
)
from rbln_worker.core.registration_reasons import Reason

STEPS_MOST = 60
"""Generous: events until a sound kubelet lists the pool, whatever was before."""


class Registering(RuleBasedStateMachine):
    """The shell's side of a registration, and the kubelet's folders."""

    @initialize(
        choice=st.sampled_from(["auto", "kubelet-sock", "plugin-watcher"]),
        sock_folder=st.booleans(),
        registry_folder=st.booleans(),
    )
    def begin(self, choice: Choice, *, sock_folder: bool, registry_folder: bool) -> None:
        self.standing = RegistrationState(choice)
        self.now = 0.0
        self.sock_folder = sock_folder
        self.registry_folder = registry_folder
        self.kubelet: int | None = None
        self.endpoints = 0
        self.opening: int | None = None
        self.endpoint: int | None = None
        self.served = False
        self.another = False
        self.registering: int | None = None
        self.heard: set[int | None] = set()
        """Endpoints of which a kubelet may know."""
        self.streams = 0

    def tell(self, event: Event) -> None:
        self.standing, act = handle_event(self.standing, event, self.now)
        match act:
            case Action.OPEN:
                self.endpoints += 1
                self.opening, self.endpoint = self.endpoints, None
                self.served, self.streams = False, 0
            case Action.REGISTER:
                assert self.standing.way == "kubelet-sock"
                assert self.opening is None
                assert self.endpoint is not None, "nothing is registered before it is served"
                assert self.endpoint not in self.heard, "an endpoint is registered once"
                self.registering = self.endpoint
            case None:
                pass

    def view(self) -> View:
        return View(
            kubelet=None if self.kubelet is None or not self.sock_folder else (self.kubelet,),
            sock_folder=self.sock_folder,
            registry_folder=self.registry_folder,
            served=self.served,
            younger="another.sock" if self.another and needs_newer_check(self.standing) else "",
        )

    # The world

    @rule(there=st.booleans())
    def another_instance_comes_and_goes(self, *, there: bool) -> None:
        self.another = there

    @rule()
    def a_kubelet_starts(self) -> None:
        self.kubelet = (self.kubelet or 0) + 1
        self.sock_folder = True
        if self.standing.way == "kubelet-sock":
            self.served = False

    @rule()
    def the_kubelets_socket_goes(self) -> None:
        self.kubelet = None

    @rule(there=st.booleans())
    def folders_come_and_go(self, *, there: bool) -> None:
        self.registry_folder = there
        if not there and self.standing.way == "plugin-watcher":
            self.served = False

    @rule()
    def the_socket_is_removed(self) -> None:
        self.served = False

    @rule()
    def somebody_looks(self) -> None:
        self.tell(DirsChecked(self.view()))

    # What was begun ends

    @precondition(lambda self: self.opening is not None)
    @rule()
    def it_opens(self) -> None:
        self.endpoint, self.opening, self.served = self.opening, None, True
        if self.standing.way == "plugin-watcher":
            self.heard.add(self.endpoint)
        self.tell(Opened())

    @precondition(lambda self: self.opening is not None)
    @rule()
    def it_cannot_be_opened(self) -> None:
        self.opening = None
        self.tell(NotOpened("no room"))

    @precondition(lambda self: self.registering is not None)
    @rule(outcome=st.sampled_from(["taken", "refused", "not reached"]))
    def register_ends(self, outcome: str) -> None:
        registering, self.registering = self.registering, None
        assert registering is not None
        if outcome != "not reached":
            self.heard.add(registering)
        if registering != self.endpoint:
            return  # a late answer about a socket of before
        if outcome == "taken":
            self.tell(Accepted())
        else:
            self.tell(Rejected(outcome, reached=outcome == "refused"))

    @precondition(lambda self: self.endpoint in self.heard)
    @rule(taken=st.booleans())
    def the_watcher_speaks(self, *, taken: bool) -> None:
        if self.standing.way == "plugin-watcher":
            self.tell(Accepted() if taken else Rejected("no", reached=True))

    @precondition(lambda self: self.endpoint is not None)
    @rule()
    def a_stream_opens(self) -> None:
        if self.endpoint in {*self.heard, self.registering}:
            self.heard.add(self.endpoint)
            self.streams += 1
            self.tell(Streams(self.streams))

    @precondition(lambda self: self.streams)
    @rule()
    def a_stream_ends(self) -> None:
        self.streams -= 1
        self.tell(Streams(self.streams))

    @precondition(lambda self: self.standing.deadline is not None)
    @rule()
    def time_passes(self) -> None:
        self.now = max(self.now, self.standing.deadline or 0.0)
        self.tell(DirsChecked(self.view()))
        after = self.standing
        if after.deadline is not None and after.deadline <= self.now:
            self.tell(TimerExpired())

    @rule()
    def all_is_well_at_last(self) -> None:
        """A kubelet that takes everything lists the pool after a while, by one way."""
        self.a_kubelet_starts()
        self.registry_folder = self.registry_folder or self.standing.choice == "plugin-watcher"
        for _ in range(STEPS_MOST):
            self.somebody_looks()
            if self.standing.step is RegistrationStep.LISTED and self.streams:
                break
            if self.opening is not None:
                self.it_opens()
            elif self.registering is not None:
                self.register_ends("taken")
            elif self.endpoint in self.heard and self.served and not self.streams:
                if self.standing.way == "plugin-watcher":
                    self.the_watcher_speaks(taken=True)
                self.a_stream_opens()
            elif self.standing.deadline is not None:
                self.time_passes()
        assert self.standing.step is RegistrationStep.LISTED, self.standing
        assert self.standing.way == choose_way(self.standing.choice, self.view())
        assert status_phase(self.standing) == "registered"

    # What always holds

    @invariant()
    def something_is_under_way_or_somebody_is_waited_for(self) -> None:
        match self.standing.step:
            case RegistrationStep.AWAY | RegistrationStep.LISTED:
                assert self.standing.deadline is None
            case RegistrationStep.OPENING:
                assert self.opening is not None
                assert self.standing.deadline is None
            case RegistrationStep.CALLING:
                assert self.registering is not None
                assert self.standing.deadline is None
            case RegistrationStep.REFUSED | RegistrationStep.YIELDED:
                assert self.standing.deadline is not None
                assert self.standing.reason is not Reason.NONE
            case RegistrationStep.UNLISTED:
                waits_for_a_kubelet = self.standing.way == "plugin-watcher"
                assert self.standing.deadline is not None or waits_for_a_kubelet

    @invariant()
    def a_listed_pool_has_no_reason(self) -> None:
        if self.standing.step is RegistrationStep.LISTED:
            assert self.standing.reason is Reason.NONE
            assert self.standing.failures == 0

    @invariant()
    def an_attempt_is_repeated_only_with_a_socket_that_nobody_knows(self) -> None:
        if self.standing.retry and self.standing.step is RegistrationStep.REFUSED:
            assert self.endpoint not in self.heard


TestRegistering = Registering.TestCase
TestRegistering.settings = settings(stateful_step_count=40)
