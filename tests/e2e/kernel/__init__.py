"""What Linux does with PCI functions, seen from inside a small VM with real ones.

``python -m tests.e2e.kernel`` (scripts/e2e kernel) boots Debian's kernel under emulation and runs
the tests of this folder in it, on the files of this machine: the repository and its .venv too.
``vm`` makes and boots the machine; everything else runs inside of it.
"""
