"""The life of a worker: no story in which two live at once, and every story comes to rest."""

from collections.abc import Iterator

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rbln_supervisor.core.workers.lifecycle import Act, Child, State, step
from rbln_supervisor.core.workers.worker_events import (
    DeadlinePassed,
    Event,
    Exited,
    ExportEnded,
    Incompatible,
    MessageReceived,
    Needed,
    NotNeeded,
    OrphanFound,
    StateReceived,
)

LIVING = {
    State.STARTING,
    State.UP,
    State.LEAVING,
    State.WITHDRAWING,
    State.ADOPTING,
    State.KILLED,
}
TURNS_MOST = 12
"""More than any life needs to come to rest when nothing else happens."""


class Life(RuleBasedStateMachine):
    """A pool's worker, the lock that it holds, and the supervisor's word on it."""

    def __init__(self) -> None:
        super().__init__()
        self.child = Child()
        self.now = 0.0
        self.holder: str | None = None
        """Who holds the lock: nobody, ours, a stranger, or one that must not be adopted."""
        self.watched = False
        """The supervisor knows of the holder."""
        self.hangs = False
        self.wanted = False

    def tell(self, event: Event) -> tuple[Act, ...]:
        self.child, acts = step(self.child, event, self.now)
        for act in acts:
            if act is Act.REPLACE:
                assert self.holder == "unfit"
                self.holder, self.hangs = "ours", False  # the other one is a predecessor now
            elif act is not Act.SPAWN:
                assert self.holder
                assert self.watched
            elif self.holder:
                assert not self.watched, "a second worker"
                self.watched = True
                self.tell(OrphanFound())
            else:
                self.holder, self.watched = "ours", True
        return acts

    @invariant()
    def one_life(self) -> None:
        assert (self.holder is not None and self.watched) is (self.child.state in LIVING)
        assert (self.child.deadline is None) is (self.child.state in {State.NONE, State.KILLED})

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        """Whoever waits for the deadline is woken by it."""
        self.now += seconds
        if self.child.deadline is not None and self.now >= self.child.deadline:
            self.tell(DeadlinePassed())

    @rule(wanted=st.booleans())
    def want(self, wanted: bool) -> None:  # noqa: FBT001
        self.wanted = wanted
        self.tell(Needed() if wanted else NotNeeded())

    @rule()
    def end_export(self) -> None:
        self.wanted = False
        self.tell(ExportEnded())

    @precondition(lambda self: self.holder is None)
    @rule(who=st.sampled_from(["stranger", "unfit"]))
    def stranger_comes(self, who: str) -> None:
        """One that was forked by an earlier supervisor, and took the lock only now, say."""
        self.holder, self.watched, self.hangs = who, False, False

    @precondition(lambda self: self.holder and not self.watched)
    @precondition(lambda self: self.child.state is State.NONE)
    @rule()
    def meet(self) -> None:
        self.watched, self.wanted = True, True
        self.tell(OrphanFound())

    @precondition(lambda self: self.holder and self.watched and not self.hangs)
    @rule()
    def speak(self) -> None:
        self.tell(MessageReceived())
        if self.child.state is State.ADOPTING:
            self.tell(Incompatible() if self.holder == "unfit" else StateReceived())

    @precondition(lambda self: self.holder)
    @rule()
    def hang(self) -> None:
        self.hangs = True

    @precondition(lambda self: self.holder)
    @rule(chance=st.floats(0, 1, exclude_max=True))
    def die(self, chance: float) -> None:
        watched = self.watched
        self.holder, self.watched, self.hangs = None, False, False
        if watched:
            self.tell(Exited(chance))

    def teardown(self) -> None:
        """Nothing else happens: workers do as they are told, time passes, and it comes to rest."""
        for _ in self._turns():
            if self.holder and self.watched and self.child.state is State.KILLED:
                self.die(0.5)
            elif self.holder and self.watched and not self.hangs:
                if self.child.state in {State.LEAVING, State.WITHDRAWING}:
                    self.die(0.5)
                else:
                    self.speak()
            else:
                self._pass_time()
        assert self.child.state is (State.UP if self.wanted else State.NONE)

    def _turns(self) -> Iterator[int]:
        for turn in range(TURNS_MOST):
            if self.child.state is State.NONE:
                return
            if self.child.state is State.UP and not self.hangs:
                return
            yield turn

    def _pass_time(self) -> None:
        assert self.child.deadline is not None
        self.now = max(self.now, self.child.deadline)
        if Act.KILL in self.tell(DeadlinePassed()):
            self.die(0.5)
        self.one_life()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=1500, stateful_step_count=20)
