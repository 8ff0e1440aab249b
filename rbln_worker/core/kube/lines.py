"""Lines of a stream that arrives in parts."""


class LineBuffer:
    """The line that is not yet complete."""

    def __init__(self, limit: int) -> None:
        """``limit``: maximum length of a line (bytes)."""
        self._rest = bytearray()
        self._limit = limit

    @property
    def is_too_long(self) -> bool:
        """True if the incomplete line is longer than allowed."""
        return len(self._rest) > self._limit

    def take_lines(self, part: bytes) -> list[bytes]:
        """Add a part; return the lines that are complete now, without empty ones."""
        start = len(self._rest)
        self._rest += part
        end = self._rest.rfind(b"\n", start)
        if end < 0:
            return []
        lines = bytes(self._rest[:end]).split(b"\n")
        del self._rest[: end + 1]
        return [line for line in lines if line.strip()]
