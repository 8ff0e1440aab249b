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
_VALIDATE: Final = "rbln-ctl validate FILE --against-host; then rbln-ctl reload"
_RESTART: Final = "systemctl restart rbln-supervisor (in a cluster: delete its pod)"
"""It drains the workers; no pod loses a device."""
_DEVICE: Final = "rbln-ctl explain {subject}"


class Severity(StrEnum):
    """Severity of a problem, the worst first."""

    ERROR = "error"
    """Devices are not allocatable, or not all of them."""
    WARNING = "warning"
    """That may happen, or something is irregular."""
    NOTE = "note"


class Code(StrEnum):
    """Kinds of problems, for scripts and runbooks.

    Each has a row in docs/operate.md, and a real fault in tests/system. ``hint`` is a command or a
    change to make; ``{subject}`` in it is the problem's subject.
    """

    severity: Severity
    hint: str

    def __new__(cls, value: str, severity: Severity = Severity.WARNING, hint: str = _LOG) -> "Code":
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
        Severity.ERROR,
        "systemctl start rbln-supervisor (in a pod supervisord tries again: its log says why that "
        "fails)",
    )
    SUPERVISOR_HANGS = "supervisor-hangs", Severity.ERROR
    VERSION_DIFFERS = "version-differs", Severity.WARNING, f"{_RESTART}; no pod loses a device"
    RUN_DIR_MISSING = (
        "run-dir-missing",
        Severity.ERROR,
        "systemctl start rbln-supervisor; or rbln-ctl --run-dir DIR doctor",
    )
    RUN_DIR_NOT_WRITABLE = "run-dir-not-writable", Severity.ERROR, _FOLDER
    SOCKET_UNAVAILABLE = "socket-unavailable", Severity.ERROR
    DESCRIPTORS_SHORT = (
        "descriptors-short",
        Severity.WARNING,
        "ls -l /proc/PID/fd | tail; then raise LimitNOFILE (ulimit -n)",
    )
    EVENTS_NOT_SAVED = "events-not-saved", Severity.WARNING, "df -h /run"
    CLUSTER_EVENTS_NOT_SENT = (
        "cluster-events-not-sent",
        Severity.WARNING,
        "kubectl auth can-i create events.events.k8s.io --as=system:serviceaccount:NAMESPACE:NAME",
    )
    FRAMES_DROPPED = (
        "frames-dropped",
        Severity.WARNING,
        "rbln-ctl rescan; if they go on rising: rbln-ctl support-bundle",
    )
    SYSTEMD_UNREACHABLE = "systemd-unreachable", Severity.WARNING, "systemctl status"

    # The kernel
    KERNEL_EVENTS_UNAVAILABLE = (
        "kernel-events-unavailable",
        Severity.WARNING,
        "run it in the host's network namespace (hostNetwork: true), with AF_NETLINK allowed",
    )
    KERNEL_EVENTS_LOST = (
        "kernel-events-lost",
        Severity.WARNING,
        "rbln-ctl rescan; if they go on rising: rbln-ctl support-bundle",
    )
    INOTIFY_EXHAUSTED = (
        "inotify-exhausted",
        Severity.ERROR,
        "sysctl fs.inotify.max_user_instances=1024",
    )

    # The kubelet
    KUBELET_DIR_MISSING = "kubelet-dir-missing", Severity.ERROR, "ps -C kubelet -o args="
    KUBELET_DIR_NOT_WRITABLE = "kubelet-dir-not-writable", Severity.ERROR, _FOLDER
    KUBELET_SOCK_MISSING = "kubelet-sock-missing", Severity.ERROR, "systemctl status kubelet"
    KUBELET_NOT_LISTENING = (
        "kubelet-not-listening",
        Severity.ERROR,
        "systemctl status kubelet; journalctl -u kubelet -n 50",
    )
    PLUGINS_REGISTRY_MISSING = (
        "plugins-registry-missing",
        Severity.ERROR,
        "or use --registration kubelet-sock",
    )
    PLUGINS_REGISTRY_NOT_WRITABLE = "plugins-registry-not-writable", Severity.ERROR, _FOLDER
    POD_RESOURCES_MISSING = "pod-resources-missing", Severity.NOTE, "ls -l {subject}"
    POD_RESOURCES_NOT_LISTENING = (
        "pod-resources-not-listening",
        Severity.WARNING,
        "systemctl status kubelet; or take the devices all the same: rbln-ctl reload --force",
    )
    POD_SOURCE_FAILED = "pod-source-failed", Severity.WARNING, "systemctl status kubelet"

    # The configuration
    CONFIG_INVALID = "config-invalid", Severity.ERROR, "rbln-ctl validate {subject}"
    CONFIG_WARNING = "config-warning", Severity.NOTE, "rbln-ctl validate {subject}"
    CONFIG_NOT_ACTIVE = "config-not-active", Severity.WARNING, _VALIDATE
    RELOAD_REFUSED = "reload-refused", Severity.ERROR, _VALIDATE
    POOL_INVALID = (
        "pool-invalid",
        Severity.ERROR,
        "rbln-ctl validate FILE; correct it, then rbln-ctl reload",
    )
    POOL_EMPTY = (
        "pool-empty",
        Severity.ERROR,
        "rbln-ctl explain DEVICE (of lspci -Dnn); correct its selectors, then rbln-ctl reload",
    )
    SELECTORS_OVERLAP = (
        "selectors-overlap",
        Severity.WARNING,
        "rbln-ctl explain DEVICE; make the selectors exclude each other, or leave it so",
    )

    # Pools and their workers
    POOL_NOT_REGISTERED = (
        "pool-not-registered",
        Severity.ERROR,
        "rbln-ctl events --pool {subject}; journalctl -u kubelet -n 50",
    )
    WORKER_RESTARTING = (
        "worker-restarting",
        Severity.ERROR,
        "rbln-ctl events --pool {subject}; rbln-ctl support-bundle",
    )
    WORKER_RESTARTED = "worker-restarted", Severity.WARNING, "rbln-ctl events --pool {subject}"
    API_SERVER_UNREACHABLE = (
        "api-server-unreachable",
        Severity.WARNING,
        "kubectl get --raw /readyz; ip route; running pods keep their devices meanwhile",
    )
    SLICES_NOT_PUBLISHED = (
        "slices-not-published",
        Severity.ERROR,
        "kubectl auth can-i create resourceslices --as system:serviceaccount:NAMESPACE:NAME",
    )
    SLICE_FIELDS_DROPPED = (
        "slice-fields-dropped",
        Severity.NOTE,
        "kubectl get --raw /metrics | grep feature_enabled.*DRA; Kubernetes 1.36 has taints",
    )
    API_ACCESS_MISSING = (
        "api-access-missing",
        Severity.ERROR,
        "deploy overlays/dra (a token for this container), or start with --kubeconfig FILE",
    )
    CLAIMS_UNSERVED = "claims-unserved", Severity.ERROR
    FOREIGN_EXPORTER = (
        "foreign-exporter",
        Severity.WARNING,
        "kubectl get pods -A -o wide; remove the other plugin or driver from this node",
    )
    CDI_UNSUPPORTED = "cdi-unsupported", Severity.WARNING, "choose another resourcePrefix"
    CDI_SPEC_NOT_WRITTEN = "cdi-spec-not-written", Severity.ERROR, "df -h /var/run/cdi"
    CDI_NOT_WRITABLE = "cdi-not-writable", Severity.ERROR, _FOLDER
    DEVICE_INFO_NOT_WRITABLE = "device-info-not-writable", Severity.ERROR, _FOLDER
    CLAIMS_REBUILT = (
        "claims-rebuilt",
        Severity.WARNING,
        "kubectl get resourceclaims -A; rbln-ctl support-bundle",
    )
    FILE_LIST_NOT_SAVED = "file-list-not-saved", Severity.WARNING, "df -h /run"
    PREFERENCE_FAILED = "preference-failed", Severity.WARNING, "rbln-ctl support-bundle"

    # Devices
    DISCOVERY_FAILED = (
        "discovery-failed",
        Severity.ERROR,
        f"ls /sys/bus/pci/devices (in a container: /sys has to be mounted); {_HANGS}",
    )
    FACTS_UNREADABLE = "facts-unreadable", Severity.WARNING, "dmesg | tail -50"
    ESWITCH_MODE_UNKNOWN = (
        "eswitch-mode-unknown",
        Severity.NOTE,
        "rbln-ctl explain {subject}; if its pfNames are wrong: add the capability NET_ADMIN",
    )
    DEVICE_UNREADABLE = "device-unreadable", Severity.ERROR, _DEVICE
    DEVICE_UNHEALTHY = "device-unhealthy", Severity.ERROR, _DEVICE
    DEVICE_SUSPECT = "device-suspect", Severity.WARNING, _DEVICE
    DEVICE_WARNING = "device-warning", Severity.WARNING, _DEVICE
    DRIVER_MISSING = "driver-missing", Severity.ERROR, "lspci -k"
    DRIVER_NOT_SELECTED = "driver-not-selected", Severity.WARNING, _DEVICE
    DEVICE_NOT_SELECTED = "device-not-selected", Severity.WARNING, _DEVICE
    NODE_MISSING = (
        "node-missing",
        Severity.ERROR,
        "ls -l /dev/rbln* /dev/vfio; dmesg | tail -50; then reload the driver",
    )
    RSD_MISSING = (
        "rsd-missing",
        Severity.ERROR,
        "rbln-stat -L (or the vendor's tool that makes groups); dmesg | grep -i rsd",
    )
    RBLN_STAT_MISSING = (
        "rbln-stat-missing",
        Severity.WARNING,
        "install the vendor's driver package",
    )
    IOMMU_OFF = (
        "iommu-off",
        Severity.ERROR,
        "dmesg | grep -i -e dmar -e iommu; boot with intel_iommu=on (AMD: enable it in the "
        "firmware), then check /sys/kernel/iommu_groups",
    )
    IOMMU_GROUP_SHARED = (
        "iommu-group-shared",
        Severity.NOTE,
        "request all devices of a group in one pod, or separate them in the firmware (ACS)",
    )

    # Doctor's own reads
    CHECK_FAILED = "check-failed", Severity.ERROR
    CHECK_TIMED_OUT = "check-timed-out", Severity.ERROR, _HANGS


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
