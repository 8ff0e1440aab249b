"""What the kernel says by netlink and in files of sysfs, and what drives its devices."""

import contextlib
import json
import os

from rbln_supervisor.core.discovery.uevents import is_relevant, pci_function
from rbln_supervisor.core.workers.desired_state import affected_devices
from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.core.allocation.host_facts import Fact, HostFacts, Need
from rbln_worker.core.health import driver, npu, pcie
from rbln_worker.core.health.observation import Good
from rbln_worker.host.discovery import ddp
from rbln_worker.host.netlink import codec, link_events, rtnetlink, uevent
from rbln_worker.host.netlink.codec import NetlinkDecodeError
from rbln_worker.host.netlink.devlink import Devlink, family_number
from tests.fuzz import claims

DEVICE = Device(
    DeviceId("0000:20:00.0"),
    PciFunction(Bdf("0000:20:00.0"), "1eff", "1220", 0x12, "rebellions", 0),
)


def event(frame: bytes) -> None:
    """A uevent is one, and then says of which function, or is none."""
    said = uevent.parse_uevent(frame)
    if said is None:
        return
    assert len(frame) <= uevent.MAX_FRAME_BYTES
    assert said.devpath.startswith("/")
    named = pci_function(said.devpath) if is_relevant(said.subsystem, said.devpath) else None
    assert named is None or named in said.devpath.split("/")
    assert affected_devices({named}, {}) == {}


def links(datagram: bytes) -> None:
    """Changes of links, up to where it is Malformed; not more than there is room for."""
    found = []
    try:
        for change in link_events.decode_changes(datagram):
            found.append(change)  # noqa: PERF402 - those before an error count
    except NetlinkDecodeError as error:
        claims.one_line(str(error))
    assert len(found) <= len(datagram) // 32
    assert all(one.state is None or one.state.name.isprintable() for one in found)


def routes(payload: bytes) -> None:
    """Each message of rtnetlink is read whole, or Malformed."""
    for read in (
        rtnetlink.decode_link,
        rtnetlink.vf_states,
        rtnetlink.decode_route,
        rtnetlink.decode_nexthop,
    ):
        try:
            read(payload)
        except NetlinkDecodeError as error:
            claims.one_line(str(error))


class _Said:
    """A socket on which the kernel says one thing, and then nothing more."""

    def __init__(self, datagram: bytes) -> None:
        self._left = [datagram]
        self._sequence = 0

    def sendto(self, data: bytes, _: tuple[int, int], /) -> None:
        self._sequence = next(iter(codec.decode_messages(data))).sequence

    def recvmsg(self, _: int, /) -> tuple[bytes, object, int, tuple[int, int]]:
        if not self._left:
            raise TimeoutError
        said = bytearray(self._left.pop())
        # Whose question it answers is no secret of the kernel's: strangers guess right here.
        at = 0
        while at + 16 <= len(said):
            said[at + 8 : at + 12] = self._sequence.to_bytes(4, "little")
            at += max(16, int.from_bytes(said[at : at + 4], "little") + 3 & ~3)
        return bytes(said), (), 0, (0, 0)


def question(datagram: bytes) -> None:
    """An answer to a question is messages, or OSError with an errno or a time-out."""
    for flags in (codec.NLM_F_DUMP, codec.NLM_F_ACK):
        try:
            codec.query_kernel(_Said(datagram), 18, b"", flags=flags)
        except OSError as error:
            # A time-out has no number, and is nothing that was said.
            assert isinstance(error, TimeoutError) or error.errno  # noqa: PT017
    with contextlib.suppress(OSError):
        assert family_number(_Said(datagram), "devlink") >= 0  # type: ignore[arg-type]


def devlink(answer: bytes) -> None:
    """What devlink says is known or not."""

    def asked(_: int, device: str) -> tuple[bytes, ...]:
        return (answer, answer[4:])

    told = Devlink(asked)
    told.is_switchdev("0000:03:00.0")
    told.rdma_enabled()
    told.running_version("0000:03:00.0", "fw.app.name")


def package(said: bytes) -> None:
    """The name of a package is printable, or ValueError says in a line why there is none."""
    try:
        name = ddp._package_name(said)
    except ValueError as error:
        claims.one_line(str(error))
    else:
        assert name.isprintable()


def device_files(raw: bytes) -> None:
    """The texts of a device's files are evidence; a file ends at a NUL here."""
    pieces = [*raw.split(b"\0"), b"", b"", b"", b"", b"", b"", b""]
    texts = [piece.decode(errors="replace") for piece in pieces]
    own = (*pcie.base_reads(DEVICE), *npu.status_reads("rbln0"))
    read: dict[Need, Fact] = dict(zip(own, texts, strict=False))
    more = (
        *pcie.wakeful_reads(DEVICE, HostFacts(read)),
        *npu.version_reads("rbln0", HostFacts(read)),
    )
    for need, piece, text in zip(more, pieces[3:], texts[3:], strict=False):
        read[need] = piece if need == pcie.wakeful_reads(DEVICE, HostFacts())[0] else text
    facts = HostFacts(read)
    for seen in (npu.status_evidence("rbln0", facts), pcie.config_space(DEVICE, facts)):
        if not isinstance(seen, Good):
            claims.one_line(seen.reason)
    # A link may lead anywhere; the system's names that are no text have surrogates.
    bound: dict[Need, Fact] = {driver.link_reads(DEVICE)[0]: os.fsdecode(raw)}
    seen = driver.driver_evidence(DEVICE, HostFacts(bound))
    if not isinstance(seen, Good):
        claims.one_line(seen.reason)
    total = pcie.fatal_error_count(DEVICE, facts)
    known = pcie.update_fatal_errors(None, total, 0.0)
    assert pcie.fatal_errors_expire_at(pcie.update_fatal_errors(known, total, 1.0), 1.0) is None
    if warning := pcie.link_warning(DEVICE, facts):
        claims.one_line(warning)
        json.dumps(warning)
