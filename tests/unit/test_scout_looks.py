"""Who gets an answer from which look."""

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.discovery.queue import (
    ASKERS_MOST,
    DiscoveryQueue,
    DiscoveryRequest,
    DryRunRequest,
)
from rbln_worker.contract.device import Bdf

OLD, NEW = NodeConfig(()), NodeConfig((), warnings=("newer",))


def test_what_is_asked_meanwhile_waits_for_the_next_look() -> None:
    looks = DiscoveryQueue().ask(b"a").ask(b"b").begin().ask(b"c")
    looks, ended = looks.end()
    assert ended == DiscoveryRequest(rescans=frozenset({b"a", b"b"}))
    assert looks.running is None
    assert looks.begin().end() == (DiscoveryQueue(), DiscoveryRequest(rescans=frozenset({b"c"})))


def test_a_look_that_nobody_asked_for() -> None:
    looks = DiscoveryQueue().ask(None)
    assert looks.is_one_wanted
    assert looks.begin().end() == (DiscoveryQueue(), DiscoveryRequest())
    assert not DiscoveryQueue().is_one_wanted


def test_the_newest_configuration_is_that_of_all_who_asked() -> None:
    looks = DiscoveryQueue().ask_for(OLD, b"a").ask(b"b").ask_for(NEW, b"c").ask_for(NEW, None)
    _, ended = looks.begin().end()
    assert ended == DiscoveryRequest(NEW, frozenset({b"b"}), frozenset({b"a", b"c"}))


def test_a_trial_has_a_look_of_its_own_after_the_others() -> None:
    trial = DryRunRequest(NEW, b"t")
    looks = DiscoveryQueue().ask_about(trial).ask(b"a").begin()
    assert set(looks.askers) == {b"a", b"t"}
    looks, ended = looks.end()
    assert ended == DiscoveryRequest(rescans=frozenset({b"a"}))
    looks, ended = looks.begin().end()
    assert ended == trial
    assert not looks.is_one_wanted


def test_who_waits_is_bounded() -> None:
    looks = DiscoveryQueue()
    for number in range(ASKERS_MOST - 1):
        looks = looks.ask(b"%d" % number)
    assert not looks.is_full
    assert looks.ask(b"0").is_full is False
    assert looks.ask_about(DryRunRequest(NEW, b"t")).is_full


def test_while_one_is_on_trial_the_next_configuration_waits_and_looks_do_not() -> None:
    looks = DiscoveryQueue().ask_for(OLD, b"a").begin().end()[0].hold(frozenset({b"a"}))
    looks = looks.ask_for(NEW, b"b")
    assert not looks.is_one_wanted
    looks = looks.ask(b"c")
    assert set(looks.askers) == {b"a", b"b", b"c"}
    looks, ended = looks.begin().end()
    assert ended == DiscoveryRequest(rescans=frozenset({b"c"}))
    looks, told = looks.release()
    assert told == {b"a"}
    looks, ended = looks.begin().end()
    assert ended == DiscoveryRequest(NEW, reloads=frozenset({b"b"}))


def test_force_is_for_what_one_has_seen() -> None:
    forced = DiscoveryQueue().ask_for(OLD, b"a", force=True)
    same, newer = forced.ask_for(OLD, b"b"), forced.ask_for(NEW, b"b")
    assert same.reload == DiscoveryRequest(OLD, reloads=frozenset({b"a", b"b"}), force=True)
    assert newer.reload == DiscoveryRequest(NEW, reloads=frozenset({b"a", b"b"}))


A, B = Bdf("0000:20:00.0"), Bdf("0000:21:00.0")


def test_looks_at_a_few_functions_are_one_look() -> None:
    looks = DiscoveryQueue().ask(None, only=frozenset({A})).ask(None, only=frozenset({B}))
    assert looks.begin().running == DiscoveryRequest(only=frozenset({A, B}))


def test_who_asks_for_all_gets_all() -> None:
    whole = DiscoveryRequest(rescans=frozenset({b"a"}))
    assert DiscoveryQueue().ask(b"a").ask(None, only=frozenset({A})).begin().running == whole
    assert DiscoveryQueue().ask(None, only=frozenset({A})).ask(b"a").begin().running == whole
    with_config = DiscoveryQueue().ask(None, only=frozenset({A})).ask_for(NEW, None).begin()
    assert with_config.running == DiscoveryRequest(NEW)
