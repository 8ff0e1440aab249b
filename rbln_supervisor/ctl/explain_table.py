"""The explanation of a device for people: the result in one line, then each pool's decision."""

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rbln_supervisor.core.matching.explain import Answer, Explanation, PoolDecision
from rbln_supervisor.core.matching.selector_match import Mismatch
from rbln_supervisor.core.status import DeviceStatus
from rbln_supervisor.ctl import status_table
from rbln_supervisor.ctl.rendering import table_for
from rbln_supervisor.ctl.wording import duration_text, plain, time_ago
from rbln_worker.contract.health import HealthPhase

_STYLES: Final[dict[Answer, str]] = {
    "takes": "green",
    "later": "yellow",
    "turns away": "red",
    "other type": "dim",
    "invalid": "bold red",
}


def explain_page(explanation: Explanation, columns: int, now: float) -> RenderableType:
    """Return the explanation for a page of this width; ``now``: seconds since the epoch."""
    parts: list[RenderableType] = [_head_rows(explanation)]
    if explanation.health is not None:
        parts += _health_lines(explanation.health, now)
    parts += [Text(f"  {plain(note)}", "yellow") for note in explanation.notes]
    if explanation.pools:
        parts += [Text(), _pool_table(explanation, columns)]
    if explanation.values:
        parts += [Text(), Text("What selectors see of it"), _value_table(explanation, columns)]
    parts += [Text(), Text.assemble(("next: ", "bold"), plain(next_step(explanation)))]
    return Group(*parts)


def next_step(explanation: Explanation) -> str:
    """Return what to do so that a pod can get the device."""
    device, health = explanation.device, explanation.health
    if explanation.pool is not None:
        if health is not None and health.health != "Healthy" and health.source == "link":
            return (
                "ip link (ibstat for InfiniBand): the cable, the switch, the subnet manager; "
                f"rbln-ctl events --device {device}"
            )
        if health is not None and health.health != "Healthy":
            return f"rbln-ctl events --device {device}; rbln-ctl doctor"
        return f"nothing to mend; pods get it as {explanation.pool}: kubectl describe node"
    if explanation.reason:
        return _remedy(explanation)
    nearest = _nearest_selector(explanation)
    if nearest is None:
        return (
            f"give the configuration a pool with deviceType {explanation.device_type}; "
            "then rbln-ctl validate FILE --against-host"
        )
    opinion, index, objection = nearest
    has = f" takes {objection.has}" if objection.has else " does not ask for it"
    return (
        f"if {opinion.pool} shall have it: change its selectors[{index}] so that {objection.key}"
        f"{has}; then rbln-ctl validate FILE --against-host"
    )


def _remedy(explanation: Explanation) -> str:
    """Return a remedy where no selector can help, by the texts of the types (core/types)."""
    device, reason = explanation.device, explanation.reason
    if reason.startswith("no driver"):
        return (
            f"lspci -ks {device}; modprobe its driver, "
            f"echo {device} > /sys/bus/pci/drivers/DRIVER/bind; rbln-ctl rescan"
        )
    if reason.startswith("its virtual functions"):
        return "rbln-ctl explain one of its virtual functions"
    if reason.startswith("the node's default route"):
        return "ip route show default; give out another one"
    return f"rbln-ctl events --device {device}; dmesg | grep {device}; rbln-ctl rescan"


def _nearest_selector(explanation: Explanation) -> tuple[PoolDecision, int, Mismatch] | None:
    """Return the pool's selector object whose mismatch came last in the order of keys."""
    keys = list(explanation.values)
    found = [
        (keys.index(objection.key) if objection.key in keys else -1, opinion, index, objection)
        for opinion in explanation.pools
        if opinion.answer == "turns away"
        for index, objection in enumerate(opinion.objections)
    ]
    if not found:
        return None
    _, opinion, index, objection = max(found, key=lambda one: one[0])
    return opinion, index, objection


