"""The version of both packages, which are released together."""

from typing import Final

VERSION: Final = "0.1.0"
