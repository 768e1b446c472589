"""`python -m server.gate`."""

import sys

from server.gate.gate import main

sys.exit(main())
