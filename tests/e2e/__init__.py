"""The whole system on the real thing: a kubelet (kubelet), a kernel (kernel), containers (image).

Run by ``scripts/e2e``, as root; never collected by ``scripts/test``.
"""
