"""``rbln-ctl explain``: the pool of a device, the decision of each pool, and its health."""

import argparse
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rbln_supervisor.core.control.protocol import Explain, ExplainReply
from rbln_supervisor.core.device_types.base import RefusalReason
from rbln_supervisor.core.matching.explain import (
    Decision,
    Explanation,
    ExportedDevice,
    PoolDecision,
)
from rbln_supervisor.core.matching.selector_match import Mismatch
from rbln_supervisor.core.status import DeviceStatus
from rbln_supervisor.ctl import client, completers, status_command
from rbln_supervisor.ctl.command import Command, CommandError, Exit
from rbln_supervisor.ctl.doctor import find_owners
from rbln_supervisor.ctl.output import write_json
from rbln_supervisor.ctl.rendering import build_table, fixed_column, indent_page, print_page
from rbln_supervisor.ctl.text import duration_text, plain, time_ago
from rbln_worker.contract.health import HealthPhase

_MAX_NAMED: Final = 8
"""Maximum number of devices of one name that are looked up."""

_STYLES: Final[dict[Decision, str]] = {
    Decision.MATCHED: "green",
    Decision.SHADOWED: "yellow",
    Decision.REJECTED: "red",
    Decision.OTHER_TYPE: "dim",
    Decision.INVALID: "bold red",
}


_READ_FAILED: Final = "rbln-ctl events --device {device}; dmesg | grep {device}; rbln-ctl rescan"
_REMEDIES: Final[Mapping[RefusalReason, str]] = {
    RefusalReason.NO_DRIVER: "lspci -ks {device}; modprobe its driver, "
    "echo {device} > /sys/bus/pci/drivers/DRIVER/bind; rbln-ctl rescan",
    RefusalReason.NO_FUNCTION_DRIVER: "lspci -k; modprobe the driver of its PCI function; "
    "rbln-ctl rescan",
    RefusalReason.VFS_ENABLED: "rbln-ctl explain one of its virtual functions",
    RefusalReason.DEFAULT_ROUTE: "ip route show default; assign another device",
    RefusalReason.UNREADABLE: _READ_FAILED,
    RefusalReason.GONE: _READ_FAILED,
}
"""Remedies where no selector can help."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    device = parser.add_argument(
        "device",
        metavar="DEVICE",
        help="its PCI address (0000:3b:00.0, 3b:00.0), auxiliary name, interface, RDMA device, "
        "node (/dev/rbln0), or IOMMU group",
    )
    completers.complete_with(device, completers.device_names)


def _run_command(options: argparse.Namespace) -> Exit:
    name: str = options.device
    name = name if name.isprintable() else ascii(name)[1:-1]  # JSON carries no other bytes
    try:
        explanation = _request_explanation(options.run_dir, name)
    except client.RefusedError as error:
        explanation = _explain_owner(options.run_dir, name, error)
    if options.json:
        write_json(explanation)
    else:
        now = datetime.now(UTC).timestamp()
        print_page(lambda columns: explain_page(explanation, columns, now))
    return Exit.DONE


def _request_explanation(run_dir: Path, name: str) -> Explanation:
    return client.request_reply(run_dir, Explain(name), ExplainReply).explanation


def _explain_owner(run_dir: Path, name: str, refused: client.RefusedError) -> Explanation:
    """Return the explanation of the first device that owns a name unknown to the supervisor.

    Such names are nodes below /dev, IOMMU groups, and names that the driver gives. Raises the
    refusal if no device owns it.
    """
    owners = find_owners(run_dir, name)
    if not owners.what:
        raise refused
    named, more = owners.devices[:_MAX_NAMED], len(owners.devices) - _MAX_NAMED
    devices = ", ".join((*named, *((f"{more} more",) if more > 0 else ())))
    note = f"{name} is {owners.what}" + (f": {devices}" if devices else "")
    reason = "it belongs to no device"
    for device in named:
        try:
            explanation = _request_explanation(run_dir, device)
        except client.RefusedError as error:
            reason = "; ".join(error.lines)
        else:
            return msgspec.structs.replace(explanation, notes=(note, *explanation.notes))
    raise CommandError(f"{note}; {reason}")


def explain_page(explanation: Explanation, columns: int, now: float) -> RenderableType:
    """Return the explanation for a page of this width; ``now``: seconds since the epoch."""
    parts: list[RenderableType] = [_head_line(explanation)]
    if explanation.health is not None:
        parts += _health_lines(explanation.health, now)
    if explanation.dra is not None:
        parts.append(_slice_line(explanation.dra))
    parts += [Text(f"  {plain(note)}", "yellow") for note in explanation.notes]
    if explanation.pools:
        parts += [Text(), _pool_table(explanation, columns)]
    if explanation.values:
        parts += [Text(), Text("Values that selectors match"), _value_table(explanation, columns)]
    parts += [Text(), Text.assemble(("next: ", "bold"), plain(next_step(explanation)))]
    return Group(*parts)


def next_step(explanation: Explanation) -> str:
    """Return what to do so that a pod can get the device."""
    device, health = explanation.device, explanation.health
    if explanation.pool is not None:
        if health is None or health.health == "Healthy":
            if explanation.dra is not None:
                return "nothing to fix: pods get it by claims; kubectl get resourceslices -o yaml"
            return f"nothing to fix: pods request it as {explanation.pool}; kubectl describe node"
        if health.source == "link":
            return (
                "check the cable, the switch and the subnet manager (ip link, ibstat); "
                f"rbln-ctl events --device {device}"
            )
        return f"rbln-ctl events --device {device}; rbln-ctl doctor"
    if explanation.refusal is not None:
        return _REMEDIES[explanation.refusal].format(device=device)
    change = "" if _is_type_unknown(explanation) else "change a selector above, or "
    return (
        f"{change}add a pool with deviceType {explanation.device_type} to the configuration; "
        "rbln-ctl validate FILE --against-host"
    )


def _head_line(explanation: Explanation) -> Text:
    head = Text(plain(explanation.device), "bold")
    if explanation.device_type:
        head.append(f"  {plain(explanation.device_type)}", "not bold")
    return Text.assemble(head, "  ", _result_text(explanation))


def _result_text(explanation: Explanation) -> tuple[str, str]:
    """Return the result in a sentence, and its style."""
    if explanation.pool is not None:
        return f"in pool {plain(explanation.pool)}, by selectors[{explanation.selector}]", "green"
    if explanation.refusal is not None:
        return f"not assignable: {plain(explanation.detail)}", "red"
    if _is_type_unknown(explanation):
        return f"in no pool: no valid pool has deviceType {_type_text(explanation)}", "yellow"
    return "in no pool: it matches no pool's selectors", "yellow"


def _is_type_unknown(explanation: Explanation) -> bool:
    """Return True if no valid pool has the device's type."""
    others = {Decision.OTHER_TYPE, Decision.INVALID}
    return all(pool.decision in others for pool in explanation.pools)


