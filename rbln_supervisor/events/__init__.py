"""The event log in the run directory."""
