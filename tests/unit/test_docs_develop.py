"""The modules that docs/develop.md has its reader write do what the page says."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Final

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.host_facts import HostFacts, Text
from rbln_worker.core.allocation.providers.provider import ProviderInput
from tests.unit.pages import blocks, text

PROVIDER, DEVICE_TYPE = (body for language, body in blocks(text("develop.md")) if language)
DEVICE: Final = Device(
    DeviceId("0000:3b:00.0"), PciFunction(Bdf("0000:3b:00.0"), "1af4", "1000", 0x12, "acme", 0)
)


def module(name: str, source: str, folder: Path) -> ModuleType:
    """Import a code block of the page, without its indentation in the list."""
    path = folder / f"{name}.py"
    path.write_text("\n".join(line.removeprefix("   ") for line in source.splitlines()))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_provider_gives_the_node_of_the_slot(tmp_path: Path) -> None:
    provider = module("acme", PROVIDER, tmp_path).PROVIDER
    pool = PoolSpec("acme.com", "slots", "accelerator")
    assert provider.applies_to(DEVICE, pool)
    (need,) = provider.required_reads(DEVICE)
    assert need == Text("/sys/bus/pci/devices/0000:3b:00.0/slot")
    offer = provider.container_edits(ProviderInput(DEVICE, pool, HostFacts({need: "7\n"})))
    assert [node.host for node in offer.nodes] == ["/dev/acme/7"]
    assert not offer.faults
    assert provider.container_edits(ProviderInput(DEVICE, pool, HostFacts({need: "../x"}))).faults


def test_the_device_type_takes_functions_with_a_driver(tmp_path: Path) -> None:
    kind = module("nvme", DEVICE_TYPE, tmp_path).NVME
    (candidate,) = kind.candidates(DEVICE.function, ())
    assert candidate.device.id == DEVICE.id
    assert candidate.refusal is None
