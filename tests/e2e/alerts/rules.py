"""The shipped alert rules with a second in the place of each minute."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from tests.e2e.prometheus import ALERTS

MINUTE_S: Final = 1
"""Seconds that stand for a minute: ``for: 10m`` becomes ``for: 10s``, ``[1h]`` becomes ``[60s]``.
A scrape each second then is one each minute, Prometheus' default and the fewest samples that the
windows get."""
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RANGE: Final = re.compile(r"\[[^\]]*\]")
_DURATION: Final = re.compile(r"(\d+)([smhd])")


def shipped_rules() -> list[dict[str, Any]]:
    """The rules as they are shipped."""
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])


def shorten(rule: dict[str, Any]) -> dict[str, Any]:
    """The rule with shorter time spans, and nothing else changed."""
    short = dict(rule)
    short["expr"] = _RANGE.sub(lambda match: _shorten_spans(match[0]), rule["expr"])
    if "for" in rule:
        short["for"] = _shorten_spans(rule["for"])
    return short


def write_short_rules(folder: Path) -> Path:
    """Write the rule file that the suite's Prometheus evaluates."""
    groups = [{"name": "rbln-device-plugin", "rules": [shorten(rule) for rule in shipped_rules()]}]
    file = folder / "alerts.yaml"
    file.write_text(yaml.safe_dump({"groups": groups}, sort_keys=False))
    return file


def _shorten_spans(text: str) -> str:
    return _DURATION.sub(lambda match: _shorter(match[1], match[2]), text)


def _shorter(number: str, unit: str) -> str:
    seconds = int(number) * _UNITS_S[unit] * MINUTE_S / 60
    assert seconds >= 1, f"{number}{unit} is too short to be made shorter"
    return f"{seconds:.0f}s"
