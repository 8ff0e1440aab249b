"""The worker's decisions, as pure functions and values: no clock, no file, no socket."""
