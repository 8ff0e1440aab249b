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
    "rbln-ctl --run-dir R explain 0000:61": "0000:61:00.0",
    "rbln-ctl --run-dir R status --pool rebellions.ai/A": ATOM,
    "rbln-ctl events --run-dir R --device 0000:20": "0000:20:00.0",
    "rbln-ctl status --un": "--unhealthy",
    "rbln-ctl completion z": "zsh",
    "rbln-ctl doctor --config-file /etc/hostn": "/etc/hostname",
}
"""By line, where R is the run directory: its last word, completed."""


class Home:
    """Of somebody who has rbln-ctl in the PATH."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        program = folder / "bin" / "rbln-ctl"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\ncd {REPOSITORY}\nexec {sys.executable} -m rbln_supervisor.ctl "$@"\n'
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
        """The lines that are printed."""
        done = subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "Traceback" not in done.stderr
        return done.stdout.splitlines()


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
    return found.partition("\t")[0]  # without its description


@pytest.mark.parametrize("shell", [bash, zsh, fish])
@pytest.mark.parametrize("line", LINES)
def test_a_line_is_completed(home: Home, shell: Callable[[Home, str], str], line: str) -> None:
    typed_line = line.replace(" R ", f" {home.stack.run_dir} ")
    assert shell(home, typed_line) == LINES[line]


def test_completion_without_a_supervisor_prints_no_error(home: Home, tmp_path: Path) -> None:
    """Its own words: a shell reads them from descriptor 8, and shows what else is printed."""
    line = "rbln-ctl --run-dir /nowhere explain "
    words = tmp_path / "words"
    done = subprocess.run(
        [home.folder / "bin" / "rbln-ctl"],
        env={
            **home.environment,
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(words),
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "0000:" not in words.read_text()


def test_without_a_shell_that_completes_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys; from rbln_supervisor.ctl.main import main; main(['probe', 'alive']);"
        "sys.exit(sum(name in sys.modules for name in ('argcomplete', 'rich')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
