"""Stand-ins for what the system needs around it: a node's sysfs, a kubelet, a device plugin.

Fakes, not mocks: the node is a real directory given as ``--host-root``, the kubelet is a real gRPC
peer on real unix sockets, the system under test is real processes. ``stack`` puts them together;
``conformance`` and ``judge`` compare what came out with recorded cases.
"""
