"""What pods had, have and are shown to have, around everything that may move their devices."""

from tests.e2e.cluster.setting import kubernetes_version
from tests.e2e.report import Table


class PodReport(Table):
    """A row a situation; the page of docs/measured has those of all releases."""

    def __init__(self) -> None:
        super().__init__(
            "",
            *("situation", "Kubernetes", "deployment", "CDI", "the pod had", "has", "is shown"),
            "seconds",
        )

    def add(
        self,
        situation: str,
        deployment: str,
        *,
        cdi: bool,
        had: str,
        has: str,
        shown: str,
        seconds: float | None = None,
    ) -> None:
        """Take note of a situation.

        ``deployment``: DaemonSet or unit. ``shown``: what users see of it.
        ``seconds``: what they count is in ``shown`` where it is not plain.
        """
        words = kubernetes_version(), deployment, "with" if cdi else "without"
        self.add_row(situation, *words, had, has, shown, seconds=seconds)
