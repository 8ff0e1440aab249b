"""Steps of the supervisor outside of its pools: an event becomes a changed state and effects.

``discovery_step`` decides when a discovery runs and who gets its result, ``reload_step`` whether a
configuration becomes active. The step of a pool is ``core/workers/pool_step``.
"""
