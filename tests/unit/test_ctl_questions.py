"""rbln-ctl explain and dry runs, as people and scripts meet them."""

import json
from pathlib import Path

import msgspec
import pytest

from rbln_supervisor.core.control import protocol
from rbln_supervisor.core.matching.explain import Explanation, PoolDecision
from rbln_supervisor.core.matching.selector_match import Mismatch
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolName
from tests.unit.asking import PLAN, ctl, supervisor

EXPLANATION = Explanation(
    DeviceId("0000:3b:02.1"),
    "netDevice",
    pool=PoolName("a/x"),
    selector=1,
    pools=(
        PoolDecision("a/v", "turns away", None, (Mismatch("isRdma", ("true",), "false"),)),
        PoolDecision("a/w", "other type"),
        PoolDecision("a/x", "takes", 1, (Mismatch("pfNames", ("p0#0", "p1"), "p0#1"),)),
        PoolDecision("a/y", "later", 1, (Mismatch("acpiIndexes", ("101",), ""),)),
        PoolDecision("a/z", "invalid"),
    ),
    values={"vendors": "8086", "acpiIndexes": ""},
    notes=("3b:02.1 is read as 0000:3b:02.1",),
)


def test_explain(run_dir: Path) -> None:
    with supervisor(run_dir, protocol.encode(protocol.ExplainReply(EXPLANATION))) as asked:
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
                pools=(
                    PoolDecision("a/b", "turns away", None, (Mismatch("drivers", ("x",), "y"),)),
                ),
                values={"drivers": "y"},
            ),
            "d  accelerator  no pool has it: each one's selectors turn it away",
            "change its selectors[0] so that drivers takes y; then rbln-ctl validate",
        ),
        (
            Explanation(DeviceId("d"), "auxNetDevice", pools=(PoolDecision("a/b", "other type"),)),
            "d  auxNetDevice  no pool has it: none that is valid is for auxNetDevice",
            "a pool with deviceType auxNetDevice",
        ),
    ],
)
def test_why_a_device_is_in_no_pool(
    run_dir: Path, explanation: Explanation, line: str, following: str
) -> None:
    with supervisor(run_dir, protocol.encode(protocol.ExplainReply(explanation))):
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
        pools=(PoolDecision("a/b", "turns away", None, (Mismatch("pfNames", ("p0",), ""),)),),
        values={"pfNames": "", "rootDevices": root},
    )
    with supervisor(run_dir, protocol.encode(protocol.ExplainReply(explanation))):
        done = ctl("explain", "d", "--run-dir", run_dir)
    assert f"selectors[0]  pfNames: {said}, wanted is p0\n" in done.stdout


def test_explain_as_json(run_dir: Path) -> None:
    with supervisor(run_dir, protocol.encode(protocol.ExplainReply(EXPLANATION))):
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


def test_a_dry_run(run_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\xff{}")
    reply = protocol.DryRunReply(PLAN, warnings=("line 1: odd",), held=("d2: had by a pod",))
    with supervisor(run_dir, protocol.encode(reply)) as asked:
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
    reply = protocol.DryRunReply(None, ("resourceList: missing",), ("a comma",))
    with supervisor(run_dir, protocol.encode(reply)):
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
    with supervisor(run_dir, protocol.encode(protocol.ErrorReply(("not read yet",)))):
        done = ctl("validate", path, "--against-host", "--run-dir", run_dir)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "rbln-ctl: not read yet\n"


@pytest.mark.parametrize("arguments", ["validate F --against-host", "explain x"])
def test_an_answer_to_another_question(run_dir: Path, tmp_path: Path, arguments: str) -> None:
    path = tmp_path / "config.json"
    path.touch()
    other = protocol.RescanReply(1) if "F" in arguments else protocol.DryRunReply(None)
    with supervisor(run_dir, protocol.encode(other)):
        done = ctl(*arguments.replace("F", str(path)).split(), "--run-dir", run_dir)
    assert (done.returncode, done.stdout) == (1, "")
    assert "an answer to another question" in done.stderr


@pytest.mark.parametrize("arguments", ["validate conf/atom.json --against-host", "explain x"])
def test_questions_that_need_a_supervisor(run_dir: Path, arguments: str) -> None:
    done = ctl(*arguments.split(), "--run-dir", run_dir)
    assert (done.returncode, done.stdout) == (3, "")
