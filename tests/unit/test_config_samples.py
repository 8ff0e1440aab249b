"""Every sample in conf/ loads, and so does the sample of the reference's README."""

from pathlib import Path

import pytest

from rbln_supervisor.config import config_file
from rbln_supervisor.core.config import health
from rbln_supervisor.core.config.node_config import parse, require_valid
from rbln_supervisor.core.config.pf_ranges import PfRange, Range
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_worker.contract.health import HealthPolicy

CONF = Path(__file__).parents[2] / "conf"
ATOM_IDS = (
    *("0010", "0011", "1020", "1021", "1120", "1121"),
    *("1150", "1151", "1220", "1221", "1250", "1251"),
)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.[jy]*")), ids=lambda path: path.name)
def test_a_sample_is_right_in_all_its_pools(path: Path) -> None:
    config = require_valid(parse(config_file.read_file(path), prefix="intel.com"))
    assert all(pool.spec.prefix == "rebellions.ai" for pool in config.pools)
    assert [warning for warning in config.warnings if not warning.endswith("(accepted)")] == []
    assert not any("comma" in warning for warning in config.warnings)


def test_the_vendors_pool() -> None:
    (pool,) = parse(config_file.read_file(CONF / "atom.json"), prefix="intel.com").pools
    assert pool.spec.name == "rebellions.ai/ATOM"
    assert pool.spec.allow_cross_numa
    assert pool.selectors == (
        SelectorObject(vendors=("1eff",), devices=ATOM_IDS, drivers=("rebellions",)),
    )


def test_the_two_drivers() -> None:
    config = parse(config_file.read_file(CONF / "atom-and-vm.json"), prefix="intel.com")
    assert {pool.spec.name: pool.selectors[0].drivers for pool in config.pools} == {
        "rebellions.ai/ATOM": ("rebellions",),
        "rebellions.ai/ATOM_VM": ("vfio-pci",),
    }


def test_the_network_functions() -> None:
    config = parse(config_file.read_file(CONF / "nics.json"), prefix="intel.com")
    assert [(pool.spec.resource, pool.spec.device_type) for pool in config.pools] == [
        ("nic_dpdk", "netDevice"),
        ("nic", "netDevice"),
        ("vdpa", "netDevice"),
        ("rdma", "netDevice"),
        ("sf", "auxNetDevice"),
    ]
    dpdk, _, vdpa, rdma, subfunctions = (pool.selectors[0] for pool in config.pools)
    assert dpdk.need_vhost_net
    assert config.pools[0].spec.health == HealthPolicy(suspect_s=3)
    assert dpdk.pf_names == (PfRange("enp59s0f0", (Range(0, 7),)),)
    assert vdpa.vdpa_type == "vhost"
    assert rdma.is_rdma
    assert list(map(str, subfunctions.pf_names)) == ["p0#1-5", "p1"]


def test_preferred_allocations() -> None:
    pools = parse(config_file.read_file(CONF / "products.yaml"), prefix="intel.com").pools
    assert {p.spec.resource: p.spec.preferred_allocation for p in pools}["CA25"] == "packed"
    pools = parse(config_file.read_file(CONF / "nics.json"), prefix="intel.com").pools
    assert {p.spec.resource: p.spec.preferred_allocation for p in pools}["nic"] == "spread"


def test_a_sample_has_every_key_of_health_with_its_default() -> None:
    raw = config_file.read_file(CONF / "products.yaml")
    for key in (*health.KEYS, *health.PROBATION_KEYS):
        assert f"{key}:".encode() in raw
    assert parse(raw, prefix="intel.com").pools[-1].spec.health == HealthPolicy()


