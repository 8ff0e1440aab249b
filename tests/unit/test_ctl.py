"""rbln-ctl as people and scripts meet it: a process, a real socket, an exit code, a line."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
import zmq

from rbln_supervisor.config_file import SIZE_MOST
from rbln_supervisor.core import commands
from rbln_supervisor.core.difference import Move, Plan, PoolPlan
from rbln_supervisor.core.explain import Explanation, Opinion, Tally
from rbln_supervisor.core.selecting import Objection
from rbln_supervisor.core.status import (
    DeviceStatus,
    NodeStatus,
    PoolStatus,
    SupervisorStatus,
    WorkerStatus,
)
from rbln_supervisor.ctl import client
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolName

ROOT = Path(__file__).parents[2]

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "FORCE_COLOR"},
    "PYTHONWARNINGS": "error",
}

STATUS = NodeStatus(
    SupervisorStatus(4711, "0.1.0", 75.5, ready=True),
    {
        "rebellions.ai/ATOM": PoolStatus(
            "serving",
            registered=True,
            registration="plugin-watcher",
            reason="",
            endpoint="rebellions.ai_ATOM-ab12.sock",
            worker=WorkerStatus(4720),
            devices={"0000:3b:00.0": DeviceStatus("Healthy", "", 0)},
        )
    },
)


@pytest.fixture
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r")  # short: a socket's path may have 107 bytes


@contextlib.contextmanager
def supervisor(run_dir: Path, *answer: bytes) -> Iterator[list[bytes]]:
    """A ROUTER at the control socket that gives one answer to all, or none; and what was asked."""
    asked: list[bytes] = []
    with zmq.Context() as context:
        router, stop = context.socket(zmq.ROUTER), context.socket(zmq.PAIR)
        stop.bind("inproc://stop")
        with router, stop, context.socket(zmq.PAIR) as stopped:
            router.linger = 0
            router.bind(f"ipc://{run_dir}/control.sock")
            stopped.connect("inproc://stop")

            def serve() -> None:
                while True:
                    readable, _, _ = zmq.select([router, stop], [], [])
                    if stop in readable:
                        return
                    peer, *frames = router.recv_multipart()
                    asked.extend(frames)
                    if answer:
                        router.send_multipart([peer, *answer])

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                yield asked
            finally:
                stopped.send(b"")
                thread.join()


def ctl(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rbln_supervisor.ctl", *map(str, arguments)],
        cwd=ROOT,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("--run-dir", "R", "--json", "status"),
        ("status", "--json", "--run-dir", "R"),
        ("--json", "status", "--run-dir=R"),
    ],
)
def test_status_as_json_is_the_status(run_dir: Path, arguments: Sequence[str]) -> None:
    with supervisor(run_dir, commands.encode(commands.Node(STATUS))) as asked:
        done = ctl(*(argument.replace("R", str(run_dir)) for argument in arguments))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(msgspec.json.encode(STATUS))
    assert done.stdout.startswith('{\n  "supervisor": {\n    "pid": 4711,')
    assert asked == [b'{"type":"status"}']


def test_status_for_people(run_dir: Path) -> None:
    with supervisor(run_dir, commands.encode(commands.Node(STATUS))):
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
    with supervisor(run_dir, commands.encode(commands.Node(STATUS))):
        done = ctl("status", "--run-dir", run_dir, PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("rbln-supervisor 0.1.0")


def test_reload(run_dir: Path) -> None:
    reply = commands.Reloaded(
        ("a/y",), ("a/z",), ("a/x",), (), ("w: odd",), forced=("d: had",), plan=PLAN
    )
    with supervisor(run_dir, commands.encode(reply)) as asked:
        done = ctl("reload", "--run-dir", run_dir)
    assert asked == [b'{"type":"reload"}']
    assert (done.returncode, done.stderr) == (0, "forced: d: had\nwarning: w: odd\n")
    assert done.stdout == (
        "reloaded: 1 pool added, 1 removed, 1 changed, 0 unchanged\n"
        "\n"
        "RESOURCE  POOL     DEVICES  NOTE\n"
        "a/x       changed        2  3 turned away; 1 had by pools before it; "
        "1 that no pool can have\n"
        "a/y       added          0  the node has no device of its type\n"
        "a/z       removed        0\n"
        "\n"
        "1 device stayed in its pool, 2 moved:\n"
        "DEVICE  FROM  TO\n"
        "d1      -     a/x\n"
        "d2      a/z   -\n"
    )


def test_a_reload_that_changes_nothing_is_a_line(run_dir: Path) -> None:
    plan = Plan({PoolName("a/x"): PoolPlan("unchanged")}, stay=3)
    reply = commands.Reloaded(unchanged=("a/x",), plan=plan)
    with supervisor(run_dir, commands.encode(reply)):
        done = ctl("reload", "--run-dir", run_dir)
    assert done.stdout == "reloaded: nothing changed, 1 pool as before\n"


def test_a_reload_with_force(run_dir: Path) -> None:
    with supervisor(run_dir, commands.encode(commands.Reloaded(unchanged=("a/b",)))) as asked:
        ctl("reload", "--force", "--run-dir", run_dir)
    assert asked == [b'{"type":"reload","force":true}']


def test_reload_as_json(run_dir: Path) -> None:
    with supervisor(run_dir, commands.encode(commands.Reloaded(unchanged=("a/b",)))):
        done = ctl("reload", "--run-dir", run_dir, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "type": "reloaded",
        "added": [],
        "removed": [],
        "changed": [],
        "unchanged": ["a/b"],
        "warnings": [],
        "forced": [],
        "plan": None,
    }


def test_rescan(run_dir: Path) -> None:
    reply = commands.Rescanned(18, ("a/b",), ("0000:5e:00.0: unreadable",))
    with supervisor(run_dir, commands.encode(reply)) as asked:
        done = ctl("rescan", "--run-dir", run_dir)
    assert asked == [b'{"type":"rescan"}']
    assert (done.returncode, done.stderr) == (0, "warning: 0000:5e:00.0: unreadable\n")
    assert done.stdout == "rescanned: 18 PCI functions, 1 pool changed\n  ~ a/b\n"


@pytest.mark.parametrize("verb", ["status", "reload", "rescan", "explain x"])
def test_a_refusal_is_a_line_a_complaint(run_dir: Path, verb: str) -> None:
    with supervisor(run_dir, commands.encode(commands.Refused(("a: b", "c\nd\x1b[31m")))):
        done = ctl(*verb.split(), "--run-dir", run_dir)
        as_json = ctl(*verb.split(), "--run-dir", run_dir, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "rbln-ctl: a: b\nrbln-ctl: c\\nd\\x1b[31m\n"
    assert (as_json.returncode, as_json.stderr) == (1, done.stderr)
    assert json.loads(as_json.stdout) == {"type": "refused", "errors": ["a: b", "c\nd\x1b[31m"]}


EXPLANATION = Explanation(
    DeviceId("0000:3b:02.1"),
    "netDevice",
    pool=PoolName("a/x"),
    selector=1,
    pools=(
        Opinion("a/v", "turns away", None, (Objection("isRdma", ("true",), "false"),)),
        Opinion("a/w", "other type"),
        Opinion("a/x", "takes", 1, (Objection("pfNames", ("p0#0", "p1"), "p0#1"),)),
        Opinion("a/y", "later", 1, (Objection("acpiIndexes", ("101",), ""),)),
        Opinion("a/z", "invalid"),
    ),
    values={"vendors": "8086", "acpiIndexes": ""},
    notes=("3b:02.1 is read as 0000:3b:02.1",),
)


def test_explain(run_dir: Path) -> None:
    with supervisor(run_dir, commands.encode(commands.Explained(EXPLANATION))) as asked:
        done = ctl("explain", "3b:02.1", "--run-dir", run_dir)
    assert asked == [b'{"type":"explain","device":"3b:02.1"}']
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "0000:3b:02.1  netDevice  a/x has it, by selectors[1]\n"
        "  3b:02.1 is read as 0000:3b:02.1\n"
        "\n"
        "RESOURCE  ANSWER      SELECTORS     BECAUSE\n"
        "a/v       turns away  selectors[0]  isRdma: it has false, wanted is true\n"
        "a/w       other type                its devices are no netDevice\n"
        "a/x       takes       selectors[1]  matches\n"
        "                      selectors[0]  pfNames: it has p0#1, wanted is p0#0 or p1\n"
        "a/y       later       selectors[1]  matches, too, but a/x stands before it in the file\n"
        "                      selectors[0]  acpiIndexes: it has none, wanted is 101\n"
        "a/z       invalid                   its configuration can't be used, see rbln-ctl status\n"
        "\n"
        "What selectors see of it\n"
        "  vendors      8086\n"
        "  acpiIndexes  -\n"
        "\n"
        "next: nothing to mend; pods get it as a/x: kubectl describe node\n"
    )


@pytest.mark.parametrize(
    ("explanation", "line", "following"),
    [
        (
            Explanation(DeviceId("d"), "netDevice", reason="no driver is bound to it"),
            "d  netDevice  no pool can have it: no driver is bound to it",
            "lspci -ks d; modprobe its driver",
        ),
        (
            Explanation(DeviceId("d"), None, reason="it can't be read: modalias\x1b"),
            "d  no pool can have it: it can't be read: modalias\\x1b",
            "dmesg | grep d; rbln-ctl rescan",
        ),
        (
            Explanation(
                DeviceId("d"),
                "accelerator",
                pools=(Opinion("a/b", "turns away", None, (Objection("drivers", ("x",), "y"),)),),
                values={"drivers": "y"},
            ),
            "d  accelerator  no pool has it: each one's selectors turn it away",
            "change its selectors[0] so that drivers takes y; then rbln-ctl validate",
        ),
        (
            Explanation(DeviceId("d"), "auxNetDevice", pools=(Opinion("a/b", "other type"),)),
            "d  auxNetDevice  no pool has it: none that is valid is for auxNetDevice",
            "a pool with deviceType auxNetDevice",
        ),
    ],
)
def test_why_a_device_is_in_no_pool(
    run_dir: Path, explanation: Explanation, line: str, following: str
) -> None:
    with supervisor(run_dir, commands.encode(commands.Explained(explanation))):
        done = ctl("explain", "d", "--run-dir", run_dir)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == line
    assert done.stdout.splitlines()[-1].startswith("next: ")
    assert following in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("root", "said"),
    [("", "it lies below no PF"), ("0000:3b:00.0#1", "its PF has no interface")],
)
def test_why_a_name_of_a_pf_is_not_meant(run_dir: Path, root: str, said: str) -> None:
    explanation = Explanation(
        DeviceId("d"),
        "netDevice",
        pools=(Opinion("a/b", "turns away", None, (Objection("pfNames", ("p0",), ""),)),),
        values={"pfNames": "", "rootDevices": root},
    )
    with supervisor(run_dir, commands.encode(commands.Explained(explanation))):
        done = ctl("explain", "d", "--run-dir", run_dir)
    assert f"selectors[0]  pfNames: {said}, wanted is p0\n" in done.stdout


def test_explain_as_json(run_dir: Path) -> None:
    with supervisor(run_dir, commands.encode(commands.Explained(EXPLANATION))):
        done = ctl("explain", "3b:02.1", "--run-dir", run_dir, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told == json.loads(msgspec.json.encode(EXPLANATION))
    assert told["pools"][2] == {
        "pool": "a/x",
        "answer": "takes",
        "selector": 1,
        "objections": [{"key": "pfNames", "wanted": ["p0#0", "p1"], "has": "p0#1"}],
    }


PLAN = Plan(
    pools={
        PoolName("a/x"): PoolPlan(
            "changed", (DeviceId("d0"), DeviceId("d1")), Tally(7, 2, 1, 1, 3)
        ),
        PoolName("a/y"): PoolPlan("added"),
        PoolName("a/z"): PoolPlan("removed"),
    },
    moves=(
        Move(DeviceId("d1"), None, PoolName("a/x")),
        Move(DeviceId("d2"), PoolName("a/z"), None),
    ),
    stay=1,
)


def test_a_dry_run(run_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\xff{}")
    reply = commands.Planned(PLAN, warnings=("line 1: odd",), held=("d2: had by a pod",))
    with supervisor(run_dir, commands.encode(reply)) as asked:
        done = ctl("validate", path, "--against-host", "--run-dir", run_dir)
        as_json = ctl("validate", path, "--against-host", "--run-dir", run_dir, "--json")
    assert asked == [b'{"type":"dry-run","config":"/3t9","prefix":null}'] * 2
    assert (done.returncode, done.stderr) == (
        0,
        f"a reload would be refused: d2: had by a pod\n{path}: warning: line 1: odd\n",
    )
    assert done.stdout == (
        f"{path}: valid, 2 pools; a reload would do this (now, nothing is done):\n"
        "\n"
        "RESOURCE  POOL     DEVICES  NOTE\n"
        "a/x       changed        2  3 turned away; 1 had by pools before it; "
        "1 that no pool can have\n"
        "a/y       added          0  the node has no device of its type\n"
        "a/z       removed        0\n"
        "\n"
        "1 device would stay in its pool, 2 would move:\n"
        "DEVICE  NOW  THEN\n"
        "d1      -    a/x\n"
        "d2      a/z  -\n"
    )
    assert (as_json.returncode, as_json.stderr) == (0, "")
    assert json.loads(as_json.stdout) == {
        "valid": True,
        "pools": ["a/x", "a/y"],
        "warnings": ["line 1: odd"],
        "plan": json.loads(msgspec.json.encode(PLAN)),
        "held": ["d2: had by a pod"],
    }


def test_a_dry_run_of_a_wrong_file(run_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.touch()
    reply = commands.Planned(None, ("resourceList: missing",), ("a comma",))
    with supervisor(run_dir, commands.encode(reply)):
        done = ctl("validate", path, "--against-host", "--run-dir", run_dir)
        as_json = ctl("validate", path, "--against-host", "--run-dir", run_dir, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{path}: resourceList: missing\n{path}: warning: a comma\n"
    assert as_json.returncode == 1
    assert json.loads(as_json.stdout) == {
        "valid": False,
        "errors": ["resourceList: missing"],
        "warnings": ["a comma"],
    }


def test_a_dry_run_that_is_refused(run_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.touch()
    with supervisor(run_dir, commands.encode(commands.Refused(("not read yet",)))):
        done = ctl("validate", path, "--against-host", "--run-dir", run_dir)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "rbln-ctl: not read yet\n"


@pytest.mark.parametrize("arguments", ["validate F --against-host", "explain x"])
def test_an_answer_to_another_question(run_dir: Path, tmp_path: Path, arguments: str) -> None:
    path = tmp_path / "config.json"
    path.touch()
    other = commands.Rescanned(1) if "F" in arguments else commands.Planned(None)
    with supervisor(run_dir, commands.encode(other)):
        done = ctl(*arguments.replace("F", str(path)).split(), "--run-dir", run_dir)
    assert (done.returncode, done.stdout) == (1, "")
    assert "an answer to another question" in done.stderr


@pytest.mark.parametrize("arguments", ["validate conf/atom.json --against-host", "explain x"])
def test_questions_that_need_a_supervisor(run_dir: Path, arguments: str) -> None:
    done = ctl(*arguments.split(), "--run-dir", run_dir)
    assert (done.returncode, done.stdout) == (3, "")


def test_a_request_holds_the_largest_file() -> None:
    frame = commands.encode(commands.DryRun(b"\xff" * SIZE_MOST, "p" * 300))
    assert len(frame) <= commands.REQUEST_BYTES_MOST
    assert commands.to_request(frame) == commands.DryRun(b"\xff" * SIZE_MOST, "p" * 300)


def test_a_refusal_without_words_is_not_silent(run_dir: Path) -> None:
    with supervisor(run_dir, commands.encode(commands.Refused(()))):
        done = ctl("reload", "--run-dir", run_dir)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "rbln-ctl: refused without a reason, see the supervisor's log\n"


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
        (commands.encode(commands.Rescanned(1)), b"a second frame"),
    ],
    ids=range(9),
)
def test_garbage_is_no_answer(run_dir: Path, answer: tuple[bytes, ...]) -> None:
    with supervisor(run_dir, *answer):
        done = ctl("status", "--run-dir", run_dir)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"rbln-ctl: unreadable answer from {run_dir}/control.sock (")
    assert done.stderr.endswith("are rbln-ctl and the supervisor of the same version?\n")
    assert len(done.stderr.splitlines()) == 1


def test_a_huge_answer_is_an_answer(run_dir: Path) -> None:
    devices = {f"{n:04x}:00:00.0": DeviceStatus("Healthy", "x" * 100, 0) for n in range(20_000)}
    pool = msgspec.structs.replace(STATUS.pools["rebellions.ai/ATOM"], devices=devices)
    status = msgspec.structs.replace(STATUS, pools={"rebellions.ai/ATOM": pool})
    with supervisor(run_dir, commands.encode(commands.Node(status))):
        done = ctl("status", "--run-dir", run_dir, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["pools"]["rebellions.ai/ATOM"]["devices"]) == 20_000


def unreachable(done: subprocess.CompletedProcess[str], line: str) -> None:
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"rbln-ctl: {line}\n"


def test_no_socket_is_said_at_once(run_dir: Path) -> None:
    unreachable(
        ctl("status", "--run-dir", run_dir / "none"),
        f"no socket {run_dir}/none/control.sock: "
        "start rbln-supervisor, or name its folder with --run-dir",
    )


def test_a_dead_socket_is_said_at_once(run_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{run_dir}/control.sock")
    unreachable(
        ctl("status", "--run-dir", run_dir),
        f"nobody listens at {run_dir}/control.sock: "
        "the supervisor that made it is gone, start it again",
    )


@pytest.mark.parametrize("name", ["x" * 200, "file"])
def test_what_can_be_no_socket(run_dir: Path, name: str) -> None:
    (run_dir / "file").touch()
    done = ctl("status", "--run-dir", run_dir / name)
    assert (done.returncode, done.stdout) == (3, "")
    assert "control.sock can't be a control socket (" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nobody_answers(run_dir: Path) -> None:
    began = time.monotonic()
    with supervisor(run_dir), pytest.raises(client.UnreachableError) as caught:
        client.ask(run_dir, commands.Status(), timeout_s=0.2)
    assert 0.2 <= time.monotonic() - began < 5
    assert str(caught.value) == (
        f"no answer from {run_dir}/control.sock within 0.2 s: "
        "the supervisor hangs or is overloaded, see its log"
    )


def test_somebody_listens_who_speaks_no_zeromq(run_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(f"{run_dir}/control.sock")
        stranger.listen(0)
        began = time.monotonic()
        done = ctl("status", "--run-dir", run_dir)
    assert done.returncode == 3
    assert "within 5 s" in done.stderr
    assert 5 <= time.monotonic() - began < 20


def test_ctrl_c_while_it_waits(run_dir: Path) -> None:
    with supervisor(run_dir) as asked:
        waiting = subprocess.Popen(
            [sys.executable, "-m", "rbln_supervisor.ctl", "status", "--run-dir", str(run_dir)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        until(lambda: bool(asked))
        waiting.send_signal(signal.SIGINT)
        assert waiting.communicate(timeout=30) == (b"", b"")
    assert waiting.returncode == 130


def until(true: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("flag", ["--json", "--run-dir=R"])
def test_a_reader_that_has_enough(run_dir: Path, flag: str) -> None:
    devices = {f"{n:04x}:00:00.0": DeviceStatus("Healthy", "", 0) for n in range(3000)}
    pool = msgspec.structs.replace(STATUS.pools["rebellions.ai/ATOM"], devices=devices)
    status = msgspec.structs.replace(STATUS, pools={"rebellions.ai/ATOM": pool})
    with supervisor(run_dir, commands.encode(commands.Node(status))):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "rbln_supervisor.ctl", flag, "status", f"--run-dir={run_dir}"],
            cwd=ROOT,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("flags", [("--json",), ()])
def test_a_failure_is_one_even_if_nobody_listens(tmp_path: Path, flags: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "rbln_supervisor.ctl", "validate", str(tmp_path), *flags],
        cwd=ROOT,
        stdout=writer,
        stderr=writer,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 1


@pytest.mark.parametrize("arguments", ["status", "validate conf/atom.json", "--help", "stat"])
def test_without_output_or_errors_there_is_an_exit_code(arguments: str) -> None:
    command = f"{sys.executable} -m rbln_supervisor.ctl {arguments} >&- 2>&- --run-dir /nowhere"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == {"status": 3, "stat": 2}.get(arguments, 0)


def test_an_output_that_takes_nothing(run_dir: Path) -> None:
    with (
        supervisor(run_dir, commands.encode(commands.Node(STATUS))),
        Path("/dev/full").open("w") as full,
    ):
        done = subprocess.run(
            [sys.executable, "-m", "rbln_supervisor.ctl", "status", f"--run-dir={run_dir}"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == b"rbln-ctl: OSError: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("stat",),
        ("explain",),
        ("status", "--js"),
        ("status", "x"),
        ("validate",),
        ("--run-dir",),
        ("-x",),
        ("events", "-n", "0"),
        ("events", "-n", "few"),
        ("doctor", "--kubelet-dir", "var/lib/kubelet"),
    ],
)
def test_wrong_usage(arguments: Sequence[str]) -> None:
    done = ctl(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: rbln-ctl ")
    assert " _" not in done.stderr, "a function's name tells nobody what was expected"


def test_validate_a_good_file() -> None:
    done = ctl("validate", "conf/products.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "conf/products.yaml: valid, 6 pools\n"
        "  rebellions.ai/CA02 (accelerator, 1 selector object)\n"
    )
    done = ctl("validate", "conf/atom.json", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "valid": True,
        "pools": ["rebellions.ai/ATOM"],
        "warnings": ["line 1, column 1: comment (accepted)"],
    }


def test_validate_refuses_for_one_pool(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    good = '{"resourceName": "A", "deviceType": "accelerator", "selectors": {}}'
    bad = '{"resourceName": "A", "deviceType": "accelerator", "selectors": {"vendors": "1eff"},}'
    path.write_text(f'{{"resourceList": [{good}, {bad}]}}')
    done = ctl("validate", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{path}: resourceList[1].selectors.vendors: expected array, got string\n"
        f"{path}: resourceList[1].resourceName: intel.com/A is the name of resourceList[0], "
        "expected a name of its own\n"
        f"{path}: warning: line 1, column 171: trailing comma (accepted)\n"
    )
    done = ctl("validate", path, "--json", "--resource-prefix", "rebellions.ai")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert not answer["valid"]
    assert len(answer["errors"]) == 2
    assert "rebellions.ai/A is the name of" in answer["errors"][1]


def test_validate_what_is_no_file(tmp_path: Path) -> None:
    done = ctl("validate", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"rbln-ctl: {tmp_path}: expected a regular file, got a directory\n"
    done = ctl("validate", tmp_path, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["errors"] == [
        f"{tmp_path}: expected a regular file, got a directory"
    ]


def test_validate_needs_neither_zeromq_nor_rich() -> None:
    code = (
        "import sys; from rbln_supervisor.ctl.main import main; main(['validate', sys.argv[1]]);"
        "sys.exit(sum(name in sys.modules for name in ('zmq', 'rich', 'grpc', 'yaml')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "conf/atom.json"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0