def _head_rows(explanation: Explanation) -> Text:
    head = Text(plain(explanation.device), "bold")
    if explanation.device_type:
        head.append(f"  {plain(explanation.device_type)}", "not bold")
    said, style = _decision_text(explanation)
    return Text.assemble(head, "  ", (said, style))


def _decision_text(explanation: Explanation) -> tuple[str, str]:
    if explanation.pool is not None:
        return f"{plain(explanation.pool)} has it, by selectors[{explanation.selector}]", "green"
    if explanation.reason:
        return f"no pool can have it: {plain(explanation.reason)}", "red"
    if all(opinion.answer in {"other type", "invalid"} for opinion in explanation.pools):
        return f"no pool has it: none that is valid is for {_type_text(explanation)}", "yellow"
    return "no pool has it: each one's selectors turn it away", "yellow"


def _type_text(explanation: Explanation) -> str:
    return plain(str(explanation.device_type))


def _health_lines(device: DeviceStatus, now: float) -> Iterator[Text]:
    """Yield the health of the device in one line, its pods, and its warnings."""
    line = Text("  ").append_text(status_table.health_text(device))
    if device.phase is not HealthPhase.HEALTHY:
        parts = (status_table.evidence_text(device), time_ago(device.since, now))
        line.append("".join(f"  {part}" for part in parts if part))
    yield line
    for one in device.pods:
        age = f", for {duration_text(now - one.since)}" if one.since else ""
        holder = f"pod {status_table.pod_name(one)}, container {plain(one.container)}{age}"
        yield Text(f"  held by {holder} ({one.source})")
    for warning in device.warnings:
        yield Text(f"  warning: {plain(warning)}", "yellow")


def _pool_table(explanation: Explanation, columns: int) -> Table:
    table = table_for(columns)
    table.add_column("RESOURCE", overflow="fold")
    table.add_column("ANSWER", no_wrap=True)
    table.add_column("SELECTORS", no_wrap=True)
    table.add_column("BECAUSE", overflow="fold")
    for opinion in explanation.pools:
        name, answer = Text(plain(opinion.pool), "bold"), Text(opinion.answer)
        answer.stylize(_STYLES[opinion.answer])
        for selector, because in _selector_results(opinion, explanation):
            table.add_row(name, answer, selector, because)
            name, answer = Text(), Text()
    return table


def _selector_results(opinion: PoolDecision, explanation: Explanation) -> Iterator[tuple[str, str]]:
    """Yield the result of each selector object that was matched; the decisive one first."""
    match opinion.answer:
        case "takes":
            yield f"selectors[{opinion.selector}]", "matches"
        case "later":
            stands = f"{plain(explanation.pool or '')} stands before it in the file"
            yield f"selectors[{opinion.selector}]", f"matches, too, but {stands}"
        case "other type":
            yield "", f"its devices are no {_type_text(explanation)}"
        case "invalid":
            yield "", "its configuration can't be used, see rbln-ctl status"
        case "turns away":
            pass  # its mismatches are all there is
    for index, objection in enumerate(opinion.objections):
        yield f"selectors[{index}]", _mismatch_text(objection, explanation)


def _mismatch_text(objection: Mismatch, explanation: Explanation) -> str:
    wanted = " or ".join(map(plain, objection.wanted))
    if objection.has:
        has = f"it has {plain(objection.has)}"
    elif objection.key not in {"pfNames", "rootDevices"}:
        has = "it has none"
    elif explanation.values.get("rootDevices"):
        has = "its PF has no interface"
    else:
        has = "it lies below no PF"  # and a PF's own name is not compared
    return f"{plain(objection.key)}: {has}, wanted is {wanted}"


def _value_table(explanation: Explanation, columns: int) -> RenderableType:
    table = table_for(columns)
    table.show_header = False
    table.add_column("KEY", no_wrap=True)
    table.add_column("VALUE", overflow="fold")
    for key, value in explanation.values.items():
        table.add_row(plain(key), Text(plain(value)) if value else Text("-", "dim"))
    return Padding(table, (0, 0, 0, 2), expand=False)
