"""Whatever is lost on the way, a worker holds what the supervisor says it holds."""

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.workers.desired_state import DesiredState, make_snapshot
from rbln_worker.contract.messages import Snapshot, encode_message, to_worker
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.pool_snapshot import HeldPool, apply_snapshot
from tests.property.worlds import LOOK, Look, look_at

POOL = PoolSpec("rebellions.ai", "ATOM", "accelerator")

Fate = Literal["arrives", "arrives twice", "is late", "is lost", "is not sent", "new supervisor"]
STORY = st.lists(
    st.tuples(
        LOOK,
        st.sampled_from(
            ["arrives", "arrives twice", "is late", "is lost", "is not sent", "new supervisor"]
        ),
    ),
    max_size=15,
)


class Pair:
    """A supervisor's side and a worker's, as keeper and worker go about it."""

    def __init__(self) -> None:
        self.roster = DesiredState(POOL)
        self.session = 0
        self.believed: int | None = None
        """What the supervisor thinks that the worker holds."""
        self.inventory: HeldPool | None = None
        self.late: list[Snapshot] = []
        self.past: dict[tuple[str, int], DesiredState] = {}

    def look(self, look: Look, now: float) -> None:
        self.roster = look_at(self.roster, look, now)
        self.past[str(self.session), self.roster.generation] = self.roster

    def restart(self, look: Look, now: float) -> None:
        """A new supervisor knows nothing; the worker's hello names another session."""
        self.session += 1
        self.believed = None
        self.late.clear()
        self.roster = DesiredState(POOL)
        self.look(look, now)

    def send(self, fate: Fate) -> None:
        if self.believed == self.roster.generation or fate == "is not sent":
            return
        update = to_worker(encode_message(make_snapshot(self.roster, str(self.session))))
        assert isinstance(update, Snapshot)
        self.believed = self.roster.generation
        match fate:
            case "arrives" | "arrives twice" | "new supervisor":
                self.arrive(update)
                if fate == "arrives twice":
                    self.arrive(update)
            case "is late":
                self.late.append(update)
            case "is lost":
                pass

    def arrive(self, update: Snapshot) -> None:
        self.inventory = apply_snapshot(self.inventory, update)
        self.check()

    def beat(self) -> None:
        """The worker tells what it holds; a supervisor that thought otherwise sends it all."""
        held = self.inventory
        told = held.generation if held and held.session == str(self.session) else None
        if told != self.roster.generation:
            self.believed = None

    def check(self) -> None:
        """A worker that names a generation holds exactly that."""
        if self.inventory is not None:
            then = self.past[self.inventory.session, self.inventory.generation]
            assert self.inventory.devices == then.devices
            assert self.inventory.pool == then.pool


@given(STORY)
def test_any_story_ends_well(story: list[tuple[Look, Fate]]) -> None:
    pair, now = Pair(), 0.0
    for look, fate in story:
        now += look[-1]
        if fate == "new supervisor":
            pair.restart(look, now)
        else:
            pair.look(look, now)
        late, pair.late = pair.late, []
        pair.send(fate)
        for update in late:
            pair.arrive(update)
    if story:
        pair.beat()
        pair.send("arrives")
        assert pair.inventory is not None
        assert pair.inventory.session == str(pair.session)
        assert pair.inventory.generation == pair.roster.generation
        assert pair.inventory.devices == pair.roster.devices
        assert pair.inventory.pool == pair.roster.pool
