"""The whole system on the real thing: a real kubelet (kubelet), a real kernel (kernel).

Run by ``scripts/e2e``, as root; never collected by ``scripts/test``.
"""
