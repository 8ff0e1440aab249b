"""``python -m rbln_supervisor.agent``."""

import sys

from rbln_supervisor.agent.main import main

if __name__ == "__main__":
    sys.exit(main())
