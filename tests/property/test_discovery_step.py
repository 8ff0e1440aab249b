"""Discoveries: each requester gets one reply, one process runs at a time, and none is forgotten."""

import math
from collections import Counter, deque
from typing import Literal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.control.protocol import (
    LEAVING,
    DryRun,
    ErrorReply,
    Reload,
    ReloadReply,
    Rescan,
    RescanReply,
)
from rbln_supervisor.core.discovery.queue import MAX_REQUESTERS
from rbln_supervisor.core.matching.plan import Plan
from rbln_supervisor.core.step.discovery_step import (
    RESCAN_JITTER,
    RETRY_INTERVAL_S,
    ApplyResult,
    ConfigRead,
    DiscoveryEffect,
    DiscoveryEnded,
    DiscoveryEvent,
    DiscoveryRequested,
    DiscoveryState,
    FunctionsChanged,
    PlanDryRun,
    ReadConfig,
    RequestFullCheck,
    ResultApplied,
    SendReply,
    StartDiscovery,
    StopRequested,
    TimePassed,
    next_discovery_at,
    step_discovery,
)
from rbln_worker.contract.device import Bdf
from rbln_worker.contract.inventory import DiscoveryResult

Request = Literal["rescan", "reload", "dry run"]
What = Request | Literal["event", "end", "fail", "time", "stuck"]
WHATS: tuple[What, ...] = (
    "rescan", "reload", "dry run", "event", "end", "fail", "time", "stuck",
)  # fmt: skip
REQUESTS: dict[What, Rescan | Reload | DryRun] = {
    "rescan": Rescan(),
    "reload": Reload(),
    "dry run": DryRun(b'{"resourceList": []}'),
}
RESCAN_S = 60.0


class Story:
    """The step with a shell that carries out its effects."""

    def __init__(self) -> None:
        self.state = DiscoveryState(RESCAN_S, "x.io")
        self.now = 0.0
        self.process = False
        self.is_stuck = False
        self.replies: Counter[bytes] = Counter()
        self.checked_at: list[int] = []
        self.effects: list[DiscoveryEffect] = []

    def post(self, event: DiscoveryEvent) -> None:
        events = deque([event])
        while events:
            self.state, effects = step_discovery(self.state, events.popleft(), self.now)
            events.extend(filter(None, map(self.perform, effects)))

    def perform(self, effect: DiscoveryEffect) -> DiscoveryEvent | None:
        self.effects.append(effect)
        match effect:
            case ReadConfig(requester=requester, force=force):
                return ConfigRead(NodeConfig(()), requester, force)
            case StartDiscovery():
                assert not self.process, "two processes at once"
                assert not self.is_stuck
                self.process = True
            case ApplyResult(request=request, result=result):
                reload = None if request.config is None else ReloadReply(Plan())
                failed = result.failed is not None
                return ResultApplied(request, RescanReply(0), reload, failed)
            case PlanDryRun(request=request):
                self.replies[request.requester] += 1
            case SendReply(requester=requester):
                self.replies[requester] += 1
            case RequestFullCheck():
                pass
        return None

    def tell(self, what: What, requester: bytes) -> None:
        self.now += 1.0
        match what:
            case "rescan" | "reload" | "dry run":
                self.post(DiscoveryRequested(REQUESTS[what], requester))
            case "event":
                self.post(FunctionsChanged(frozenset({Bdf("0000:01:00.0")}), self.now))
            case "end" | "fail" if self.process:
                self.process = False
                failed = "it died" if what == "fail" else None
                self.post(DiscoveryEnded(DiscoveryResult(failed=failed)))
            case "stuck" if self.process:  # killed, and reported before its end
                self.process, self.is_stuck = False, True
                self.post(DiscoveryEnded(DiscoveryResult(failed="took too long")))
            case "stuck" if self.is_stuck:
                self.post(DiscoveryEnded(DiscoveryResult(failed="can't be ended")))
            case "end" if self.is_stuck:
                self.is_stuck = False
            case _:
                self.post(TimePassed(self.process or self.is_stuck))

    @property
    def waiting(self) -> set[bytes]:
        return set(self.state.queue.requesters)


@given(st.lists(st.sampled_from(WHATS), max_size=40), st.booleans())
def test_each_requester_gets_one_reply(whats: list[What], is_left: bool) -> None:  # noqa: FBT001
    story, requesters = Story(), set[bytes]()
    for number, what in enumerate(whats):
        requester = b"%d" % number
        if what in REQUESTS:
            requesters.add(requester)
        story.tell(what, requester)
        assert story.waiting | story.replies.keys() == requesters
        assert story.waiting.isdisjoint(story.replies)
        assert max(story.replies.values(), default=1) == 1
    if is_left:
        story.post(StopRequested())
        story.post(DiscoveryRequested(Rescan(), b"late"))
        requesters.add(b"late")
        assert story.effects[-1] == SendReply(b"late", LEAVING)
        before = len(story.effects)
        story.tell("time", b"")
        assert len(story.effects) == before
    else:
        story.tell("end", b"")
        for _ in range(2 * len(whats) + 2):
            story.tell("time", b"")
            story.tell("end", b"")
    assert story.replies == Counter(requesters)


def test_the_first_discovery_is_due_at_once_and_the_next_ones_at_intervals() -> None:
    story = Story()
    assert next_discovery_at(story.state, math.inf) == 0.0
    story.tell("time", b"")
    story.tell("end", b"")
    due = next_discovery_at(story.state, math.inf)
    assert due == story.now + RESCAN_S
    assert next_discovery_at(story.state, removal_at=due - 5) == due - 5
    story.post(TimePassed(is_busy=False, removal_at=due - 5))
    story.now = due
    story.post(TimePassed(is_busy=True))
    assert [type(one) for one in story.effects] == [StartDiscovery, ApplyResult]
    story.post(TimePassed(is_busy=False))
    assert [type(one) for one in story.effects] == [StartDiscovery, ApplyResult, StartDiscovery]
    story.tell("fail", b"")
    assert next_discovery_at(story.state, math.inf) == story.now + RETRY_INTERVAL_S
    assert story.state.measures.failed == 1


@given(st.floats(0, 1))
def test_intervals_vary(chance: float) -> None:
    state = msgspec.structs.replace(DiscoveryState(RESCAN_S, "x.io"), rescan_at=0.0)
    state, _ = step_discovery(state, DiscoveryEnded(DiscoveryResult(), chance), 100.0)
    assert abs(state.rescan_at - 100.0 - RESCAN_S) <= RESCAN_S * RESCAN_JITTER + 1e-6


def test_a_rescan_is_answered_after_the_request_for_health_checks() -> None:
    story = Story()
    story.tell("rescan", b"a")
    story.tell("time", b"")
    story.effects.clear()
    story.tell("end", b"")
    assert [type(one) for one in story.effects] == [ApplyResult, RequestFullCheck, SendReply]


def test_too_many_requests_are_refused() -> None:
    story = Story()
    for number in range(MAX_REQUESTERS):
        story.tell("rescan", b"%d" % number)
    assert story.replies == {}
    for what in ("rescan", "reload", "dry run"):
        story.tell(what, b"one more")
        refusal = story.effects[-1]
        assert isinstance(refusal, SendReply)
        assert isinstance(refusal.reply, ErrorReply)


def test_errors_of_a_configuration_are_answered_without_a_discovery() -> None:
    story = Story()
    story.post(DiscoveryRequested(DryRun(b"{"), b"a"))
    story.post(ConfigRead(ErrorReply(("no file",)), b"b"))
    assert story.replies == {b"a": 1, b"b": 1}
    assert story.waiting == set()
