"""Checks of the supervisor's environment: run directory, process, kubelet, kernel limits."""

from collections.abc import Iterator
from typing import Final

from rbln_supervisor.core.doctor.facts import DoctorFacts, Folder, Host, Kubelet, RunDir
from rbln_supervisor.core.doctor.finding import Code, Finding, limit_evidence

START: Final = (
    "systemctl start rbln-supervisor (in a pod supervisord tries again by itself: its log says why "
    "that fails)"
)
RESTART: Final = "systemctl restart rbln-supervisor (in a cluster: delete its pod)"
"""It drains the workers; no pod loses a device."""
LOG: Final = "journalctl -u rbln-supervisor -n 100 (in a cluster: kubectl logs of its pod)"
SECTIONS: Final = tuple(name for name in Host.__struct_fields__ if name != "listing")
_NEARLY: Final = 0.8
"""Share of a limit from which on a finding is reported."""


def incomplete_sections(facts: DoctorFacts) -> Iterator[Finding]:
    """Yield findings for sections that could not be read."""
    if facts.failed:
        yield Finding(
            "not-examined", "error", "", "this node could not be examined", LOG, (facts.failed,)
        )
        return
    for section, why in facts.errors.items():
        yield Finding("not-examined", "error", section, "it could not be looked at", LOG, (why,))
    for section in SECTIONS:
        if getattr(facts.host, section) is None and section not in facts.errors:
            yield Finding(
                "no-answer",
                "error",
                section.replace("_", " "),
                "it could not be looked at: something there hangs",
                "dmesg | tail -50; ps -eo pid,stat,wchan:30,args | grep ' D'",
                (f"no answer within {facts.within_s:g} s",),
            )


def check_supervisor(facts: DoctorFacts) -> Iterator[Finding]:
    """Check the run directory, and the supervisor's answer."""
    run_dir = facts.host.run_dir
    if run_dir is not None:
        yield from _run_dir(run_dir)
    if facts.status is None:
        yield from _report_no_answer(facts.unreachable, run_dir)
    elif facts.status.supervisor.version != facts.version:
        yield Finding(
            "version-differs",
            "warning",
            "rbln-supervisor",
            "it was not started again after an upgrade",
            f"{RESTART}; no pod loses a device",
            (f"rbln-ctl is of version {facts.version}, it of {facts.status.supervisor.version}",),
        )


def _run_dir(run_dir: RunDir) -> Iterator[Finding]:
    folder = run_dir.folder
    if not folder.there:
        yield Finding(
            "run-dir-missing",
            "error",
            folder.path,
            "there is no such folder: no supervisor ever ran here, or it has another --run-dir",
            f"{START}; or rbln-ctl --run-dir DIR doctor",
            (folder.why,),
        )
    elif not folder.writable:
        yield Finding(
            "run-dir-closed",
            "error",
            folder.path,
            "it can't be written to",
            f"ls -ld {folder.path}; findmnt -T {folder.path} (as root)",
            (folder.why,),
        )


def _report_no_answer(why: str, run_dir: RunDir | None) -> Iterator[Finding]:
    seen = [why] if why else []
    if run_dir is None or not run_dir.folder.there:
        return
    for socket in (run_dir.control, run_dir.workers):
        if not socket.there:
            seen.append(f"{socket.path} is not there")
        elif not socket.answers:
            seen.append(f"{socket.path}: {socket.why or 'nobody listens'}")
    if run_dir.locked:
        yield Finding(
            "supervisor-hangs",
            "error",
            f"pid {run_dir.pid}" if run_dir.pid else "rbln-supervisor",
            "a supervisor lives (it holds its lock) and does not answer",
            f"cat /proc/{run_dir.pid}/stack /proc/{run_dir.pid}/wchan; then kill -9 {run_dir.pid}: "
            "it is started again, and goes on with its workers",
            limit_evidence(seen),
        )
        return
    last = f" (the last one's pid was {run_dir.pid})" if run_dir.pid else ""
    seen.append(f"nobody holds supervisor.lock{last}")
    if run_dir.serving:
        pools = ", ".join(run_dir.serving)
        seen.append(f"workers serve on without it: {pools}")
    yield Finding(
        "supervisor-down",
        "error",
        "rbln-supervisor",
        "it does not run",
        START,
        limit_evidence(seen),
    )


