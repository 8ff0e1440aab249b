"""The container image, built and run for real, on a simulated node and beside a simulated kubelet.

``python -m tests.e2e.image`` (scripts/e2e image) makes a small Debian with debootstrap, builds
deployments/container/Dockerfile on it with buildah, and runs the result with podman: no registry
of images is needed. All of it is kept apart from the machine's own images and containers.
"""
