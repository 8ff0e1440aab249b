"""The configuration file: bytes become pools, or a list of all errors.

document.py reads JSON (also with comments and trailing commas) and YAML, shape.py has typed access
with error messages, pool.py and selectors.py the schema, config.py the whole file. Other packages
import config.py only.
"""
