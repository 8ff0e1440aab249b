"""The checks of ``rbln-ctl doctor``: facts in, findings out. ``examine`` collects the facts.

Each check is a function of ``Facts`` that yields findings. A section that could not be read is None
and never counts as "no problem".
"""
