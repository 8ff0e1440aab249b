"""Our supervisor and workers under a real kubelet, with pods that really get their devices.

``scripts/e2e kubelet`` builds what is needed (build, images), and runs the tests in here. One
cluster (cluster: etcd, API server, scheduler, containerd, kubelet) serves the whole session.
"""
