"""The configuration file: bytes become pools, or every complaint about them at once.

From the outside in: document.py (JSON, JSON with commas and comments too many, YAML), shape.py
(typed access with complaints), pool.py and selectors.py (the reference's schema), config.py (the
whole file). Whoever reads a configuration needs config.py alone.
"""
