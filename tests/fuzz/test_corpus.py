"""Every seed through its target; and what was once found, each defect by its name."""

import fcntl
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from rbln_supervisor import options
from rbln_supervisor.core.control.protocol import to_reply, to_request
from rbln_supervisor.core.matching.explain import Decision, Explanation, PoolDecision
from rbln_supervisor.core.matching.selector_match import Mismatch
from rbln_supervisor.ctl import doctor, explain_command, rendering
from rbln_supervisor.workers import processes
from rbln_worker.contract.device import DeviceId
from rbln_worker.core.allocation.host_facts import HostFacts, Text
from rbln_worker.core.allocation.providers.provider import pci_sysfs_dir
from rbln_worker.core.health import driver, pcie
from rbln_worker.core.health.observation import Doubt
from rbln_worker.host.manifest import FileManifest
from rbln_worker.host.netlink import codec
from tests.fuzz import claims
from tests.fuzz.kernel import DEVICE, question
from tests.fuzz.seeds import FOUND, REPOSITORY, seeds
from tests.fuzz.targets import TARGETS

DEEP = b'{"a":' * 50_000
LONG = 64 * 1024


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_hold(name: str) -> None:
    raws = seeds(name)
    assert raws, "a target has something real to begin with"
    for raw in raws:
        TARGETS[name](raw)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(
    "raw", [b"", b"\0", b"\xff" * 64, DEEP, b"[" * 50_000, b"\x91" * 50_000], ids=range(6)
)
def test_what_no_sample_has_holds(name: str, raw: bytes) -> None:
    TARGETS[name](raw)


def test_what_was_found_belongs_to_a_target() -> None:
    assert {path.name for path in FOUND.glob("*")} <= TARGETS.keys()


def test_an_input_that_breaks_nothing_can_be_replayed(tmp_path: Path) -> None:
    for folder, code in (("functions", 0), ("nothing", 2)):
        other = tmp_path / folder / "x"
        other.parent.mkdir()
        other.write_bytes(b"p0#1")
        command = [sys.executable, "-m", "tests.fuzz", "--replay", f"{other}"]
        assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == code


# Defects


def test_a_deep_list_of_files_does_not_end_a_worker(tmp_path: Path) -> None:
    """RecursionError came out of the ledger, and no worker of the pool could start any more."""
    path = tmp_path / "pool.files"
    path.write_bytes(DEEP)
    assert FileManifest(path).write_file(tmp_path / "ours", "text", 0o644, flush=False) == ""


def test_deep_words_of_doctors_process_are_passed_over() -> None:
    """RecursionError ended rbln-ctl doctor."""
    lines = [DEEP, b'{"section": "hardware"}']
    assert [one.section for one in doctor._decode_results(lines)] == ["hardware"]


@pytest.mark.parametrize(
    "raw", [DEEP, b'{"type":"explain","device":"\xff"}'], ids=["deep", "bytes"]
)
def test_a_frame_is_decoded_or_a_decode_error(raw: bytes) -> None:
    """Two other errors came out, of which only some callers knew."""
    for read in (to_request, to_reply):
        with pytest.raises(msgspec.DecodeError):
            read(raw)


def _held(path: Path, text: str) -> processes.OrphanWorker | None:
    path.write_text(text)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return processes.lock_holder(path)


def test_a_lock_of_process_0_is_somebody_unknowns(tmp_path: Path) -> None:
    """OSError said "Invalid argument", and not which file nor what is the matter."""
    with pytest.raises(PermissionError, match=r"pool\.lock is locked by a process that can't be"):
        _held(tmp_path / "pool.lock", "0 life")


def test_a_lock_of_a_thread_is_somebody_unknowns(tmp_path: Path) -> None:
    """A thread's number is no process's; pidfd_open(2) says so in another way by kernel."""
    told: list[int] = []
    said, done = threading.Event(), threading.Event()

    def live() -> None:
        told.append(threading.get_native_id())
        said.set()
        done.wait()

    thread = threading.Thread(target=live)
    thread.start()
    try:
        said.wait()
        assert told[0] != os.getpid()
        with pytest.raises(PermissionError, match="can't be seen"):
            _held(tmp_path / "pool.lock", f"{told[0]} life")
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("number", [-(2**31), -4096, 1, 2**31 - 1])
def test_an_error_of_netlink_that_is_none_is_unreadable(number: int) -> None:
    """The least one was OverflowError, which no reader of links expects."""
    question(codec.encode_request(2, 0, 0, number.to_bytes(4, "little", signed=True)))


def test_a_width_of_a_link_in_odd_white_space_is_one() -> None:
    """str.strip() takes U+001C for white space, int() doesn't: ValueError ended the look."""
    home = pci_sysfs_dir(DEVICE)
    texts = {
        "current_link_speed": "32.0 GT/s PCIe\n",
        "current_link_width": "8\n",
        "max_link_speed": "32.0 GT/s PCIe\n",
        "max_link_width": "\x1c16\n",
    }
    facts = HostFacts({Text(f"{home}/{file}"): text for file, text in texts.items()})
    warning = pcie.link_warning(DEVICE, facts)
    assert warning == "its PCIe link runs at 32.0 GT/s x8, it can do 32.0 GT/s x16"


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\udcff", "x" * 5000])
def test_an_odd_drivers_name_is_part_of_a_line_that_can_be_sent(name: str) -> None:
    """As it stood in the link; with bytes that are no text no report could be sent."""
    facts = HostFacts({driver.link_reads(DEVICE)[0]: name})
    seen = driver.driver_evidence(DEVICE, facts)
    assert isinstance(seen, Doubt)
    claims.one_line(seen.reason)
    msgspec.msgpack.encode(seen.reason)


def test_a_kubelets_folder_of_an_earlier_life_is_below_the_hosts_root(tmp_path: Path) -> None:
    """A relative one ended rbln-ctl doctor with ValueError."""
    (tmp_path / options.FILE).write_text('{"kubelet_dir": "k", "host_root": "/h"}')
    assert options.last_options(tmp_path).kubelet_dirs.pods_api == Path("/h/k/pods-api")


@pytest.mark.parametrize("text", ["dri\x1bvers", "a\nb"])
def test_words_of_an_explanation_steer_no_terminal(text: str) -> None:
    """Keys of selectors and the type of a device did."""
    turned = PoolDecision("a/b", Decision.REJECTED, None, (Mismatch(text, ("a",), "b"),))
    for pools in ((turned,), (PoolDecision("a/b", Decision.OTHER_TYPE),)):
        said = Explanation(DeviceId("0000:20:00.0"), text, pools=pools, values={text: "b"})
        _shown_plainly(said)


def _shown_plainly(said: Explanation) -> None:
    shown = rendering.render_text(
        lambda columns: explain_command.explain_page(said, columns, 0.0), io.StringIO()
    )
    claims.page(shown)
    assert shown.count("\\") >= 3
