"""Providers: the needs of a container for a device, one provider and one file a kind of access.

A provider defines the devices that it applies to, the required reads, and what a container gets:
pure functions in a PROVIDER. registry.py lists them.
"""
