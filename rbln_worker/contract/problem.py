"""A problem: the one type from the place where it arises to status, metrics and rbln-ctl.

A code has its severity and its remedy here. The place where a problem arises adds the text. No
decision depends on a text.
"""

from enum import StrEnum, auto
from typing import Final

import msgspec

MAX_EVIDENCE: Final = 8
"""Maximum lines of evidence; then "and N more"."""

_LOG: Final = "journalctl -u rbln-supervisor -n 100 (in a cluster: kubectl logs of its pod)"
_HANGS: Final = "dmesg | tail -50; ps -eo pid,stat,wchan:30,args | grep ' D'"
_FOLDER: Final = "ls -ld {subject}; findmnt -T {subject}; df {subject}"
_VALIDATE: Final = "rbln-ctl validate FILE --against-host; correct it, then rbln-ctl reload"
_RESTART: Final = "systemctl restart rbln-supervisor (in a cluster: delete its pod)"
"""It drains the workers; no pod loses a device."""
_EVENTS: Final = "rbln-ctl events --pool {subject}"


class Severity(StrEnum):
    """Severity of a problem, the worst first."""

    ERROR = "error"
    """Devices are not allocatable, or not all of them."""
    WARNING = "warning"
    """That may happen, or something is irregular."""
    NOTE = "note"


ERROR, WARNING, NOTE = Severity


