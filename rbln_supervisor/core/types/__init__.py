"""The types of device that a pool can have: one file each, one line each in registry.py."""
