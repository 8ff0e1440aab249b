"""The checkpoint of a DRA driver: the claims that were prepared on this node.

A JSON object. Fields that this version does not know are kept, so that a newer version finds them
again after a downgrade. Entries of an earlier boot are history: their specs, nodes and groups went
with that boot, and the kubelet prepares its claims again.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

import msgspec

from rbln_worker.contract.claims import PreparedClaim
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.errors import RblnError
from rbln_worker.core.dra.claims import ClaimPlan, ClaimReference

SCHEMA: Final = 1
"""Raised only for a format that earlier versions would misunderstand."""

ClaimPhase = Literal["started", "done"]
"""``started``: some of the side effects may exist; ``done``: all of them do."""


class CheckpointError(RblnError):
    """The checkpoint can't be read; the text has the reason."""

    is_foreign = False
    """True if another driver of the same name wrote it, such as the vendor's."""


class CheckpointDevice(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device of a claim in the checkpoint."""

    id: DeviceId
    """A PCI address, or the name of an auxiliary device."""
    requests: tuple[str, ...]
    uuid: str = ""
    """Its serial number, if its driver has one: another device may have its address by now."""
    admin: bool = False


class ClaimEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A claim in the checkpoint."""

    uid: str
    namespace: str
    name: str
    boot: str
    """The boot id (/proc/sys/kernel/random/boot_id) of the node when it was prepared."""
    state: ClaimPhase
    devices: tuple[CheckpointDevice, ...]
    pods: tuple[str, ...] = ()
    pod_claim: str = ""
    extended: bool = False
    since: float = 0.0
    """The time of its first preparation (seconds since the epoch)."""
    group: int | None = None
    """The RSD group of its NPUs; None: the default group."""
    groups_npus: bool = True

    @property
    def claim(self) -> ClaimReference:
        """The claim as the kubelet names it."""
        return ClaimReference(self.uid, self.namespace, self.name)

    @property
    def is_admin(self) -> bool:
        """True if all of its devices are for adminAccess."""
        return all(one.admin for one in self.devices)


_KNOWN: Final = frozenset(field.encode_name for field in msgspec.structs.fields(ClaimEntry))
"""The fields of an entry that this version writes."""


class ClaimCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint's content."""

    claims: Mapping[str, ClaimEntry] = {}
    """Entries by UID."""
    raw: Mapping[str, Any] = {}
    """The object that was read, with fields of other versions."""

    def with_entry(self, entry: ClaimEntry) -> "ClaimCheckpoint":
        """Return the checkpoint with a new or changed claim."""
        return ClaimCheckpoint({**self.claims, entry.uid: entry}, self.raw)

    def without_entry(self, uid: str) -> "ClaimCheckpoint":
        """Return the checkpoint without a claim."""
        return ClaimCheckpoint(
            {one: self.claims[one] for one in self.claims if one != uid}, self.raw
        )

    def of_boot(self, boot: str) -> tuple[ClaimEntry, ...]:
        """Return the entries of this boot."""
        return tuple(one for one in self.claims.values() if one.boot == boot)


def make_entry(
    plan: ClaimPlan, boot: str, uuids: Mapping[DeviceId, str], since: float
) -> ClaimEntry:
    """Return the entry of a claim whose side effects begin."""
    return ClaimEntry(
        plan.claim.uid,
        plan.claim.namespace,
        plan.claim.name,
        boot,
        "started",
        tuple(
            CheckpointDevice(one.id, one.requests, uuids.get(one.id, ""), one.admin)
            for one in plan.devices
        ),
        plan.pods,
        plan.pod_claim,
        plan.is_extended,
        since,
        None,
        plan.groups_npus,
    )


def parse_checkpoint(text: bytes) -> ClaimCheckpoint:
    """Read a checkpoint; raise CheckpointError."""
    try:
        raw = msgspec.json.decode(text, type=dict[str, Any])
        if raw.keys() >= {"checksum"} and "schema" not in raw:
            foreign = CheckpointError("another driver of this name wrote it")
            foreign.is_foreign = True
            raise foreign
        schema = msgspec.convert(raw.get("schema"), int)
        claims = msgspec.convert(raw.get("claims"), dict[str, ClaimEntry])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"not a checkpoint: {error}") from error
    if schema != SCHEMA:
        raise CheckpointError(f"its schema is {schema}, this version knows {SCHEMA}")
    for uid, entry in claims.items():
        if uid != entry.uid or not entry.claim.is_valid:
            raise CheckpointError(f"claim {uid[:64]!r} is not valid")
    return ClaimCheckpoint(claims, raw)


def encode_checkpoint(checkpoint: ClaimCheckpoint) -> bytes:
    """Return the text of a checkpoint."""
    before = checkpoint.raw.get("claims", {})
    claims = {
        uid: _merge_entry(before.get(uid, {}), entry) for uid, entry in checkpoint.claims.items()
    }
    return msgspec.json.encode({**checkpoint.raw, "schema": SCHEMA, "claims": claims})


def encode_entry(entry: ClaimEntry) -> bytes:
    """Return the text of one entry."""
    return msgspec.json.encode(entry)


def parse_entry(text: bytes) -> ClaimEntry | None:
    """Read one entry; None if it is none."""
    try:
        entry = msgspec.json.decode(text, type=ClaimEntry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return entry if entry.claim.is_valid else None


def claim_holders(entries: Collection[ClaimEntry], *, besides: str) -> Mapping[DeviceId, str]:
    """Return the claims that have devices to themselves, as texts by device.

    ``besides``: the UID of a claim that does not count.
    """
    return {
        device.id: f"claim {entry.namespace}/{entry.name}"
        for entry in entries
        if entry.uid != besides
        for device in entry.devices
        if not device.admin
    }


def claims_using(
    entries: Collection[ClaimEntry], devices: Collection[DeviceId]
) -> tuple[ClaimEntry, ...]:
    """Return the entries with one of these devices."""
    return tuple(
        entry for entry in entries if any(device.id in devices for device in entry.devices)
    )


def prepared_claims(entries: Collection[ClaimEntry]) -> tuple[PreparedClaim, ...]:
    """Return the prepared claims of these entries, sorted by namespace and name."""
    return tuple(
        PreparedClaim(
            entry.uid,
            entry.namespace,
            entry.name,
            tuple(sorted(device.id for device in entry.devices)),
            entry.pods,
            entry.since,
            entry.is_admin,
        )
        for entry in sorted(entries, key=lambda one: (one.namespace, one.name, one.uid))
        if entry.state == "done"
    )


def _merge_entry(before: Mapping[str, Any], entry: ClaimEntry) -> dict[str, Any]:
    """Return the object of an entry, with fields that another version wrote."""
    fresh = msgspec.to_builtins(entry)
    if before and msgspec.convert(before, ClaimEntry).devices == entry.devices:
        fresh["devices"] = before["devices"]
    return {**{key: value for key, value in before.items() if key not in _KNOWN}, **fresh}
