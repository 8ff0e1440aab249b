"""Keys that are repeated in one object, merged as in the reference."""

from collections.abc import Iterable


class Members(dict[str, object]):
    """The members of an object."""

    def __init__(self) -> None:
        super().__init__()
        self.repeated: list[str] = []
        """Keys that were repeated in it."""


def merge_pairs(pairs: Iterable[tuple[str, object]]) -> Members:
    """Return an object of its members as written.

    The last value counts, with two exceptions: null keeps the text, number or boolean before it,
    and two additionalInfo objects are merged, in which the later one's keys count.
    """
    merged = Members()
    for key, value in pairs:
        if key in merged:
            merged.repeated.append(key)
            merged[key] = _choose_value(key, merged[key], value)
        else:
            merged[key] = value
    return merged


def _choose_value(key: str, before: object, after: object) -> object:
    match before, after:
        case (str() | bool() | int() | float(), None):
            return before
        case (dict(), dict()) if key.lower() == "additionalinfo":
            return {**before, **after}
        case _:
            return after
