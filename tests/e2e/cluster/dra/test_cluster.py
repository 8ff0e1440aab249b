"""The cluster itself serves claims: Kubernetes' own driver, in Go, and nothing of ours."""

from typing import Final

from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.dra import go_driver
from tests.e2e.cluster.dra.claims import Claims, Slices
from tests.e2e.cluster.dra.objects import request

RESOURCE: Final = "example.com/go-device"


def test_kubernetes_own_driver_serves_claims(claims: Claims, bench: Bench) -> None:
    slices = Slices(bench.cluster, go_driver.DRIVER)
    with go_driver.running(bench.cluster, devices=4):
        published = slices.wait(lambda devices: len(devices) == 4, what="its four devices")
        name = claims.device_class(go_driver.DRIVER, extended_resource=RESOURCE)
        template = claims.template(request("two", name, 2))
        pod = claims.pod(template=template)
        pod.running()
        other = claims.pod(limits={RESOURCE: 2})
        other.running()
        other.delete()
        pod.delete()
    bench.report.add(
        "Kubernetes' own DRA driver (Go)",
        f"slices after {published:.2f} s; a pod with a claim runs after {pod.seconds:.2f} s, one "
        f"by the DeviceClass's extended resource after {other.seconds:.2f} s",
        pod.seconds,
    )
