"""Pools exported by Dynamic Resource Allocation, on the real cluster: slices, claims, faults."""
