"""The configuration file: bytes become pools, or a list of all errors.

document.py makes a plain value of JSON or YAML (yaml_document.py), fields.py and readers.py read
the objects in it by tables of keys. The tables are in pool.py, health.py and selectors.py, the
whole file in node_config.py.
"""
