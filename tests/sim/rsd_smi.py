"""The simulated vendor tool, as a program: ``SimRsd`` copies it to where the tool is expected.

It knows no module of the project. ``rbln-smi.state/`` beside it has the NPUs, their groups, its
behaviour and a log of its calls.
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

STATE = Path(__file__).with_name("rbln-smi.state")
HEADER = "group_id, name, device\n"


def replace(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text)
    aside.replace(path)


def save(groups: dict[str, int], knobs: dict[str, Any]) -> None:
    """Show groups as the driver does: its list, and a node for each group but group 0."""
    replace(STATE / "groups.json", json.dumps(groups))
    root = Path((STATE / "root").read_text())
    if knobs.get("driver_list", True):
        lines = (f"{group},rsd{group},{npu}\n" for npu, group in sorted(groups.items()))
        listed = root / "sys/class/rebellions/rsd/rsd_group"
        listed.parent.mkdir(parents=True, exist_ok=True)
        replace(listed, HEADER + "".join(lines))
    present = {f"rsd{group}" for group in groups.values() if group}
    for node in (root / "dev").glob("rsd[1-9]*"):
        if node.name not in present:
            node.unlink()
    for name in present:
        (root / "dev" / name).touch()


def show(groups: dict[str, int], knobs: dict[str, Any]) -> int:
    """Print JSON; ``types`` and ``collapsed`` are variations that were seen in the field."""
    entries: list[dict[str, Any]] = []
    for npu, group in sorted(groups.items()):
        entry: dict[str, Any] = {"npu": int(npu[4:]), "device": npu, "group_id": f"{group}"}
        if knobs.get("types") == "numbers":
            entry |= {"npu": npu[4:], "group_id": group}
        elif knobs.get("types") == "wrong":
            entry |= {"group_id": [group]}
        entries.append(entry)
    if knobs.get("collapsed"):
        entries = [entry | {"npu": 0} for entry in entries for _ in range(2)]
    if knobs.get("contradictory"):
        entries.append(entries[0] | {"group_id": "77"})
    print(json.dumps({"KMD_version": "3.0.0", "devices": entries, "contexts": []}))
    return 0


def change(words: list[str], groups: dict[str, int], knobs: dict[str, Any]) -> int:
    if words[1] == "-d":
        doomed = {int(one) for one in words[2].split(",")}
        if knobs.get("remove") == "fails":
            print("cannot destroy group")
            return 1
        if knobs.get("remove") != "silent":
            save({npu: 0 if group in doomed else group for npu, group in groups.items()}, knobs)
        return 0
    group = int(words[2])
    members = [f"rbln{number}" for number in words[4].split(",")]
    if group in groups.values() or any(groups.get(npu) != 0 for npu in members):
        print(f"group {group}: invalid")
        return 22
    create = knobs.get("create")
    if create == "fails":
        print("ioctl: Input/output error")
        return 5
    if create == "half":
        members = members[:1]
    if create != "silent":
        save(groups | dict.fromkeys(members, group), knobs)
    return 1 if create in {"made, but fails", "half"} else 0


def main(words: list[str]) -> int:
    knobs = json.loads((STATE / "behaviour.json").read_text())
    with (STATE / "calls").open("a") as calls:
        calls.write(f"{os.getpid()} {' '.join(words)}\n")
    time.sleep(knobs.get("delay_s", 0.0))
    if knobs.get("hangs") and words[0] in knobs["hangs"]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = os.fork()
        if child:
            replace(STATE / "hanging", f"{os.getpid()} {child}")
        while True:
            signal.pause()
    if knobs.get("crashes"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if knobs.get("floods"):
        while True:
            print("{" * 65536)
    with (STATE / "driver").open("w") as driver:  # the driver serialises, whoever calls
        fcntl.flock(driver, fcntl.LOCK_EX)
        groups = json.loads((STATE / "groups.json").read_text())
        if rival := knobs.get("rival"):  # a program that does not honour the lock was faster
            groups |= rival
            save(groups, knobs)
        if words == ["-g", "-j"]:
            return show(groups, knobs)
        return change(words, groups, knobs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
