"""What the shells make of their scripts: typed lines, completed by real shells."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.kernel.vm import debian
from tests.sim.stack import REPOSITORY, Stack
from tests.sim.terminal import Terminal
from tests.system.scene import ATOM, TWO_POOLS, served

pytestmark = pytest.mark.system

LINES: Final = {
    "rbln-ctl sta": "status",
    "rbln-ctl explain 0000:61": "0000:61:00.0",
    "rbln-ctl status --pool rebellions.ai/A": ATOM,
    "rbln-ctl events --device 0000:20": "0000:20:00.0",
    "rbln-ctl status --un": "--unhealthy",
    "rbln-ctl completion z": "zsh",
    "rbln-ctl --config-file /etc/hostn": "/etc/hostname",
}
"""The last word of a line, whole."""


class Home:
    """Of somebody who has rbln-ctl in the PATH."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        program = folder / "bin" / "rbln-ctl"
        program.parent.mkdir()
        program.write_text(
            f"#!/bin/sh\ncd {REPOSITORY}\n"
            f'exec {sys.executable} -m rbln_supervisor.ctl --run-dir {stack.run_dir} "$@"\n'
        )
        program.chmod(0o755)

    @property
    def environment(self) -> Mapping[str, str]:
        places = {name: str(self.folder) for name in ("HOME", "ZDOTDIR", "XDG_CONFIG_HOME")}
        return {**places, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "TERM": "dumb"}

    def script(self, shell: str, place: str) -> Path:
        """Put the script where the shell looks for it."""
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.stack.ctl("completion", shell).stdout)
        return path

    def run(self, *command: str) -> list[str]:
        """The words that are printed."""
        done = subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "Traceback" not in done.stderr
        return done.stdout.split()


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        yield stack


@pytest.fixture
def home(stack: Stack, tmp_path: Path) -> Home:
    return Home(stack, tmp_path)


def need(shell: str) -> None:
    """Have the shell here, or say why not."""
    with (Path(tempfile.gettempdir()) / "rbln-test-shells.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one apt-get at a time
        if shutil.which(shell) is None:
            try:
                debian.install(shell)
            except debian.CannotRun as error:
                pytest.skip(f"no {shell} here: {error}")


def bash(home: Home, line: str) -> str:
    script = home.script("bash", "completion")
    rc = home.folder / "rc"
    rc.write_text(f"""
        source {script}
        bind -x '"\\C-x": echo "<$READLINE_LINE>"'
        echo ready
    """)
    return typed(["bash", "--rcfile", str(rc), "-i"], home, line)


def zsh(home: Home, line: str) -> str:
    need("zsh")
    functions = home.script("zsh", "functions/_rbln-ctl").parent
    (home.folder / ".zshrc").write_text(f"""
        fpath=({functions} $fpath)
        autoload -Uz compinit && compinit -u -D
        tell() {{ print -r -- "<$BUFFER>" }}
        zle -N tell
        bindkey '^X' tell
        print ready
    """)
    return typed(["zsh", "-o", "no_global_rcs", "-i"], home, line)


def typed(shell: Sequence[str], home: Home, line: str) -> str:
    """The last word after a tab, of a shell that says ready and tells its line at ^X."""
    terminal = Terminal(shell, home.environment)
    terminal.wait("ready")
    terminal.type(f"{line}\t\x18")
    shown = terminal.wait("<[^>]*>")
    terminal.end(signal.SIGKILL)
    return shown.rpartition("<")[2].removesuffix(">").split()[-1]


def fish(home: Home, line: str) -> str:
    need("fish")
    home.script("fish", "fish/completions/rbln-ctl.fish")
    [found] = home.run("fish", "-c", f'complete -C "{line}"')
    return found


@pytest.mark.parametrize("shell", [bash, zsh, fish])
@pytest.mark.parametrize("line", LINES)
def test_a_line_is_completed(home: Home, shell: Callable[[Home, str], str], line: str) -> None:
    assert shell(home, line) == LINES[line]


def test_what_may_follow_comes_from_the_node(stack: Stack) -> None:
    devices = stack.ctl("complete", "--", "explain", "0000:6").stdout.split()
    assert devices == ["0000:60:00.0", "0000:61:00.0"]
    assert stack.ctl("complete", "--", "").stdout.split()[0] == "status"


def test_nobody_to_ask_is_no_error(stack: Stack) -> None:
    nobody = stack.ctl("complete", "--", "--run-dir", "/nowhere", "explain", "")
    assert (nobody.returncode, nobody.stdout, nobody.stderr) == (0, "", "")
