"""Device types of pools: base.py has their parts, registry.py the types."""
