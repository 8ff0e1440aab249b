"""The control socket's requests and replies, and the answers that need no I/O."""
