"""python -m rbln_supervisor."""

import sys

from rbln_supervisor.main import main

sys.exit(main())
