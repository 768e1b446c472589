"""`python -m server.relay`."""

import sys

from server.relay.starting import main

sys.exit(main())
