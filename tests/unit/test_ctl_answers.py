"""What rbln-ctl makes of an answer: a process, a real socket, an exit code, a line."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from rbln_supervisor.config.config_file import MAX_BYTES
from rbln_supervisor.core.control import protocol
from rbln_supervisor.core.matching.plan import Plan, PoolPlan
from rbln_supervisor.core.status import DeviceStatus
from rbln_worker.contract.pool import PoolName
from rbln_worker.contract.problem import Code, make_problem
from tests.unit.asking import PLAN, STATUS, ctl, supervisor


@pytest.mark.parametrize(
    "arguments",
    [
        ("--run-dir", "R", "--json", "status"),
        ("status", "--json", "--run-dir", "R"),
        ("--json", "status", "--run-dir=R"),
    ],
)
def test_status_as_json_is_the_status(run_dir: Path, arguments: Sequence[str]) -> None:
    with supervisor(run_dir, protocol.encode(protocol.StatusReply(STATUS))) as asked:
        done = ctl(*(argument.replace("R", str(run_dir)) for argument in arguments))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(msgspec.json.encode(STATUS))
    assert done.stdout.startswith('{\n  "supervisor": {\n    "pid": 4711,')
    assert asked == [b'{"type":"status"}']


def test_status_for_people(run_dir: Path) -> None:
    with supervisor(run_dir, protocol.encode(protocol.StatusReply(STATUS))):
        done = ctl("status", "--run-dir", run_dir)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "rbln-supervisor 0.1.0  pid 4711  up 1 min 15 s  ● ready\n"
        "\n"
        "RESOURCE            STATE    DEVICES  VIA             WORKER  RESTARTS  NOTE\n"
        "rebellions.ai/ATOM  serving      1/1  plugin-watcher    4720         0\n"
        "\n"
        "rebellions.ai/ATOM  1 device\n"
        "  DEVICE        HEALTH     NUMA  REASON\n"
        "  0000:3b:00.0  Healthy       0\n"
    )


def test_a_locale_that_knows_no_bullet(run_dir: Path) -> None:
    with supervisor(run_dir, protocol.encode(protocol.StatusReply(STATUS))):
        done = ctl("status", "--run-dir", run_dir, PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("rbln-supervisor 0.1.0")


def test_reload(run_dir: Path) -> None:
    reply = protocol.ReloadReply(PLAN, ("w: odd",), forced=("d: had",))
    with supervisor(run_dir, protocol.encode(reply)) as asked:
        done = ctl("reload", "--run-dir", run_dir)
    assert asked == [b'{"type":"reload"}']
    assert (done.returncode, done.stderr) == (0, "forced: d: had\nwarning: w: odd\n")
    assert done.stdout == (
        "reloaded: 1 pool added, 1 removed, 1 changed, 0 unchanged\n"
        "\n"
        "RESOURCE  CHANGE   DEVICES  NOTE\n"
        "a/x       changed        2  3 rejected by its selectors; 1 in earlier pools; "
        "1 not assignable\n"
        "a/y       added          0  the node has no device of its type\n"
        "a/z       removed        0\n"
        "\n"
        "1 device in the same pool as before, 2 in another one:\n"
        "DEVICE  FROM  TO\n"
        "d1      -     a/x\n"
        "d2      a/z   -\n"
    )


UNCHANGED = protocol.ReloadReply(Plan({PoolName("a/x"): PoolPlan("unchanged")}, stay=3))


def test_a_reload_that_changes_nothing_is_a_line(run_dir: Path) -> None:
    with supervisor(run_dir, protocol.encode(UNCHANGED)):
        done = ctl("reload", "--run-dir", run_dir)
    assert done.stdout == "reloaded: nothing changed, 1 pool as before\n"


def test_a_reload_with_force(run_dir: Path) -> None:
    with supervisor(run_dir, protocol.encode(UNCHANGED)) as asked:
        ctl("reload", "--force", "--run-dir", run_dir)
    assert asked == [b'{"type":"reload","force":true}']


def test_reload_as_json(run_dir: Path) -> None:
    with supervisor(run_dir, protocol.encode(UNCHANGED)):
        done = ctl("reload", "--run-dir", run_dir, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "type": "reloaded",
        "plan": {
            "pools": {
                "a/x": {"change": "unchanged", "devices": [], "counts": {}, "new_export": ""}
            },
            "moves": [],
            "stay": 3,
        },
        "warnings": [],
        "forced": [],
    }


def test_rescan(run_dir: Path) -> None:
    reply = protocol.RescanReply(
        18, ("a/b",), (make_problem(Code.DEVICE_UNREADABLE, "0000:5e:00.0: unreadable"),)
    )
    with supervisor(run_dir, protocol.encode(reply)) as asked:
        done = ctl("rescan", "--run-dir", run_dir)
    assert asked == [b'{"type":"rescan"}']
    assert (done.returncode, done.stderr) == (0, "warning: 0000:5e:00.0: unreadable\n")
    assert done.stdout == "rescanned: 18 PCI functions, 1 pool changed\n  ~ a/b\n"


@pytest.mark.parametrize("verb", ["status", "reload", "rescan", "explain x"])
def test_a_refusal_is_a_line_a_complaint(run_dir: Path, verb: str) -> None:
    with supervisor(run_dir, protocol.encode(protocol.ErrorReply(("a: b", "c\nd\x1b[31m")))):
        done = ctl(*verb.split(), "--run-dir", run_dir)
        as_json = ctl(*verb.split(), "--run-dir", run_dir, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "rbln-ctl: a: b\nrbln-ctl: c\\nd\\x1b[31m\n"
    assert (as_json.returncode, as_json.stderr) == (1, done.stderr)
    assert json.loads(as_json.stdout) == {"type": "refused", "errors": ["a: b", "c\nd\x1b[31m"]}


def test_a_request_holds_the_largest_file() -> None:
    frame = protocol.encode(protocol.DryRun(b"\xff" * MAX_BYTES, "p" * 300))
    assert len(frame) <= protocol.MAX_REQUEST_BYTES
    assert protocol.to_request(frame) == protocol.DryRun(b"\xff" * MAX_BYTES, "p" * 300)


def test_a_refusal_without_words_is_not_silent(run_dir: Path) -> None:
    with supervisor(run_dir, protocol.encode(protocol.ErrorReply(()))):
        done = ctl("reload", "--run-dir", run_dir)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "rbln-ctl: refused without a reason: see the supervisor's log\n"


@pytest.mark.parametrize(
    "answer",
    [
        (b"",),
        (b"garbage",),
        (b"\xff\xfe",),
        (b"{}",),
        (b'{"type":"other"}',),
        (b'{"type":"node","status":{}}',),
        (b"[" * 100_000,),
        (b'"' + b"x" * 20_000_000,),
        (protocol.encode(protocol.RescanReply(1)), b"a second frame"),
    ],
    ids=range(9),
)
def test_garbage_is_no_answer(run_dir: Path, answer: tuple[bytes, ...]) -> None:
    with supervisor(run_dir, *answer):
        done = ctl("status", "--run-dir", run_dir)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"rbln-ctl: unreadable answer from {run_dir}/control.sock (")
    assert done.stderr.endswith("use the rbln-ctl of the supervisor's version\n")
    assert len(done.stderr.splitlines()) == 1


def test_a_huge_answer_is_an_answer(run_dir: Path) -> None:
    devices = {f"{n:04x}:00:00.0": DeviceStatus("Healthy", "x" * 100, 0) for n in range(20_000)}
    pool = msgspec.structs.replace(STATUS.pools["rebellions.ai/ATOM"], devices=devices)
    status = msgspec.structs.replace(STATUS, pools={"rebellions.ai/ATOM": pool})
    with supervisor(run_dir, protocol.encode(protocol.StatusReply(status))):
        done = ctl("status", "--run-dir", run_dir, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["pools"]["rebellions.ai/ATOM"]["devices"]) == 20_000