class Code(StrEnum):
    """Kinds of problems, for scripts and runbooks.

    Each has a row in docs/operate.md, and a real fault in tests/system. The code of a member is its
    name in lower case, with hyphens. ``hint`` is a command or a change to make; ``{subject}`` in it
    is the problem's subject.
    """

    severity: Severity
    hint: str

    def __new__(cls, value: str, severity: Severity = WARNING, hint: str = _LOG) -> "Code":
        """Make a member with its severity and hint."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.severity = severity
        member.hint = hint
        return member

    @staticmethod
    def _generate_next_value_(name: str, *_: object) -> str:
        return name.lower().replace("_", "-")

    @classmethod
    def _missing_(cls, _: object) -> "Code":
        return cls.UNKNOWN

    UNKNOWN = auto()
    """A code of another version."""

    # The supervisor and its run directory
    SUPERVISOR_DOWN = auto(), ERROR, "systemctl start rbln-supervisor (in a pod: its log)"
    SUPERVISOR_HANGS = auto(), ERROR
    VERSION_DIFFERS = auto(), WARNING, f"{_RESTART}; no pod loses a device"
    RUN_DIR_MISSING = auto(), ERROR, "is the supervisor's --run-dir another one?"
    FOLDER_NOT_WRITABLE = auto(), ERROR, _FOLDER
    SOCKET_UNAVAILABLE = auto(), ERROR
    EVENTS_NOT_SAVED = auto(), WARNING, "df -h /run"
    CLUSTER_EVENTS_NOT_SENT = (
        auto(),
        WARNING,
        "kubectl auth can-i create events.events.k8s.io --as=system:serviceaccount:NAMESPACE:NAME",
    )

    # The kernel
    KERNEL_EVENTS_UNAVAILABLE = auto(), WARNING, "hostNetwork: true; allow AF_NETLINK (seccomp)"
    INOTIFY_EXHAUSTED = auto(), ERROR, "sysctl fs.inotify.max_user_instances=1024"

    # The kubelet
    KUBELET_DIR_MISSING = auto(), ERROR, "ps -C kubelet -o args="
    KUBELET_SOCK_MISSING = auto(), ERROR, "systemctl status kubelet"
    KUBELET_NOT_LISTENING = auto(), ERROR, "systemctl status kubelet"
    POD_RESOURCES_MISSING = auto(), NOTE, "ls -l {subject}; reloads ignore pods"
    POD_RESOURCES_NOT_LISTENING = (
        auto(),
        WARNING,
        "systemctl status kubelet; or rbln-ctl reload --force",
    )
    POD_SOURCE_FAILED = auto(), WARNING, "systemctl status kubelet"

    # The configuration
    CONFIG_INVALID = auto(), ERROR, "rbln-ctl validate {subject}"
    CONFIG_WARNING = auto(), NOTE, "rbln-ctl validate {subject}"
    RELOAD_REFUSED = auto(), ERROR, _VALIDATE
    POOL_INVALID = auto(), ERROR, _VALIDATE
    POOL_EMPTY = auto(), ERROR, "rbln-ctl explain DEVICE (of lspci -Dnn); correct its selectors"

    # Pools and their workers
    POOL_NOT_REGISTERED = auto(), ERROR, f"{_EVENTS}; journalctl -u kubelet -n 50"
    WORKER_RESTARTING = auto(), ERROR, f"{_EVENTS}; rbln-ctl support-bundle"
    WORKER_RESTARTED = auto(), WARNING, _EVENTS
    API_SERVER_UNREACHABLE = (
        auto(),
        WARNING,
        "kubectl get --raw /readyz; ip route; pods keep their devices",
    )
    SLICES_NOT_PUBLISHED = (
        auto(),
        ERROR,
        "kubectl auth can-i create resourceslices --as system:serviceaccount:NAMESPACE:NAME",
    )
    SLICE_FIELDS_DROPPED = auto(), NOTE, "a newer API server (Kubernetes 1.36 stores taints)"
    API_ACCESS_MISSING = auto(), ERROR, "deploy overlays/dra (a token), or --kubeconfig FILE"
    CLAIMS_UNSERVED = auto(), ERROR
    FOREIGN_EXPORTER = auto(), WARNING, "remove the other plugin or driver from this node"
    CDI_UNSUPPORTED = auto(), WARNING, "choose another resourcePrefix"
    CDI_SPEC_NOT_WRITTEN = auto(), ERROR, "df -h /var/run/cdi"
    CLAIMS_REBUILT = auto(), WARNING, "kubectl get resourceclaims -A; rbln-ctl support-bundle"
    FILE_LIST_NOT_SAVED = auto(), WARNING, "df -h /run"
    PREFERENCE_FAILED = auto(), WARNING, "rbln-ctl support-bundle"

    # Devices
    DISCOVERY_FAILED = auto(), ERROR, f"is /sys mounted in the container? {_HANGS}"
    FACTS_UNREADABLE = auto(), WARNING, "dmesg | tail -50"
    ESWITCH_MODE_UNKNOWN = auto(), NOTE, "rbln-ctl explain {subject}; wrong pfNames: add NET_ADMIN"
    DEVICE_UNREADABLE = auto(), ERROR, "rbln-ctl explain {subject}"
    DEVICE_UNHEALTHY = auto(), ERROR
    DEVICE_SUSPECT = auto()
    DEVICE_WARNING = auto()
    DRIVER_MISSING = auto(), ERROR
    DEVICE_NOT_SELECTED = auto()
    NODE_MISSING = auto(), ERROR, "ls -l /dev/rbln* /dev/vfio; dmesg | tail -50"
    RSD_MISSING = auto(), ERROR, "rbln-stat -L (it makes groups); dmesg | grep -i rsd"
    RBLN_STAT_MISSING = auto(), WARNING, "install the vendor's driver package"
    IOMMU_OFF = auto(), ERROR, "boot with intel_iommu=on (AMD: enable it in the firmware)"

    # Doctor's own reads
    CHECK_FAILED = auto(), ERROR
    CHECK_TIMED_OUT = auto(), ERROR, _HANGS


class Problem(msgspec.Struct, frozen=True):
    """A problem, with all that a reader needs who cannot ask for more."""

    code: Code
    severity: Severity
    text: str
    """One line."""
    subject: str = ""
    """Pool, device or path; empty for the node."""
    hint: str = ""
    """Next step: a command, or a change to make."""
    evidence: tuple[str, ...] = ()
    """Further observations, one line each."""


def make_problem(
    code: Code,
    text: str,
    subject: str = "",
    evidence: tuple[str, ...] = (),
    *,
    hint: str | None = None,
    severity: Severity | None = None,
) -> Problem:
    """Return a problem; None: the hint or the severity of its code."""
    more = len(evidence) - MAX_EVIDENCE
    return Problem(
        code,
        severity or code.severity,
        text,
        subject,
        (code.hint if hint is None else hint).replace("{subject}", subject),
        (*evidence[:MAX_EVIDENCE], *((f"… and {more} more",) if more > 0 else ())),
    )


def count_text(number: int, noun: str) -> str:
    """Return ``1 device``, ``2 devices``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
