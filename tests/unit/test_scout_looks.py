"""Who gets an answer from which look."""

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.discovery.queue import (
    MAX_REQUESTERS,
    DiscoveryQueue,
    DiscoveryRequest,
    DryRunRequest,
)
from rbln_worker.contract.device import Bdf

OLD, NEW = NodeConfig(()), NodeConfig((), warnings=("newer",))


def test_what_is_asked_meanwhile_waits_for_the_next_look() -> None:
    looks = (
        DiscoveryQueue()
        .request_discovery(b"a")
        .request_discovery(b"b")
        .start_next()
        .request_discovery(b"c")
    )
    looks, ended = looks.finish_running()
    assert ended == DiscoveryRequest(rescans=frozenset({b"a", b"b"}))
    assert looks.running is None
    assert looks.start_next().finish_running() == (
        DiscoveryQueue(),
        DiscoveryRequest(rescans=frozenset({b"c"})),
    )


def test_a_look_that_nobody_asked_for() -> None:
    looks = DiscoveryQueue().request_discovery(None)
    assert looks.is_discovery_requested
    assert looks.start_next().finish_running() == (DiscoveryQueue(), DiscoveryRequest())
    assert not DiscoveryQueue().is_discovery_requested


def test_the_newest_configuration_is_that_of_all_who_asked() -> None:
    looks = (
        DiscoveryQueue()
        .request_reload(OLD, b"a")
        .request_discovery(b"b")
        .request_reload(NEW, b"c")
        .request_reload(NEW, None)
    )
    _, ended = looks.start_next().finish_running()
    assert ended == DiscoveryRequest(NEW, frozenset({b"b"}), frozenset({b"a", b"c"}))


def test_a_trial_has_a_look_of_its_own_after_the_others() -> None:
    trial = DryRunRequest(NEW, b"t")
    looks = DiscoveryQueue().request_dry_run(trial).request_discovery(b"a").start_next()
    assert set(looks.requesters) == {b"a", b"t"}
    looks, ended = looks.finish_running()
    assert ended == DiscoveryRequest(rescans=frozenset({b"a"}))
    looks, ended = looks.start_next().finish_running()
    assert ended == trial
    assert not looks.is_discovery_requested


def test_who_waits_is_bounded() -> None:
    looks = DiscoveryQueue()
    for number in range(MAX_REQUESTERS - 1):
        looks = looks.request_discovery(b"%d" % number)
    assert not looks.is_full
    assert looks.request_discovery(b"0").is_full is False
    assert looks.request_dry_run(DryRunRequest(NEW, b"t")).is_full


def test_force_is_for_what_one_has_seen() -> None:
    forced = DiscoveryQueue().request_reload(OLD, b"a", force=True)
    same, newer = forced.request_reload(OLD, b"b"), forced.request_reload(NEW, b"b")
    assert same.reload == DiscoveryRequest(OLD, reloads=frozenset({b"a", b"b"}), force=True)
    assert newer.reload == DiscoveryRequest(NEW, reloads=frozenset({b"a", b"b"}))


A, B = Bdf("0000:20:00.0"), Bdf("0000:21:00.0")


def test_looks_at_a_few_functions_are_one_look() -> None:
    looks = (
        DiscoveryQueue()
        .request_discovery(None, only=frozenset({A}))
        .request_discovery(None, only=frozenset({B}))
    )
    assert looks.start_next().running == DiscoveryRequest(only=frozenset({A, B}))


def test_who_asks_for_all_gets_all() -> None:
    whole = DiscoveryRequest(rescans=frozenset({b"a"}))
    assert (
        DiscoveryQueue()
        .request_discovery(b"a")
        .request_discovery(None, only=frozenset({A}))
        .start_next()
        .running
        == whole
    )
    assert (
        DiscoveryQueue()
        .request_discovery(None, only=frozenset({A}))
        .request_discovery(b"a")
        .start_next()
        .running
        == whole
    )
    with_config = (
        DiscoveryQueue()
        .request_discovery(None, only=frozenset({A}))
        .request_reload(NEW, None)
        .start_next()
    )
    assert with_config.running == DiscoveryRequest(NEW)
