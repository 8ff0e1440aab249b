"""The version of both packages: they ship as one."""

from typing import Final

VERSION: Final = "0.1.0"
