"""What additionalInfo says is for containers: nobody else is ever told."""

import json
import os
import signal
from pathlib import Path
from typing import Final

import pytest

from rbln_supervisor.core.config import node_config as configuration
from tests.sim.nodes import for_machines, npus
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    VM,
    VM_POOL,
    allocatable,
    config,
    pool_status,
    run_supervisor,
    served,
)

pytestmark = pytest.mark.system

CANARY: Final = "c4n4ry"
INFO: Final = {
    "*": {"token": CANARY, "quoted": f'"{CANARY}"\n\u2028<{CANARY}>'},
    ATOMS[0]: {"token": f"{CANARY}-of-one"},
}
SECRET_POOL: Final = {**ATOM_POOL, "additionalInfo": INFO}


def below(folder: Path) -> str:
    """All that lies in a folder, names included."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return "".join(f"{path}\n{path.read_text(errors='replace')}" for path in files)


@pytest.mark.parametrize("form", ["text", "json"])
def test_only_containers_hear_of_it(form: str, tmp_path: Path) -> None:
    arguments = ("--log-level", "debug", "--log-format", form, "--use-cdi", "--gone-grace", "0.5")
    with Stack(config(SECRET_POOL, VM_POOL), arguments=arguments) as stack:
        served(stack)
        answer = stack.kubelet.allocate(ATOM, [[ATOMS[0]]])
        assert f"{CANARY}-of-one" in str(answer)
        # Lives that end in all ways, devices that fall and come back, refusals and reloads.
        for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM):
            pid = stack.workers()[ATOM]
            os.kill(pid, number)
            pool_status(
                stack,
                ATOM,
                lambda seen, pid=pid: seen.state == "serving" and seen.worker.pid != pid,  # type: ignore[misc]
                what="another life",
            )
        stack.node.set_pools(ATOMS[1], "broken")
        stack.ctl("rescan")
        allocatable(stack, ATOM, len(ATOMS) - 1)
        with pytest.raises(Exception, match=r"can't be used") as refusal:
            stack.kubelet.allocate(ATOM, [[ATOMS[1]]])
        said = [str(refusal.value)]
        stack.kill()
        stack.start()
        stack.wait_status(lambda status: status.supervisor.ready, what="it is adopted")
        wrong = tmp_path / "wrong.json"
        wrong.write_text(
            json.dumps(
                config(
                    {**ATOM_POOL, "additionalInfo": {"*": {"token": [CANARY]}, CANARY[:0]: CANARY}},
                    {**VM_POOL, "additionalInfo": CANARY, "deviceTypes": "x"},
                )
            )
        )
        for words in (
            ("status",),
            ("status", "--json"),
            *(("explain", device) for device in (ATOMS[0], ATOMS[1], "0000:ff:00.0")),
            ("validate", str(stack.config_file)),
            ("validate", str(stack.config_file), "--against-host"),
            ("validate", str(wrong)),
            ("rescan",),
        ):
            done = stack.ctl(*words)
            said += [done.stdout, done.stderr]
            assert done.stdout or done.stderr
        stack.write_config(wrong.read_text())
        assert stack.ctl("reload").returncode == 1
        other = {**SECRET_POOL, "additionalInfo": {"*": {"token": f"{CANARY}2"}}}
        stack.write_config(config(other, VM_POOL))
        done = stack.ctl("reload")
        assert done.returncode == 0
        said += [done.stdout, done.stderr, stack.ctl("status", "--json").stdout]
        said += [stack.log, below(stack.run_dir / "pools"), below(stack.root / "var/run")]
        for process in stack.processes():
            for name in ("cmdline", "environ"):
                said.append(Path(f"/proc/{process}/{name}").read_text(errors="replace"))
        assert len(said) > 20
        assert not [text for text in said if CANARY in text]


def test_a_traceback_does_not_tell_it() -> None:
    """A pool of which so much is to be told that its worker's memory does not do."""
    secret = {"*": {"token": CANARY * 150_000}}
    pool_ = {**ATOM_POOL, "additionalInfo": secret}
    with Stack(
        config(pool_, VM_POOL),
        lambda node: node.add(*npus(192), *for_machines()),
        arguments=("--worker-memory-max", "256MiB", "--log-level", "debug"),
    ) as stack:
        seen = pool_status(stack, ATOM, lambda seen: seen.state == "backoff", what="a back-off")
        assert "Traceback" in "\n".join(seen.worker.last_log)
        for text in (stack.log, stack.ctl("status", "--json").stdout):
            assert CANARY not in text
        assert stack.status().pools[VM].worker.restarts == 0


BROKEN = {
    "no quotes": f'{{"resourceList": [{{"additionalInfo": {{"*": {{"token": {CANARY}}}}}}}]}}',
    "half a quote": f'{{"resourceList": [{{"additionalInfo": {{"*": {{"token": {CANARY}"}}}}}}]}}',
    "no comma": f'{{"resourceList": [{{"additionalInfo": {{"*": {{"t": "" {CANARY}}}}}}}]}}',
    "a tag": f"resourceList:\n- additionalInfo:\n    '*':\n      token: !{CANARY} x\n",
    "a tag of YAML's": f"resourceList:\n- additionalInfo:\n    '*':\n      t: !!{CANARY} x\n",
    "an alias": f"resourceList:\n- additionalInfo:\n    '*':\n      token: *{CANARY}\n",
    "an anchor": f"resourceList:\n- additionalInfo:\n    '*':\n      token: &{CANARY} x\n",
    "a colon": f"resourceList:\n- additionalInfo:\n    '*':\n      token: a: {CANARY}\n",
    "an escape": f"resourceList:\n- additionalInfo:\n    '*':\n      token: \"\\q{CANARY}\"\n",
    "a directive": f"%{CANARY}\n---\nresourceList: []\n",
    "wrong types": json.dumps({"resourceList": [{"additionalInfo": {"*": CANARY}}]}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_does_not_tell_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(BROKEN[name])
    done = run_supervisor("--config-file", path, "--run-dir", tmp_path / "r")
    assert done.returncode == 1
    assert done.stderr.startswith("rbln-supervisor: ")
    assert CANARY not in done.stderr


def test_a_number_that_yaml_took_for_one_is_not_told() -> None:
    number = "0x123456789"
    text = f"""
resourceList:
- resourceName: a
  selectors: {{drivers: [x]}}
  additionalInfo: {{"*": {{token: {number}, since: 2026-11-25}}}}
"""
    found = configuration.parse(text.encode(), prefix="x.io")
    assert len(found.warnings) == 2
    assert not [line for line in found.warnings if number in line or "2026" in line]
    info = found.pools[0].spec.additional_info
    assert info == {"*": {"token": number, "since": "2026-11-25"}}
