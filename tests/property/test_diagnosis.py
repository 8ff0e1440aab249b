"""Problems of any status and of any node matched with any selectors."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.doctor.match_checks import match_problems
from rbln_supervisor.core.doctor.status_checks import all_problems, has_errors
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.core.matching.explain import Decision, match_counts
from rbln_supervisor.core.status import (
    CounterName,
    DeviceStatus,
    NodeStatus,
    PoolStatus,
    SupervisorStatus,
    WorkerStatus,
)
from rbln_worker.contract.device import PciFunction
from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.contract.problem import MAX_EVIDENCE, Code, Problem, Severity, make_problem
from tests.property.worlds import FUNCTIONS

SELECTORS = st.builds(
    SelectorObject,
    devices=st.sampled_from([(), ("1120",), ("9999",)]),
    drivers=st.sampled_from([(), ("rebellions",), ("vfio-pci", "other")]),
)
TEXTS = st.text(max_size=12)
COUNTS = st.integers(0, 2000)
LINES = st.lists(TEXTS, max_size=12).map(tuple)
PROBLEMS = st.lists(
    st.builds(make_problem, st.sampled_from(Code), TEXTS, TEXTS, LINES), max_size=4
).map(tuple)
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
        PROBLEMS,
        st.none(),
        st.dictionaries(st.sampled_from(CounterName), st.integers(1, 9), max_size=3),
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
                WorkerStatus, st.none() | COUNTS, COUNTS, st.none() | TEXTS, LINES, version=TEXTS
            ),
            st.dictionaries(TEXTS, DEVICES, max_size=4),
            PROBLEMS,
        ),
        max_size=3,
    ),
)


@given(st.none() | STATUSES, PROBLEMS)
def test_every_problem_is_shown_once_the_worst_first(
    status: NodeStatus | None, others: tuple[Problem, ...]
) -> None:
    found = all_problems(status, others, "0.1.0")
    assert set(others) <= set(found)
    assert len(set(found)) == len(found)
    ranks = [list(Severity).index(one.severity) for one in found]
    assert ranks == sorted(ranks)
    for one in found:
        assert one.hint
        assert len(one.evidence) <= MAX_EVIDENCE + 1
    assert has_errors(found) == any(one.severity == "error" for one in found)
    assert msgspec.json.decode(msgspec.json.encode(found), type=tuple[Problem, ...]) == found


@given(st.lists(TEXTS, max_size=30))
def test_evidence_is_bounded_and_says_how_much_is_left(lines: list[str]) -> None:
    told = make_problem(Code.POOL_EMPTY, "", "", tuple(lines)).evidence
    assert list(told[:MAX_EVIDENCE]) == lines[:MAX_EVIDENCE]
    if len(lines) > MAX_EVIDENCE:
        assert told[-1] == f"… and {len(lines) - MAX_EVIDENCE} more"


@given(st.lists(SELECTORS, max_size=3), FUNCTIONS)
def test_pools_have_the_problems_that_the_assignment_has(
    wanted: list[SelectorObject], functions: list[PciFunction]
) -> None:
    pools = [
        PoolConfig(PoolSpec("a.b", f"c{n}", "accelerator"), (selector,))
        for n, selector in enumerate(wanted)
    ]
    node = NodeInventory({one.bdf: one for one in functions})
    counts = match_counts(pools, node)
    found = {(one.code, one.subject) for one in match_problems(pools, node)}
    for name, count in counts.items():
        assert ((Code.POOL_EMPTY, name) in found) == (count[Decision.MATCHED] == 0)
    unclaimed = {Code.DRIVER_MISSING, Code.DEVICE_NOT_SELECTED}
    taken = assign(pools, node).taken
    for one in match_problems(pools, node):
        if one.code in unclaimed:
            assert not {line.partition(",")[0] for line in one.evidence} & taken.keys()


SERVING = PoolStatus(
    "serving",
    registered=True,
    registration=None,
    reason="",
    endpoint=None,
    worker=WorkerStatus(8),
    devices={},
)
DISK = make_problem(Code.CDI_SPEC_NOT_WRITTEN, "disk full", "a/b")


def node(*problems: Problem, version: str = "0.1.0", pool: PoolStatus | None = None) -> NodeStatus:
    supervisor = SupervisorStatus(7, version, 1.0, ready=True, problems=problems)
    return NodeStatus(supervisor, {"a/b": pool} if pool else {})


def with_device(device: DeviceStatus) -> NodeStatus:
    pool = msgspec.structs.replace(SERVING, devices={"d": device}, problems=(DISK,))
    return node(pool=pool)


@pytest.mark.parametrize(
    ("status", "codes"),
    [
        (node(), []),
        (node(DISK), ["cdi-spec-not-written"]),
        (node(version="0.0.9"), ["version-differs"]),
        (
            with_device(
                DeviceStatus("Healthy", "x", 0, HealthPhase.SUSPECT, "node", 1.0, ("slow link",))
            ),
            ["cdi-spec-not-written", "device-suspect", "device-warning"],
        ),
    ],
)
def test_the_problems_of_a_status(status: NodeStatus, codes: list[str]) -> None:
    assert [one.code for one in all_problems(status, (), "0.1.0")] == codes


def test_evidence_of_doctor_replaces_the_line_of_the_status() -> None:
    ours = make_problem(Code.KUBELET_SOCK_MISSING, "no kubelet serves", "/k", ("no such file",))
    theirs = make_problem(Code.KUBELET_SOCK_MISSING, "no kubelet", "/k")
    assert all_problems(node(theirs), (ours,), "0.1.0") == (ours,)


def test_a_code_of_another_version_is_unknown() -> None:
    raw = b'{"code": "new", "severity": "error", "text": "a"}'
    assert msgspec.json.decode(raw, type=Problem).code is Code.UNKNOWN
