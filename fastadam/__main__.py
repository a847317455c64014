"""`python -m fastadam` is the command `fastadam`."""

import sys

from .cli import main

sys.exit(main())
