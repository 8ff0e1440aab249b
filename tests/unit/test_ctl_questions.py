"""rbln-ctl explain and dry runs, as people and scripts meet them."""

import json
from pathlib import Path

import msgspec
import pytest

from rbln_supervisor.core.control import protocol
from rbln_supervisor.core.device_types.base import RefusalReason
from rbln_supervisor.core.matching.explain import (
    Decision,
    Explanation,
    ExportedDevice,
    PoolDecision,
)
from rbln_supervisor.core.matching.selector_match import Mismatch
from rbln_supervisor.core.status import DeviceStatus, PodUse
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pod_devices import PodSource
from rbln_worker.contract.pool import PoolName
from tests.unit.asking import PLAN, ctl, supervisor

EXPLANATION = Explanation(
    DeviceId("0000:3b:02.1"),
    "netDevice",
    pool=PoolName("a/x"),
    selector=1,
    pools=(
        PoolDecision("a/v", Decision.REJECTED, None, (Mismatch("isRdma", ("true",), "false"),)),
        PoolDecision("a/w", Decision.OTHER_TYPE),
        PoolDecision("a/x", Decision.MATCHED, 1, (Mismatch("pfNames", ("p0#0", "p1"), "p0#1"),)),
        PoolDecision("a/y", Decision.SHADOWED, 1, (Mismatch("acpiIndexes", ("101",), ""),)),
        PoolDecision("a/z", Decision.INVALID),
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
        "0000:3b:02.1  netDevice  in pool a/x, by selectors[1]\n"
        "  3b:02.1 is read as 0000:3b:02.1\n"
        "\n"
        "RESOURCE  DECISION    SELECTORS     REASON\n"
        "a/v       rejected    selectors[0]  isRdma: it has false, expected true\n"
        "a/w       other type                its deviceType is not netDevice\n"
        "a/x       matched     selectors[1]  matches\n"
        "                      selectors[0]  pfNames: it has p0#1, expected p0#0 or p1\n"
        "a/y       shadowed    selectors[1]  matches, but a/x precedes it in the file\n"
        "                      selectors[0]  acpiIndexes: it has none, expected 101\n"
        "a/z       invalid                   its configuration is invalid, see rbln-ctl status\n"
        "\n"
        "Values that selectors match\n"
        "  vendors      8086\n"
        "  acpiIndexes  -\n"
        "\n"
        "next: nothing to fix: pods request it as a/x; kubectl describe node\n"
    )


@pytest.mark.parametrize(
    ("explanation", "line", "following"),
    [
        (
            Explanation(
                DeviceId("d"),
                "netDevice",
                refusal=RefusalReason.NO_DRIVER,
                detail="no driver is bound to it",
            ),
            "d  netDevice  not assignable: no driver is bound to it",
            "lspci -ks d; modprobe its driver",
        ),
        (
            Explanation(
                DeviceId("d"),
                None,
                refusal=RefusalReason.UNREADABLE,
                detail="it can't be read: modalias\x1b",
            ),
            "d  not assignable: it can't be read: modalias\\x1b",
            "dmesg | grep d; rbln-ctl rescan",
        ),
        (
            Explanation(
                DeviceId("d"),
                "accelerator",
                pools=(
                    PoolDecision(
                        "a/b", Decision.REJECTED, None, (Mismatch("drivers", ("x",), "y"),)
                    ),
                ),
                values={"drivers": "y"},
            ),
            "d  accelerator  in no pool: it matches no pool's selectors",
            "next: change a selector above, or add a pool with deviceType accelerator",
        ),
        (
            Explanation(
                DeviceId("d"), "auxNetDevice", pools=(PoolDecision("a/b", Decision.OTHER_TYPE),)
            ),
            "d  auxNetDevice  in no pool: no valid pool has deviceType auxNetDevice",
            "a pool with deviceType auxNetDevice",
        ),
    ],
)
def test_the_reason_and_a_remedy_for_a_device_in_no_pool(
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
    [("", "it is below no PF"), ("0000:3b:00.0#1", "its PF has no interface")],
)
def test_why_a_name_of_a_pf_is_not_meant(run_dir: Path, root: str, said: str) -> None:
    explanation = Explanation(
        DeviceId("d"),
        "netDevice",
        pools=(PoolDecision("a/b", Decision.REJECTED, None, (Mismatch("pfNames", ("p0",), ""),)),),
        values={"pfNames": "", "rootDevices": root},
    )
    with supervisor(run_dir, protocol.encode(protocol.ExplainReply(explanation))):
        done = ctl("explain", "d", "--run-dir", run_dir)
    assert f"selectors[0]  pfNames: {said}, expected p0\n" in done.stdout


def test_explain_of_a_device_in_slices(run_dir: Path) -> None:
    use = PodUse("ml", "a-0", "", "", None, PodSource.CLAIMS, "ml/npus")
    explanation = Explanation(
        DeviceId("0000:3b:00.0"),
        "accelerator",
        PoolName("x.io/npu"),
        0,
        health=DeviceStatus("Unhealthy", "it is off", 0, source="aer", pods=(use,)),
        dra=ExportedDevice("npu.x.io", "0000-3b-00-0", "npu.x.io/unhealthy=aer:NoSchedule"),
    )
    with supervisor(run_dir, protocol.encode(protocol.ExplainReply(explanation))):
        said = ctl("--run-dir", run_dir, "explain", "3b:00.0").stdout
    assert "used by pod ml/a-0 (claim ml/npus)" in said
    assert (
        "exported by DRA: device 0000-3b-00-0 of driver npu.x.io, "
        "taint npu.x.io/unhealthy=aer:NoSchedule"
    ) in " ".join(said.split())


def test_explain_as_json(run_dir: Path) -> None:
    with supervisor(run_dir, protocol.encode(protocol.ExplainReply(EXPLANATION))):
        done = ctl("explain", "3b:02.1", "--run-dir", run_dir, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told == json.loads(msgspec.json.encode(EXPLANATION))
    assert told["pools"][2] == {
        "pool": "a/x",
        "decision": Decision.MATCHED,
        "selector": 1,
        "mismatches": [{"key": "pfNames", "wanted": ["p0#0", "p1"], "has": "p0#1"}],
    }


def test_a_dry_run(run_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\xff{}")
    reply = protocol.DryRunReply(PLAN, warnings=("line 1: odd",), conflicts=("d2: had by a pod",))
    with supervisor(run_dir, protocol.encode(reply)) as asked:
        done = ctl("validate", path, "--against-host", "--run-dir", run_dir)
        as_json = ctl("validate", path, "--against-host", "--run-dir", run_dir, "--json")
    assert asked == [b'{"type":"dry-run","config":"/3t9","prefix":null}'] * 2
    assert (done.returncode, done.stderr) == (
        0,
        f"a reload would be refused: d2: had by a pod\n{path}: warning: line 1: odd\n",
    )
    assert done.stdout == (
        f"{path}: valid, 2 pools; a reload would have this effect (nothing was changed):\n"
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
    assert (as_json.returncode, as_json.stderr) == (0, "")
    assert json.loads(as_json.stdout) == {
        "valid": True,
        "pools": ["a/x", "a/y"],
        "warnings": ["line 1: odd"],
        "plan": json.loads(msgspec.json.encode(PLAN)),
        "conflicts": ["d2: had by a pod"],
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
def test_a_reply_of_another_kind_is_an_error(run_dir: Path, tmp_path: Path, arguments: str) -> None:
    path = tmp_path / "config.json"
    path.touch()
    other = protocol.RescanReply(1) if "F" in arguments else protocol.DryRunReply(None)
    with supervisor(run_dir, protocol.encode(other)):
        done = ctl(*arguments.replace("F", str(path)).split(), "--run-dir", run_dir)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the reply belongs to another request" in done.stderr


@pytest.mark.parametrize("arguments", ["validate conf/atom.json --against-host", "explain x"])
def test_questions_that_need_a_supervisor(run_dir: Path, arguments: str) -> None:
    done = ctl(*arguments.split(), "--run-dir", run_dir)
    assert (done.returncode, done.stdout) == (3, "")
