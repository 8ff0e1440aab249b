"""The worker's decisions, as pure functions and values: no clock, no file, no socket.

``health`` evaluates devices, ``allocation`` defines what a container gets, ``preferred`` chooses
devices, ``registration`` decides how to register. ``step`` puts them together: events in, effects
out.
"""
