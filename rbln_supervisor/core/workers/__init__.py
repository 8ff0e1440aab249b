"""The desired state of a pool, and the life cycle of its worker."""
