"""Texts of a limited size, for fields of the Kubernetes API."""

from typing import Final

_MARK: Final = "…"


def limit_bytes(text: str, most: int) -> str:
    """Return a text of at most ``most`` bytes in UTF-8; a shortened one ends with an ellipsis."""
    data = text.encode(errors="replace")
    if len(data) <= most:
        return data.decode()
    return data[: most - len(_MARK.encode())].decode(errors="ignore") + _MARK


def limit_line(text: str, most: int) -> str:
    """Return a text as one printable line of at most ``most`` bytes."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return limit_bytes(line, most)
