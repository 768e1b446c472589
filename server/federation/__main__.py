"""`python -m server.federation`."""

import sys

from server.federation.supervisor import main

sys.exit(main())