def check_kubelet(facts: DoctorFacts) -> Iterator[Finding]:
    """Check the kubelet's folders and sockets."""
    found = facts.host.kubelet
    if found is None:
        return
    if not found.plugins.there:
        yield Finding(
            "kubelet-dir-missing",
            "error",
            found.plugins.path,
            "the kubelet's folder for device plugins is not there",
            f"{_flag_hint(found, '--device-plugins-dir')}ps -C kubelet -o args=",
            (found.plugins.why,),
        )
    else:
        yield from _check_folder(
            found.plugins, "kubelet-plugins-closed", "plugins can't put sockets there"
        )
        yield from _kubelet_socket(found)
    if found.registration == "plugin-watcher" and not found.registry.there:
        yield Finding(
            "plugins-registry-missing",
            "error",
            found.registry.path,
            "--registration plugin-watcher needs this folder",
            f"{_flag_hint(found, '--plugins-registry-dir')}or use --registration kubelet-sock",
            (found.registry.why,),
        )
    if found.registry.there and (
        found.registration == "plugin-watcher"
        or (found.registration == "auto" and not found.plugins.there)
    ):
        yield from _check_folder(
            found.registry, "plugins-registry-closed", "plugins can't put sockets there"
        )
    if found.pod_resources.there and not found.pod_resources.answers:
        yield Finding(
            "pod-resources-silent",
            "warning",
            found.pod_resources.path,
            "nobody answers there: a reload that takes devices from pools is refused meanwhile",
            "systemctl status kubelet; or take them all the same: rbln-ctl reload --force",
            (found.pod_resources.why,),
        )
    if not found.pod_resources.there:
        yield Finding(
            "pod-resources-missing",
            "note",
            found.pod_resources.path,
            "nobody can tell which pod has which device: a reload is not held against that",
            f"{_flag_hint(found, '--pod-resources-dir')}ls -l {found.pod_resources.path}",
            (found.pod_resources.why,),
        )


def _flag_hint(found: Kubelet, flag: str) -> str:
    """Return the flag with the folder that the kubelet uses, or a question about it."""
    if flag in found.flags:
        return f"the kubelet has it elsewhere: {flag} {found.flags[flag]}; "
    return f"is {flag} right, and in a container: is it mounted? "


def _kubelet_socket(found: Kubelet) -> Iterator[Finding]:
    socket = found.socket
    if not socket.there:
        yield Finding(
            "kubelet-sock-missing",
            "error",
            socket.path,
            "no kubelet serves device plugins there; pools register as soon as one does",
            f"{_flag_hint(found, '--device-plugins-dir')}systemctl status kubelet",
            (socket.why,),
        )
    elif not socket.answers:
        yield Finding(
            "kubelet-silent",
            "error",
            socket.path,
            "its socket is there and nobody answers: the kubelet is down, or starts right now",
            "systemctl status kubelet; journalctl -u kubelet -n 50",
            (socket.why,),
        )


def _check_folder(folder: Folder, code: Code, cause: str) -> Iterator[Finding]:
    if not folder.there or not folder.writable:
        yield Finding(
            code,
            "error",
            folder.path,
            cause,
            f"ls -ld {folder.path}; findmnt -T {folder.path}",
            (folder.why,),
        )


def check_limits(facts: DoctorFacts) -> Iterator[Finding]:
    """Check descriptors and inotify."""
    found = facts.host.limits
    if found is None:
        return
    for one in found.processes:
        if one.descriptors_most and one.descriptors >= _NEARLY * one.descriptors_most:
            yield Finding(
                "descriptors-short",
                "error" if one.descriptors >= one.descriptors_most - 2 else "warning",
                f"pid {one.pid}",
                f"{one.name} has few descriptors left",
                f"ls -l /proc/{one.pid}/fd | tail; then raise LimitNOFILE (ulimit -n)",
                (f"{one.descriptors} of {one.descriptors_most} are open",),
            )
    most = found.inotify_instances_most
    if found.inotify_error:
        yield Finding(
            "inotify-exhausted",
            "error",
            "fs.inotify.max_user_instances",
            "no further inotify instance can be had: changes are seen later, by looks",
            "sysctl fs.inotify.max_user_instances=1024",
            (found.inotify_error, f"{found.inotify_instances} of {most} are in use"),
        )
    elif most and found.inotify_instances >= _NEARLY * most:
        yield Finding(
            "inotify-short",
            "warning",
            "fs.inotify.max_user_instances",
            "this user has few inotify instances left: changes may be seen later, by looks",
            "sysctl fs.inotify.max_user_instances=1024",
            (f"{found.inotify_instances} of {most} are in use",),
        )
    if 0 < found.inotify_watches_most < 1024:
        yield Finding(
            "inotify-watches-short",
            "warning",
            "fs.inotify.max_user_watches",
            "a user may have few inotify watches only",
            "sysctl fs.inotify.max_user_watches=65536",
            (f"{found.inotify_watches_most}",),
        )


def check_host_files(facts: DoctorFacts) -> Iterator[Finding]:
    """Check the folders and files that others read from us."""
    found = facts.host.written
    if found is None:
        return
    folders: tuple[tuple[Folder | None, Code, str], ...] = (
        (found.cdi, "cdi-closed", "CDI specs can't be written there: devices are Unhealthy"),
        (
            found.device_info,
            "device-info-closed",
            "device-info files can't be written there: network devices are Unhealthy",
        ),
    )
    for folder, code, cause in folders:
        if folder is not None and not folder.writable:
            yield Finding(
                code,
                "error",
                folder.path,
                cause,
                f"ls -ld {folder.path}; findmnt -T {folder.path}; df {folder.path}",
                (folder.why,),
            )
    for path, why in found.wrong.items():
        yield Finding(
            "spec-invalid",
            "error",
            path,
            "a file of ours that container runtimes or CNI plugins read is not what it should be",
            f"rm {path}; then {RESTART}: it is written anew",
            (why,),
        )
