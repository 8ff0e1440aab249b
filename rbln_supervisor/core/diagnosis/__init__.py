"""What is wrong on a node: facts in, findings out. Who gathers the facts is ``examine`` and ctl.

Each check is a function of ``Facts`` that yields findings; what could not be found out is a fact
of its own (a section that is None), and never read as "all is well".
"""
