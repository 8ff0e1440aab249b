"""A fault that is arranged on a real system, and how rbln-ctl doctor is run against it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, NamedTuple

import pytest

from rbln_worker.contract import version
from tests.sim.stack import REPOSITORY, Stack
from tests.system.scene import ATOM, TWO_POOLS, VM, eventually

_SEEN_WITHIN_S: Final = 60.0
"""A run of doctor takes some seconds on a busy machine."""
_ASK_AGAIN_S: Final = 0.1

Done = subprocess.CompletedProcess[str]


class Told(NamedTuple):
    """What a run of ``rbln-ctl doctor --json`` said."""

    exit: int
    unreachable: str | None
    problems: dict[str, dict[str, Any]]
    """The first one of each code: errors come first."""
    wrong: bool
    """One of them is an error."""


def plainly(stack: Stack, *flags: str) -> Done:
    """Doctor as anybody would run it."""
    return stack.ctl("doctor", *flags, deadline_s=60)


def two_pools() -> Stack:
    """Four NPUs with their driver, two for virtual machines."""
    return Stack(TWO_POOLS)


class Fault(NamedTuple):
    """What is wrong, and what doctor says of it."""

    code: str
    arrange: Callable[[Stack], object]
    word: str
    """Of the text, the evidence or the hint."""
    severity: str = "error"
    subject: str = ""
    """May have {run_dir} and {root}."""
    system: Callable[[], Stack] = two_pools
    pools: tuple[str, ...] = (ATOM, VM)
    """Which serve before it."""
    ask: Callable[..., Done] = plainly
    held: Callable[[Stack], AbstractContextManager[object]] = nullcontext
    """What lasts as long as doctor is asked, and arranges what ``arrange`` does not."""
    exit: int | None = None
    """None: 1 where something is an error, else 0."""


def nothing(_: Stack) -> None:
    """All is well but for what ``held`` or ``ask`` do."""


def told(done: Done) -> Told:
    """What it said; that it said anything at all is asserted."""
    assert "Traceback" not in done.stderr
    said = json.loads(done.stdout)
    wrong = any(one["severity"] == "error" for one in said["problems"])
    assert said["ok"] is not wrong
    problems = {one["code"]: one for one in reversed(said["problems"])}
    return Told(done.returncode, said["unreachable"], problems, wrong)


def text_of(problem: dict[str, Any]) -> str:
    """All that is said of a problem."""
    return " ".join([problem["text"], *problem["evidence"], problem["hint"]])


def seen(stack: Stack, code: str, ask: Callable[..., Done] = plainly, word: str = "") -> Told:
    """The answer as soon as the code is in it, with the word: some faults take a moment.

    A worker that dies again and again is seen while it waits, and not while it starts.
    """
    end = monotonic() + _SEEN_WITHIN_S
    while True:
        said = told(ask(stack, "--json"))
        if code in said.problems and word in text_of(said.problems[code]):
            return said
        assert monotonic() < end, f"no {code} with {word!r}: {said}"
        sleep(_ASK_AGAIN_S)


# Ways of running it


def elsewhere(_: Stack, *flags: str) -> Done:
    """With a run directory where none ever was."""
    return _run(_doctor(Path("/nowhere"), *flags))


def inside(script: str, *options: str) -> Callable[..., Done]:
    """In namespaces of its own after a script, which may have {run_dir} and {root}."""
    # Whoever is not root becomes it in a user namespace of their own.
    flags = options if os.geteuid() == 0 else ("--map-root-user", *options)

    def ask(stack: Stack, *arguments: str) -> Done:
        filled = script.format(run_dir=stack.run_dir, root=stack.root)
        _needs(*flags, script=filled)
        command = _doctor(stack.run_dir, *arguments)
        return _run(["unshare", *flags, "sh", "-ec", f'{filled}\nexec "$@"', "sh", *command])

    return ask


def read_only(folder: str) -> Callable[..., Done]:
    """Where a folder lies on a file system that is mounted read-only."""
    return inside(
        f'mount --bind "{folder}" "{folder}"; mount -o remount,bind,ro "{folder}"', "--mount"
    )


def bereft(stack: Stack, *flags: str) -> Done:
    """Where something kills what it has the node examined by, as the memory killer does."""
    command = _doctor(stack.run_dir, *flags)
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

        def killed() -> bool:
            for child in children.read_text().split():
                os.kill(int(child), signal.SIGKILL)
                return True
            return False

        eventually(killed, what="its child is killed", deadline_s=30)
        out, errors = process.communicate(timeout=60)
    return Done(command, process.returncode, out, errors)


def of_another_version(stack: Stack, *flags: str) -> Done:
    """An rbln-ctl that was installed while the supervisor ran."""
    home = stack.run_dir.parent / "newer"
    if not home.exists():
        for package in ("rbln_supervisor", "rbln_worker"):
            shutil.copytree(
                REPOSITORY / package, home / package, ignore=shutil.ignore_patterns("*.pyc")
            )
        said = home / "rbln_worker/contract/version.py"
        said.write_text(said.read_text().replace(version.VERSION, "99.0.0"))
    return _run(_doctor(stack.run_dir, *flags), home)


@contextmanager
def stopped(stack: Stack) -> Iterator[None]:
    """The supervisor hangs."""
    os.kill(stack.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(stack.pid, signal.SIGCONT)


_REFUSED: Final = ("Operation not permitted", "permission denied", "Permission denied")


def _needs(*flags: str, script: str) -> None:
    done = _run(["unshare", *flags, "sh", "-ec", script])
    if done.returncode and any(words in done.stderr for words in _REFUSED):
        pytest.skip(f"no namespace may be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


def _doctor(run_dir: Path, *flags: str) -> Sequence[str]:
    program = (sys.executable, "-m", "rbln_supervisor.ctl", "--run-dir", str(run_dir))
    return (*program, "doctor", *flags)


def _run(command: Sequence[str], home: Path = REPOSITORY) -> Done:
    return subprocess.run(
        command, cwd=home, capture_output=True, text=True, timeout=60, check=False
    )
