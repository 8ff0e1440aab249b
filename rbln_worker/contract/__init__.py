"""Values that supervisor and workers share, and their encoding. Pure.

A type that crosses the socket between the two belongs here. A type that only one of them needs does
not: selectors belong to the supervisor, answers to the kubelet belong to the worker.
"""