def _type_text(explanation: Explanation) -> str:
    return plain(str(explanation.device_type))


def _health_lines(device: DeviceStatus, now: float) -> Iterator[Text]:
    """Yield the health of the device in one line, its pods, and its warnings."""
    line = Text("  ").append_text(status_command.health_text(device))
    if device.phase is not HealthPhase.HEALTHY:
        parts = (status_command.evidence_text(device), time_ago(device.since, now))
        line.append("".join(f"  {part}" for part in parts if part))
    yield line
    for one in device.pods:
        age = f", for {duration_text(now - one.since)}" if one.since else ""
        container = f", container {plain(one.container)}" if one.container else ""
        holder = f"pod {status_command.pod_name(one)}{container}{age}"
        yield Text(f"  used by {holder} ({one.source})")
    for warning in device.warnings:
        yield Text(f"  warning: {plain(warning)}", "yellow")


def _slice_line(dra: ExportedDevice) -> Text:
    """Return the device as the scheduler knows it."""
    line = Text(f"  exported by DRA: device {plain(dra.name)} of driver {plain(dra.driver)}")
    return line.append(f", taint {plain(dra.taint)}", "yellow") if dra.taint else line


def _pool_table(explanation: Explanation, columns: int) -> Table:
    rows = []
    for pool in explanation.pools:
        name, decision = Text(plain(pool.pool), "bold"), Text(pool.decision, _STYLES[pool.decision])
        for selector, reason in _selector_results(pool, explanation):
            rows.append((name, decision, selector, reason))
            name, decision = Text(), Text()
    heads = ("RESOURCE", fixed_column("DECISION"), fixed_column("SELECTORS"), "REASON")
    return build_table(columns, heads, rows)


def _selector_results(pool: PoolDecision, explanation: Explanation) -> Iterator[tuple[str, str]]:
    """Yield the result of each selector object that was matched; the decisive one first."""
    match pool.decision:
        case Decision.MATCHED:
            yield f"selectors[{pool.selector}]", "matches"
        case Decision.SHADOWED:
            earlier = plain(explanation.pool or "")
            yield f"selectors[{pool.selector}]", f"matches, but {earlier} precedes it in the file"
        case Decision.OTHER_TYPE:
            yield "", f"its deviceType is not {_type_text(explanation)}"
        case Decision.INVALID:
            yield "", "its configuration is invalid, see rbln-ctl status"
        case Decision.REJECTED | Decision.REFUSED:
            pass  # it has mismatches only
    for index, mismatch in enumerate(pool.mismatches):
        yield f"selectors[{index}]", _mismatch_text(mismatch, explanation)


def _mismatch_text(mismatch: Mismatch, explanation: Explanation) -> str:
    expected = " or ".join(map(plain, mismatch.wanted))
    if mismatch.has:
        has = f"it has {plain(mismatch.has)}"
    elif mismatch.key not in {"pfNames", "rootDevices"}:
        has = "it has none"
    elif explanation.values.get("rootDevices"):
        has = "its PF has no interface"
    else:
        has = "it is below no PF"  # and a PF's own name is not compared
    return f"{plain(mismatch.key)}: {has}, expected {expected}"


def _value_table(explanation: Explanation, columns: int) -> RenderableType:
    rows = ((key, value or Text("-", "dim")) for key, value in explanation.values.items())
    table = build_table(columns, (fixed_column("KEY"), "VALUE"), rows)
    table.show_header = False
    return indent_page(table)


COMMAND: Final = Command(
    "show the pool of a device and why, or why it is in none",
    "  rbln-ctl explain 3b:00.0\n  rbln-ctl explain enp59s0f0v3",
    _run_command,
    _add_arguments,
)
