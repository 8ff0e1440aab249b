"""The connection to the supervisor: its socket, and the session protocol on it."""
