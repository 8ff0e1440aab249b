"""Status, metrics and service state, put together from their sources."""
