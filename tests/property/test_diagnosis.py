"""Whatever is found out about a node, what is said of it makes sense and has a next step."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.doctor.diagnose import CHECKS, diagnose, is_wrong
from rbln_supervisor.core.doctor.facts import (
    Config,
    DoctorFacts,
    Folder,
    Hardware,
    Host,
    Kubelet,
    Limits,
    NearMiss,
    PoolView,
    Process,
    RunDir,
    Socket,
    Unclaimed,
    Unusable,
    Written,
)
from rbln_supervisor.core.doctor.finding import MAX_EVIDENCE, SEVERITIES, limit_evidence
from rbln_supervisor.core.doctor.match_report import pool_views, unclaimed_devices
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.core.matching.explain import match_counts
from rbln_supervisor.core.matching.node_inventory import NodeInventory
from rbln_supervisor.core.matching.selector_match import Mismatch
from rbln_supervisor.core.status import (
    DeviceStatus,
    NodeStatus,
    PoolStatus,
    SupervisorStatus,
    WorkerStatus,
)
from rbln_worker.contract.device import PciFunction
from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.pool import PoolSpec
from tests.property.worlds import FUNCTIONS

SELECTORS = st.builds(
    SelectorObject,
    devices=st.sampled_from([(), ("1120",), ("9999",)]),
    drivers=st.sampled_from([(), ("rebellions",), ("vfio-pci", "other")]),
)
TEXTS = st.text(max_size=12)
COUNTS = st.integers(0, 2000)
FOLDERS = st.builds(Folder, TEXTS, st.booleans(), st.booleans(), TEXTS)
SOCKETS = st.builds(Socket, TEXTS, st.booleans(), st.booleans(), TEXTS)
LINES = st.lists(TEXTS, max_size=12).map(tuple)
HOSTS = st.builds(
    Host,
    st.none()
    | st.builds(
        RunDir,
        FOLDERS,
        SOCKETS,
        SOCKETS,
        st.none() | COUNTS,
        st.booleans(),
        TEXTS,
        st.dictionaries(TEXTS, COUNTS, max_size=2),
    ),
    st.none()
    | st.builds(
        Kubelet,
        FOLDERS,
        FOLDERS,
        SOCKETS,
        SOCKETS,
        st.sampled_from(["auto", "kubelet-sock", "plugin-watcher"]),
        st.dictionaries(
            st.sampled_from(["--device-plugins-dir", "--pod-resources-dir"]), TEXTS, max_size=2
        ),
    ),
    st.none() | st.builds(Config, TEXTS, LINES, st.dictionaries(TEXTS, LINES, max_size=2), LINES),
    st.none()
    | st.builds(
        Hardware,
        st.sampled_from(["", "x"]),
        LINES,
        st.dictionaries(
            TEXTS,
            st.builds(
                PoolView,
                TEXTS,
                COUNTS,
                st.integers(0, 2),
                st.dictionaries(TEXTS, COUNTS, max_size=2),
                st.dictionaries(TEXTS, COUNTS, max_size=2),
                st.none()
                | st.builds(NearMiss, COUNTS, st.builds(Mismatch, TEXTS, LINES, TEXTS), COUNTS),
                st.booleans(),
            ),
            max_size=3,
        ),
        st.lists(st.builds(Unclaimed, TEXTS, TEXTS, LINES, LINES), max_size=12).map(tuple),
        st.lists(st.builds(Unusable, TEXTS, TEXTS, TEXTS), max_size=12).map(tuple),
        COUNTS,
        COUNTS,
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    st.none()
    | st.builds(
        Written,
        st.none() | FOLDERS,
        st.none() | FOLDERS,
        st.dictionaries(TEXTS, TEXTS, max_size=2),
    ),
    st.none()
    | st.builds(
        Limits,
        st.lists(st.builds(Process, COUNTS, TEXTS, COUNTS, COUNTS), max_size=3).map(tuple),
        COUNTS,
        COUNTS,
        COUNTS,
        TEXTS,
    ),
)
DEVICES = st.builds(
    DeviceStatus,
    st.sampled_from(["Healthy", "Unhealthy"]),
    TEXTS,
    st.none(),
    st.sampled_from(HealthPhase),
    TEXTS,
    st.none() | st.floats(),
    LINES,
)
STATUSES = st.builds(
    NodeStatus,
    st.builds(
        SupervisorStatus,
        COUNTS,
        TEXTS,
        st.floats(),
        st.booleans(),
        st.lists(TEXTS | st.sampled_from(["reload refused: x", "no kubelet: y"])).map(tuple),
        st.dictionaries(TEXTS | st.just("times that uevents were lost"), COUNTS, max_size=3),
    ),
    st.dictionaries(
        TEXTS,
        st.builds(
            PoolStatus,
            st.sampled_from(["starting", "serving", "waiting", "backoff", "invalid"]),
            st.booleans(),
            st.none(),
            TEXTS,
            st.none(),
            st.builds(
                WorkerStatus,
                st.none() | COUNTS,
                COUNTS,
                st.none() | TEXTS,
                LINES,
                version=TEXTS,
            ),
            st.dictionaries(TEXTS, DEVICES, max_size=4),
            LINES,
        ),
        max_size=3,
    ),
)
FACTS = st.builds(
    DoctorFacts,
    HOSTS,
    st.just(6.0),
    st.just("0.1.0"),
    st.none() | STATUSES,
    TEXTS,
    st.dictionaries(TEXTS, TEXTS, max_size=2),
    st.sampled_from(["", "", "", "x"]),
)


@given(FACTS)
def test_every_finding_can_be_acted_on(facts: DoctorFacts) -> None:
    found = diagnose(facts)
    assert len(set(found)) == len(found)
    ranks = [SEVERITIES.index(one.severity) for one in found]
    assert ranks == sorted(ranks)
    for one in found:
        assert one.code.replace("-", "").isalpha()
        assert one.cause
        assert one.next
        assert len(one.evidence) <= MAX_EVIDENCE + 1
    assert is_wrong(found) == any(one.severity == "error" for one in found)
    assert msgspec.json.decode(msgspec.json.encode(found))


@given(FACTS)
def test_checks_do_not_depend_on_each_other(facts: DoctorFacts) -> None:
    assert set(diagnose(facts)) == {one for check in CHECKS for one in check(facts)}


@given(FACTS)
def test_what_was_not_found_out_is_never_well(facts: DoctorFacts) -> None:
    missing = msgspec.structs.replace(facts, host=Host(), failed="", errors={})
    codes = [one.code for one in diagnose(missing)]
    assert codes.count("no-answer") == 6


@given(st.lists(TEXTS, max_size=30))
def test_evidence_is_bounded_and_says_how_much_is_left(lines: list[str]) -> None:
    told = limit_evidence(lines)
    assert list(told[:MAX_EVIDENCE]) == lines[:MAX_EVIDENCE]
    if len(lines) > MAX_EVIDENCE:
        assert told[-1] == f"… and {len(lines) - MAX_EVIDENCE} more"


@given(st.lists(SELECTORS, max_size=3), FUNCTIONS)
def test_a_view_counts_as_the_assignment_does(
    wanted: list[SelectorObject], functions: list[PciFunction]
) -> None:
    pools = [
        PoolConfig(PoolSpec("a.b", f"c{n}", "accelerator"), (selector,))
        for n, selector in enumerate(wanted)
    ]
    node = NodeInventory({one.bdf: one for one in functions})
    seen, counted = pool_views(pools, node), match_counts(pools, node)
    taken = assign(pools, node).taken
    assert list(seen) == [pool.spec.name for pool in pools]
    for name, tally in counted.items():
        view = seen[name]
        assert (view.candidates, view.takes) == (tally.candidates, tally.matched)
        assert sum(view.earlier.values()) == tally.shadowed
        assert sum(view.refused.values()) == tally.refused
        assert (view.nearest is not None) == (tally.rejected > 0)
        if view.nearest is not None:
            assert 0 < view.nearest.devices <= tally.rejected
    assert not {one.device for one in unclaimed_devices(pools, node)} & taken.keys()


GOOD = Folder("/x", there=True, writable=True)
ANSWERS = Socket("/x", there=True, answers=True)
WELL = DoctorFacts(
    Host(
        RunDir(GOOD, ANSWERS, ANSWERS, 7, locked=True),
        Kubelet(GOOD, GOOD, ANSWERS, ANSWERS),
        Config("/c"),
        Hardware(),
        Written(),
        Limits(),
    ),
    6.0,
    "0.1.0",
    NodeStatus(SupervisorStatus(7, "0.1.0", 1.0, ready=True), {}),
)


def with_host(**sections: msgspec.Struct) -> DoctorFacts:
    return msgspec.structs.replace(WELL, host=msgspec.structs.replace(WELL.host, **sections))


SILENT = NodeStatus(SupervisorStatus(7, "0.1.0", 1.0, ready=True), {})
SERVING = PoolStatus(
    "serving",
    registered=True,
    registration=None,
    reason="",
    endpoint=None,
    worker=WorkerStatus(8),
    devices={},
)


def said(*problems: str, version: str = "0.1.0") -> DoctorFacts:
    supervisor = SupervisorStatus(7, version, 1.0, ready=True, problems=problems)
    return msgspec.structs.replace(WELL, status=NodeStatus(supervisor, {}))


def counted(name: str) -> DoctorFacts:
    supervisor = SupervisorStatus(7, "0.1.0", 1.0, ready=True, counters={name: 2})
    return msgspec.structs.replace(WELL, status=NodeStatus(supervisor, {}))


def of_pool(pool: PoolStatus) -> DoctorFacts:
    status = msgspec.structs.replace(SILENT, pools={"a/b": pool})
    facts = with_host(
        config=Config("/c", pools=("a/b",)),
        hardware=Hardware(pools={"a/b": PoolView("accelerator", 1, 1)}),
    )
    return msgspec.structs.replace(facts, status=status)


def worker(version: str) -> DoctorFacts:
    pool = msgspec.structs.replace(SERVING, worker=WorkerStatus(8, version=version))
    return of_pool(pool)


def suspect() -> DoctorFacts:
    device = DeviceStatus("Healthy", "x", 0, HealthPhase.SUSPECT, "node", 1.0, ("slow link",))
    pool = msgspec.structs.replace(SERVING, devices={"d": device}, problems=("disk",))
    return of_pool(pool)


def limited(found: Limits) -> DoctorFacts:
    return with_host(limits=found)


CLOSED = Folder("/x", there=True, why="read-only")


@pytest.mark.parametrize(
    ("facts", "codes"),
    [
        (WELL, []),
        (said("link changes can't be heard (x): …"), ["netlink-deaf"]),
        (said("no inotify for the kubelet's folder (x)"), ["inotify-exhausted"]),
        (said("the look at the node took more than 10 s and was ended"), ["look-failed"]),
        (said("device 0000:5e:00.0 is left out: x"), ["device-unreadable"]),
        (said("events are lost at a restart: x"), ["events-unwritten"]),
        (said("no kubelet: x"), []),
        (said("anything else"), ["problem"]),
        (counted("times that uevents were lost"), ["events-lost"]),
        (counted("unreadable worker frames"), ["frames-dropped"]),
        (counted("reloads"), []),
        (said(version="0.0.9"), ["version-differs"]),
        (worker("0.0.9"), ["version-differs"]),
        (worker("0.1.0"), []),
        (suspect(), ["pool-problem", "device-suspect", "device-warning"]),
        (limited(Limits(processes=(Process(7, "x", 80, 100),))), ["descriptors-short"]),
        (limited(Limits(processes=(Process(7, "x", 79, 100), Process(8, "x", 9, 0)))), []),
        (limited(Limits(inotify_instances=110, inotify_instances_most=128)), ["inotify-short"]),
        (limited(Limits(inotify_error="x", inotify_instances_most=1)), ["inotify-exhausted"]),
        (limited(Limits(inotify_watches_most=100)), ["inotify-watches-short"]),
        (with_host(written=Written(cdi=CLOSED)), ["cdi-closed"]),
        (with_host(written=Written(device_info=CLOSED)), ["device-info-closed"]),
        (with_host(run_dir=RunDir(CLOSED, ANSWERS, ANSWERS, 7, locked=True)), ["run-dir-closed"]),
        (
            with_host(kubelet=Kubelet(CLOSED, Folder("/x"), ANSWERS, ANSWERS, "plugin-watcher")),
            ["kubelet-plugins-closed", "plugins-registry-missing"],
        ),
        (
            with_host(kubelet=Kubelet(GOOD, CLOSED, ANSWERS, ANSWERS, "plugin-watcher")),
            ["plugins-registry-closed"],
        ),
        (with_host(kubelet=Kubelet(GOOD, CLOSED, ANSWERS, ANSWERS)), []),
        (
            with_host(kubelet=Kubelet(Folder("/x"), CLOSED, ANSWERS, ANSWERS)),
            ["kubelet-dir-missing", "plugins-registry-closed"],
        ),
        (
            with_host(hardware=Hardware(unclaimed=(Unclaimed("d", "x"),))),
            ["device-unclaimed"],
        ),
    ],
)
def test_what_facts_come_to(facts: DoctorFacts, codes: list[str]) -> None:
    assert [one.code for one in diagnose(facts)] == codes
