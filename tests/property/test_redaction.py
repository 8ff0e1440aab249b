"""A secret appears in nothing that leaves the node, wherever and however it was written."""

import contextlib
import json
import string
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rbln_supervisor.core.config import node_config
from rbln_supervisor.core.doctor import redaction
from rbln_supervisor.core.doctor.redaction import HIDDEN, find_secrets, redact, redact_configuration
from rbln_supervisor.core.doctor.secrets import Secrets
from rbln_supervisor.options import Options, OptionsError, load_options, save_options

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
    """All that anybody is told of a configuration."""
    try:
        read = node_config.parse(raw, prefix="a.b")
    except node_config.ConfigError as error:
        return "\n".join((*error.errors, *error.warnings))
    complaints = [str(one) for pool in read.invalid for one in pool.complaints]
    return "\n".join((*complaints, *read.warnings))


@given(SECRETS, st.sampled_from(SHAPES), st.sampled_from(["additionalInfo", "ADDITIONALINFO"]))
def test_a_secret_of_a_configuration_is_nowhere(
    secret: str, shape: Callable[[str], object], key: str
) -> None:
    raw = json.dumps(document(shape(secret), key)).encode()
    known = find_secrets(raw)
    assert secret in known.values
    shown = redact_configuration(raw, known)
    assert shown is not None
    assert secret not in json.loads(f"[{json.dumps(shown.text)}]")[0]
    assert "s3cr3t" not in shown.text
    assert shown.removed >= 1
    said = said_of(raw)
    assert "s3cr3t" not in redact(said, known).text
    for spelled in (secret, json.dumps(secret), repr(secret), ascii(secret)):
        log = redact(f"2026 INFO a: {spelled} b={spelled}", known)
        assert "s3cr3t" not in log.text
        assert log.removed >= 2


@given(SECRETS, st.sampled_from(SHAPES), st.data())
def test_a_torn_configuration_leaks_nothing_either(
    secret: str, shape: Callable[[str], object], data: st.DataObject
) -> None:
    whole = json.dumps(document(shape(secret))).encode()
    end = data.draw(st.integers(whole.index(b"additionalInfo"), len(whole) - 1))
    raw = whole[:end]
    known = find_secrets(raw)
    assert redact_configuration(raw, known) is None
    assert "s3cr3t-" not in redact(said_of(raw), known).text


@given(st.binary(max_size=300))
@example(b"[" * 100_000)
@example(b"additionalInfo: &a [*a]")
def test_no_bytes_are_too_strange(raw: bytes) -> None:
    known = find_secrets(raw)
    shown = redact_configuration(raw, known)
    assert shown is None or isinstance(json.loads(shown.text), object)
    redact(raw.decode(errors="replace"), known)


TOKENS = st.text(string.ascii_letters + string.digits, min_size=24, max_size=40)


@pytest.mark.parametrize(
    "form",
    [
        "password={}",
        "password: {}",
        'DB_PASSWORD="{}"',
        "'api-key': '{}'",
        '{{"secretAccessKey": "{}"}}',
        "--registry-token {}",
        "--registry-token={}",
        "https://user:{}@registry.example/v2",
        "Authorization: Bearer {}",
        "Authorization: Basic {}",
        "eyJhbGciOi.{}.{}",
        "ghp_{}",
        "glpat-{}",
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n{}\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n{}",
        "client_key={}",
        "token = {}",
    ],
)
@given(TOKENS)
def test_what_looks_like_a_credential_is_removed(form: str, token: str) -> None:
    text = form.format(*[token] * form.count("{}"))
    redacted = redact(f"before {text} after")
    assert token not in redacted.text
    assert HIDDEN in redacted.text
    assert redacted.text.startswith("before ")
    assert redacted.removed >= 1


@pytest.mark.parametrize(
    "text",
    [
        "0000:20:00.0  Unhealthy  npu-status: its status is FAULT",
        "Speculation_Store_Bypass:\tvulnerable",
        "rebellions.ai_ATOM-5941ac893e0549e6.sock",
        "PCIDEVICE_REBELLIONS_AI_ATOM=0000:20:00.0",
        "unix:///var/lib/kubelet/device-plugins/kubelet.sock",
        "worker died how=killed by SIGKILL pid=7",
        "tmpfs /run tmpfs rw,nosuid,nodev,size=800k,mode=755 0 0",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == (text, 0)


@given(st.text(max_size=200), st.sets(st.text(min_size=6, max_size=20), max_size=3))
def test_a_second_time_removes_no_more(text: str, known: set[str]) -> None:
    once = redact(text, Secrets(known))
    assert all(one not in once.text for one in known if HIDDEN not in one and one not in HIDDEN)


@given(st.text("abc", max_size=60), st.sets(st.text("abc", min_size=6, max_size=9), max_size=5))
def test_all_of_each_value_goes_wherever_they_overlap(text: str, known: set[str]) -> None:
    hidden = {
        place
        for one in known
        for at in range(len(text))
        if text.startswith(one, at)
        for place in range(at, at + len(one))
    }
    spans = list(Secrets(known).find_spans(text))
    assert {place for begin, end in spans for place in range(begin, end)} == hidden
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))


def test_short_values_are_removed_where_they_stand() -> None:
    raw = json.dumps(document({"*": {"key": "1"}})).encode()
    shown = redact_configuration(raw, find_secrets(raw))
    assert shown is not None
    assert json.loads(shown.text)["resourceList"][0]["additionalInfo"] == {"*": {"key": HIDDEN}}
    assert shown.removed == 1
    assert redaction.find_secrets(raw).values == frozenset()


@given(st.binary(max_size=200))
@example(b'{"config_file": 3}')
@example(b'{"log_level": 1e999}')
def test_options_of_anybodys_are_options_or_not_known(raw: bytes) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "options.json").write_bytes(raw)
        with contextlib.suppress(OptionsError):
            assert isinstance(load_options(Path(folder)), Options)


def test_options_are_read_as_they_were_saved(tmp_path: Path) -> None:
    options = Options(Path("/x y/ü"), use_cdi=True, run_dir=tmp_path, host_root=Path("/h"))
    save_options(options)
    assert load_options(tmp_path) == options
