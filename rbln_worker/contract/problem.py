"""A problem: the one type from the place where it arises to status, metrics and rbln-ctl.

A code has its severity and its remedy here. The place where a problem arises adds the text. No
decision depends on a text.
"""

from enum import StrEnum
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

    Each has a row in docs/operate.md, and a real fault in tests/system. ``hint`` is a command or a
    change to make; ``{subject}`` in it is the problem's subject.
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

    @classmethod
    def _missing_(cls, _: object) -> "Code":
        return cls.UNKNOWN

    UNKNOWN = "unknown"
    """A code of another version."""

    # The supervisor and its run directory
    SUPERVISOR_DOWN = (
        "supervisor-down",
        ERROR,
        "systemctl start rbln-supervisor (in a pod: its log)",
    )
    SUPERVISOR_HANGS = "supervisor-hangs", ERROR
    VERSION_DIFFERS = "version-differs", WARNING, f"{_RESTART}; no pod loses a device"
    RUN_DIR_MISSING = "run-dir-missing", ERROR, "is the supervisor's --run-dir another one?"
    FOLDER_NOT_WRITABLE = "folder-not-writable", ERROR, _FOLDER
    SOCKET_UNAVAILABLE = "socket-unavailable", ERROR
    EVENTS_NOT_SAVED = "events-not-saved", WARNING, "df -h /run"
    CLUSTER_EVENTS_NOT_SENT = (
        "cluster-events-not-sent",
        WARNING,
        "kubectl auth can-i create events.events.k8s.io --as=system:serviceaccount:NAMESPACE:NAME",
    )

    # The kernel
    KERNEL_EVENTS_UNAVAILABLE = (
        "kernel-events-unavailable",
        WARNING,
        "run it in the host's network namespace (hostNetwork: true), with AF_NETLINK allowed",
    )
    INOTIFY_EXHAUSTED = "inotify-exhausted", ERROR, "sysctl fs.inotify.max_user_instances=1024"

    # The kubelet
    KUBELET_DIR_MISSING = "kubelet-dir-missing", ERROR, "ps -C kubelet -o args="
    KUBELET_SOCK_MISSING = "kubelet-sock-missing", ERROR, "systemctl status kubelet"
    KUBELET_NOT_LISTENING = "kubelet-not-listening", ERROR, "systemctl status kubelet"
    POD_RESOURCES_MISSING = "pod-resources-missing", NOTE, "ls -l {subject}; reloads ignore pods"
    POD_RESOURCES_NOT_LISTENING = (
        "pod-resources-not-listening",
        WARNING,
        "systemctl status kubelet; or take the devices all the same: rbln-ctl reload --force",
    )
    POD_SOURCE_FAILED = "pod-source-failed", WARNING, "systemctl status kubelet"

    # The configuration
    CONFIG_INVALID = "config-invalid", ERROR, "rbln-ctl validate {subject}"
    CONFIG_WARNING = "config-warning", NOTE, "rbln-ctl validate {subject}"
    RELOAD_REFUSED = "reload-refused", ERROR, _VALIDATE
    POOL_INVALID = "pool-invalid", ERROR, _VALIDATE
    POOL_EMPTY = (
        "pool-empty",
        ERROR,
        "rbln-ctl explain DEVICE (of lspci -Dnn); correct its selectors",
    )

    # Pools and their workers
    POOL_NOT_REGISTERED = "pool-not-registered", ERROR, f"{_EVENTS}; journalctl -u kubelet -n 50"
    WORKER_RESTARTING = "worker-restarting", ERROR, f"{_EVENTS}; rbln-ctl support-bundle"
    WORKER_RESTARTED = "worker-restarted", WARNING, _EVENTS
    API_SERVER_UNREACHABLE = (
        "api-server-unreachable",
        WARNING,
        "kubectl get --raw /readyz; ip route; running pods keep their devices meanwhile",
    )
    SLICES_NOT_PUBLISHED = (
        "slices-not-published",
        ERROR,
        "kubectl auth can-i create resourceslices --as system:serviceaccount:NAMESPACE:NAME",
    )
    SLICE_FIELDS_DROPPED = (
        "slice-fields-dropped",
        NOTE,
        "kubectl get --raw /metrics | grep feature_enabled.*DRA; Kubernetes 1.36 has taints",
    )
    API_ACCESS_MISSING = (
        "api-access-missing",
        ERROR,
        "deploy overlays/dra (a token for this container), or start with --kubeconfig FILE",
    )
    CLAIMS_UNSERVED = "claims-unserved", ERROR
    FOREIGN_EXPORTER = (
        "foreign-exporter",
        WARNING,
        "kubectl get pods -A -o wide; remove the other plugin or driver from this node",
    )
    CDI_UNSUPPORTED = "cdi-unsupported", WARNING, "choose another resourcePrefix"
    CDI_SPEC_NOT_WRITTEN = "cdi-spec-not-written", ERROR, "df -h /var/run/cdi"
    CLAIMS_REBUILT = (
        "claims-rebuilt",
        WARNING,
        "kubectl get resourceclaims -A; rbln-ctl support-bundle",
    )
    FILE_LIST_NOT_SAVED = "file-list-not-saved", WARNING, "df -h /run"
    PREFERENCE_FAILED = "preference-failed", WARNING, "rbln-ctl support-bundle"

    # Devices
    DISCOVERY_FAILED = "discovery-failed", ERROR, f"is /sys mounted in the container? {_HANGS}"
    FACTS_UNREADABLE = "facts-unreadable", WARNING, "dmesg | tail -50"
    ESWITCH_MODE_UNKNOWN = (
        "eswitch-mode-unknown",
        NOTE,
        "rbln-ctl explain {subject}; if its pfNames are wrong: add the capability NET_ADMIN",
    )
    DEVICE_UNREADABLE = "device-unreadable", ERROR, "rbln-ctl explain {subject}"
    DEVICE_UNHEALTHY = "device-unhealthy", ERROR
    DEVICE_SUSPECT = "device-suspect"
    DEVICE_WARNING = "device-warning"
    DRIVER_MISSING = "driver-missing", ERROR
    DEVICE_NOT_SELECTED = "device-not-selected"
    NODE_MISSING = "node-missing", ERROR, "ls -l /dev/rbln* /dev/vfio; dmesg | tail -50"
    RSD_MISSING = (
        "rsd-missing",
        ERROR,
        "rbln-stat -L (or the vendor's tool that makes groups); dmesg | grep -i rsd",
    )
    RBLN_STAT_MISSING = "rbln-stat-missing", WARNING, "install the vendor's driver package"
    IOMMU_OFF = (
        "iommu-off",
        ERROR,
        "boot with intel_iommu=on (AMD: enable it in the firmware); dmesg | grep -i iommu",
    )
    IOMMU_GROUP_SHARED = (
        "iommu-group-shared",
        NOTE,
        "request all devices of a group in one pod, or separate them in the firmware (ACS)",
    )

    # Doctor's own reads
    CHECK_FAILED = "check-failed", ERROR
    CHECK_TIMED_OUT = "check-timed-out", ERROR, _HANGS


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
