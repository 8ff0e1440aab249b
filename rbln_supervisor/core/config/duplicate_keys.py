"""Keys that are repeated in one object, merged as in the reference."""

from collections.abc import Iterable

from rbln_supervisor.core.config.positions import quote_value


def merge_pairs(pairs: Iterable[tuple[str, object]]) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return an object, and the keys that were repeated.

    The last value counts, with two exceptions: null keeps the text, number or boolean before it,
    and two additionalInfo objects are merged, in which the later one's keys count.
    """
    merged: dict[str, object] = {}
    repeated = []
    for key, value in pairs:
        if key in merged:
            repeated.append(key)
            merged[key] = _choose_value(key, merged[key], value)
        else:
            merged[key] = value
    return merged, tuple(repeated)


def repeated_key(key: str) -> str:
    """Return the text of a warning."""
    return f"key {quote_value(key)} is repeated in this object (the last counts)"


def _choose_value(key: str, before: object, after: object) -> object:
    match before, after:
        case (str() | bool() | int() | float(), None):
            return before
        case (dict(), dict()) if key.lower() == "additionalinfo":
            return {**before, **after}
        case _:
            return after
