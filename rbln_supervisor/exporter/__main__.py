"""``python -m rbln_supervisor.exporter``."""

import sys

from rbln_supervisor.exporter.main import main

if __name__ == "__main__":
    sys.exit(main())
