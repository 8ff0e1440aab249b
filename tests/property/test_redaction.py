"""A secret appears in nothing that leaves the node, whatever its place in a configuration."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from rbln_supervisor.core.config import node_config
from rbln_supervisor.core.doctor import redaction
from rbln_supervisor.options import Options, last_options, save_options

SECRETS = st.text(st.characters(codec="utf-8"), min_size=12, max_size=40).map(
    lambda text: f"s3cr3t-{text}-{len(text)}"
)
SHAPES: list[Callable[[str], object]] = [
    lambda secret: {"*": {"key": secret}},
    lambda secret: {"0000:20:00.0": {"a": "b", "deep": {"deeper": [secret]}}},
    lambda secret: [secret, {"x": secret}],
    lambda secret: secret,
    lambda secret: {"*": [secret]},
    lambda secret: {"*": secret},
]


def document(info: object, key: str = "additionalInfo") -> dict[str, object]:
    return {
        "resourceList": [
            {"resourceName": "A", "deviceType": "accelerator", "selectors": {}, key: info}
        ]
    }


def said_of(raw: bytes) -> str:
    """All that logs, a status and a support bundle have of a configuration."""
    try:
        read = node_config.parse(raw, prefix="a.b")
    except node_config.ConfigError as error:
        return "\n".join((*error.errors, *error.warnings))
    complaints = [str(one) for pool in read.invalid for one in pool.complaints]
    shown = msgspec.json.encode(redaction.redact_config(read)).decode()
    return "\n".join((*complaints, *read.warnings, shown))


@given(SECRETS, st.sampled_from(SHAPES), st.sampled_from(["additionalInfo", "ADDITIONALINFO"]))
def test_a_secret_of_a_configuration_is_nowhere(
    secret: str, shape: Callable[[str], object], key: str
) -> None:
    raw = json.dumps(document(shape(secret), key)).encode()
    assert "s3cr3t" not in said_of(raw)


@given(SECRETS, st.sampled_from(SHAPES), st.data())
def test_a_torn_configuration_leaks_nothing_either(
    secret: str, shape: Callable[[str], object], data: st.DataObject
) -> None:
    whole = json.dumps(document(shape(secret))).encode()
    end = data.draw(st.integers(whole.index(b"additionalInfo"), len(whole) - 1))
    assert "s3cr3t-" not in said_of(whole[:end])


@given(st.dictionaries(st.text("ab", min_size=1), SECRETS, min_size=1, max_size=3))
def test_values_are_removed_by_structure(values: dict[str, str]) -> None:
    config = node_config.parse(json.dumps(document({"*": values})).encode(), prefix="a.b")
    (pool,) = redaction.redact_config(config).pools
    assert pool.spec.additional_info == {"*": dict.fromkeys(values, redaction.REMOVED)}


@given(st.binary(max_size=200))
@example(b'{"config_file": 3}')
@example(b'{"log_level": 1e999}')
def test_options_of_anybodys_are_options_or_the_defaults(raw: bytes) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "options.json").write_bytes(raw)
        assert isinstance(last_options(Path(folder)), Options)


def test_options_are_read_as_they_were_saved(tmp_path: Path) -> None:
    options = Options(Path("/x y/ü"), use_cdi=True, run_dir=tmp_path, host_root=Path("/h"))
    save_options(options)
    assert last_options(tmp_path) == options
