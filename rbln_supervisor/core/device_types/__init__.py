"""Device types of pools: one file each, one line each in registry.py."""
