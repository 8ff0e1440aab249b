"""Pools that are exported by DRA: their drivers, and the start options of their workers."""

from pathlib import Path

import pytest

from rbln_supervisor.config.dra_access import find_obstacles
from rbln_supervisor.options import Options
from rbln_supervisor.workers.pool_worker import worker_spec
from rbln_worker.contract.pool import DraExport
from rbln_worker.contract.problem import Code
from rbln_worker.spec import SERVICE_ACCOUNT, DraStart
from tests.unit.configuring import parse_value, pool


@pytest.mark.parametrize("export", [{}, {"export": None}, {"export": "device-plugin"}])
def test_the_device_plugin_api_is_the_default(export: dict[str, object]) -> None:
    (served,) = parse_value({"resourceList": [pool(**export)]}).pools
    assert served.spec.dra is None


@pytest.mark.parametrize(
    ("resource", "settings", "export"),
    [
        ("npu", {}, DraExport("npu.rebellions.ai")),
        ("ATOM_VM", {}, DraExport("atom-vm.rebellions.ai")),
        ("ATOM", {"driverName": "npu.rebellions.ai"}, DraExport("npu.rebellions.ai")),
        ("npu", {"evictOn": ["aer"]}, DraExport("npu.rebellions.ai", ("aer",))),
    ],
)
def test_a_driver_is_named_after_its_pool_or_as_configured(
    resource: str, settings: dict[str, object], export: DraExport
) -> None:
    changes = {"resourceName": resource, "export": "dra", "dra": settings}
    config = parse_value({"resourceList": [pool(**changes)]})
    assert (config.pools[0].spec.dra, config.warnings) == (export, ())


def test_two_pools_of_one_driver_are_refused() -> None:
    second = pool(resourceName="atom", export="dra")
    config = parse_value({"resourceList": [pool(export="dra"), second]})
    assert [one.spec.name for one in config.pools] == ["rebellions.ai/ATOM"]
    assert [str(one) for one in config.invalid[0].complaints] == [
        "resourceList[1].dra: atom.rebellions.ai is the DRA driver of resourceList[0], "
        "expected a driver of its own (dra.driverName)"
    ]


def test_obstacles_are_those_of_dra_pools_only(tmp_path: Path) -> None:
    kubeconfig, registry = tmp_path / "kubeconfig", tmp_path / "plugins_registry"
    options = Options(kubeconfig=kubeconfig, plugins_registry_dir=registry)
    plain = parse_value({"resourceList": [pool()]}).pools
    exported = parse_value({"resourceList": [pool(export="dra")]}).pools
    assert list(find_obstacles(options, plain)) == []
    found = {one.code: one.subject for one in find_obstacles(options, exported)}
    assert found == {
        Code.API_ACCESS_MISSING: str(kubeconfig),
        Code.KUBELET_DIR_MISSING: str(registry),
    }
    kubeconfig.touch()
    registry.mkdir()
    assert list(find_obstacles(options, exported)) == []
    in_a_pod = Options(plugins_registry_dir=registry)
    assert [one.subject for one in find_obstacles(in_a_pod, exported)] == [
        str(SERVICE_ACCOUNT / "token")
    ]


def test_only_workers_of_dra_pools_get_the_node_and_the_api_server() -> None:
    options = Options(node_name="n1", kubeconfig=Path("/k"))
    (served,) = parse_value({"resourceList": [pool(export="dra")]}).pools
    plain = worker_spec(served.spec.name, options, None)
    exported = worker_spec(served.spec.name, options, served.spec.dra)
    assert plain.dra is None
    assert exported.dra == DraStart("atom.rebellions.ai", "n1", Path("/k"))
    assert plain.options_digest != exported.options_digest
    assert plain.options_digest == worker_spec(served.spec.name, Options(), None).options_digest
