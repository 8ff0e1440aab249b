"""Files that hold a configuration and are none: what they are is said."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.config.misplaced import manifest_hint, text_origin
from rbln_supervisor.core.config.node_config import ConfigError, parse

POOL = {"resourceName": "ATOM", "selectors": {"vendors": ["1eff"]}}
FILE = json.dumps({"resourceList": [POOL]}, indent=2)
MANIFEST = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "rbln-device-plugin-config"},
    "data": {"config.json": FILE},
}
DESCRIBED = f"""Name:         rbln-device-plugin-config
Namespace:    kube-system
Labels:       <none>
Annotations:  <none>

Data
====
config.json:
----
{FILE}


BinaryData
====

Events:  <none>
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FILE[1:], "line 1, column 1: JSON that does not begin with '{'"),
        (FILE[FILE.index('"') :], "JSON that does not begin with '{'"),
        (FILE[FILE.index('"') + 1 :], "JSON that does not begin with '{'"),
        (f"\ufeff\r\n{FILE[1:]}\n\n", "JSON that does not begin with '{'"),
        (DESCRIBED, "line 1, column 1: text of kubectl describe, expected the file: kubectl get"),
        (DESCRIBED.replace("\n", "\r\n"), "text of kubectl describe"),
        (f"\n{DESCRIBED[: DESCRIBED.index('BinaryData')]}", "text of kubectl describe"),
        (json.dumps(MANIFEST), '(a manifest of kind "ConfigMap": expected the text of data['),
        (yaml.safe_dump(MANIFEST), '(a manifest of kind "ConfigMap": expected the text of data['),
        (
            json.dumps({"apiVersion": "v1", "kind": "Pod", "spec": {}}),
            'resourceList: missing, expected array (a manifest of kind "Pod")',
        ),
    ],
)
def test_a_slip_is_told_as_what_it_is(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), prefix="intel.com")
    (line,) = caught.value.errors
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize("text", ["{}", '{"pools": [{"resource": "List"}]}', "a: 1", '{"kind": 3}'])
def test_others_are_told_as_before(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), prefix="intel.com")
    assert caught.value.errors == ("resourceList: missing, expected array",)


@pytest.mark.parametrize("text", ["a: [", "\tx", "%", '"a": b: c', "Name: a: b", '"a": 1 }: x'])
def test_what_is_no_yaml_is_told_as_before(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), prefix="intel.com")
    assert caught.value.errors[0].startswith("line ")
    assert "kubectl" not in caught.value.errors[0]
    assert "does not begin" not in caught.value.errors[0]


@given(
    st.recursive(
        st.none() | st.text(max_size=20) | st.just("resourceList"),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=50,
    )
)
def test_a_hint_is_a_line(value: object) -> None:
    said = manifest_hint(value)
    assert said.isprintable()


@given(st.text(max_size=200))
def test_any_text_is_something_or_nothing(text: str) -> None:
    assert text_origin(text).isprintable()
