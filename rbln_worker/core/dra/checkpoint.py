"""The checkpoint of a DRA driver: the claims that were prepared on this node.

A JSON object. Fields that this version does not know are kept, so that a newer version finds them
again after a downgrade. Entries of an earlier boot are history: their specs, nodes and groups went
with that boot, and the kubelet prepares its claims again.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from rbln_worker.contract.claims import PreparedClaim
from rbln_worker.contract.errors import RblnError
from rbln_worker.core.dra.claim_entry import ClaimEntry

SCHEMA: Final = 1
"""Raised only for a format that earlier versions would misunderstand."""


class CheckpointError(RblnError):
    """The checkpoint can't be read; the text has the reason."""

    is_foreign = False
    """True if another driver of the same name wrote it, such as the vendor's."""


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
