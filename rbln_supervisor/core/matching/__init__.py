"""Which device belongs to which pool, and why."""
