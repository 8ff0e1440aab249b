"""The configuration file: reading it, watching it, and reloading it."""
