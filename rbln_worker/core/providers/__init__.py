"""What a container needs to use a device: one provider for each kind of access, one file each.

A provider defines the devices that it applies to, what has to be read, and what a container gets:
pure functions in a PROVIDER. registry.py lists them.
"""
