"""``python -m rbln_supervisor.ctl``."""

import sys

from rbln_supervisor.ctl.main import main

if __name__ == "__main__":
    sys.exit(main())