README_SAMPLE = """\
{
    "resourceList": [{
            "resourceName": "intel_sriov_netdevice",
            "selectors": [{
                "vendors": ["8086"],
                "devices": ["154c", "10ed", "1889"],
                "drivers": ["i40evf", "ixgbevf", "iavf"]
            }]
        },
        {
            "resourceName": "intel_sriov_dpdk",
            "resourcePrefix": "intel.com",
            "selectors": [{
                "vendors": ["8086"],
                "devices": ["154c", "10ed", "1889"],
                "drivers": ["vfio-pci"],
                "pfNames": ["enp0s0f0","enp2s2f1"],
                "needVhostNet": true
            }]
        },
        {
            "resourceName": "mlnx_sriov_rdma",
            "resourcePrefix": "mellanox.com",
            "selectors": [{
                "vendors": ["15b3"],
                "devices": ["1018"],
                "drivers": ["mlx5_ib"],
                "isRdma": true
            }]
        },
        {
            "resourceName": "infiniband_rdma_netdevs",
            "selectors": [{
                "linkTypes": ["infiniband"],
                "isRdma": true
            }]
        },
        {
            "resourceName": "ct6dx_vdpa_vhost",
            "selectors": [{
                "vendors": ["15b3"],
                "devices": ["101e"],
                "drivers": ["mlx5_core"],
                "vdpaType": "vhost"
            }]
        },
        {
            "resourceName": "intel_fpga",
            "deviceType": "accelerator",
            "selectors": [{
                    "vendors": ["8086"],
                    "devices": ["0d90"]
            }]
        },
        {
            "resourceName": "bf2_sf",
            "resourcePrefix": "nvidia.com",
            "deviceType": "auxNetDevice",
            "selectors": [{
                "vendors": ["15b3"],
                "devices": ["a2d6"],
                "pfNames": ["p0#1-5"],
                "auxTypes": ["sf"]
            }]
        },
        {
          "resourceName": "intel_sriov_netdevice_additional_env",
          "selectors": [{
            "vendors": ["8086"],
            "devices": ["154c", "10ed", "1889"],
            "drivers": ["i40evf", "ixgbevf", "iavf"]
          }],
          "additionalInfo": {
             "*": {
               "token": "3e49019f-412f-4f02-824e-4cd195944205"
             }
          }
        },
        {
            "resourceName": "brcm_sriov_bnxt",
            "resourcePrefix": "broadcom.com",
            "selectors": [{
                "vendors": ["14e4"],
                "devices": ["1750"],
                "drivers": ["bnxt_en"]
            }],
        },
        {
          "resourceName": "old_selectors_syntax_example",
          "selectors": {
            "vendors": ["8086"],
            "devices": ["154c", "10ed", "1889"],
            "drivers": ["i40evf", "ixgbevf", "iavf"]
          }
\t}
    ]
}
"""


def test_the_readmes_sample_loads_with_its_comma_and_its_tab() -> None:
    assert "\n\t}\n" in README_SAMPLE
    config = require_valid(parse(README_SAMPLE.encode(), prefix="intel.com"))
    assert config.warnings == ("line 86, column 15: trailing comma (accepted)",)
    assert {pool.spec.name: pool.spec.device_type for pool in config.pools} == {
        "intel.com/intel_sriov_netdevice": "netDevice",
        "intel.com/intel_sriov_dpdk": "netDevice",
        "mellanox.com/mlnx_sriov_rdma": "netDevice",
        "intel.com/infiniband_rdma_netdevs": "netDevice",
        "intel.com/ct6dx_vdpa_vhost": "netDevice",
        "intel.com/intel_fpga": "accelerator",
        "nvidia.com/bf2_sf": "auxNetDevice",
        "intel.com/intel_sriov_netdevice_additional_env": "netDevice",
        "broadcom.com/brcm_sriov_bnxt": "netDevice",
        "intel.com/old_selectors_syntax_example": "netDevice",
    }
    selectors = {pool.spec.resource: pool.selectors for pool in config.pools}
    assert selectors["ct6dx_vdpa_vhost"][0].vdpa_type == "vhost"
    assert selectors["bf2_sf"] == (
        SelectorObject(
            vendors=("15b3",),
            devices=("a2d6",),
            pf_names=(PfRange("p0", (Range(1, 5),)),),
            aux_types=("sf",),
        ),
    )
